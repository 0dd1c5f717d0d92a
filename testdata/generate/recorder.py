"""Records what a legacy model computes, under the TensorFlow that wrote it.

Every value comes from a fresh load of the written files in a fresh graph and session: `hub.Module` for
hub modules, `tf.saved_model.loader.load` for SavedModels. Runs on TF 1.8 and 1.15.
"""

import functools
import os
import re

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
from google.protobuf import text_format

import codec

MODULE = "module"
_NO_GRADIENT = (LookupError, TypeError, ValueError, AttributeError, tf.errors.OpError)


class HubRunner(object):
    """A TF1 hub module under one tag set, applied through hub.Module(trainable=True)."""

    def __init__(self, path, tags, session, tensors=()):
        self._session = session
        # trainable=True is what brings back losses and update ops; a module with neither refuses tags.
        self._module = hub.Module(path, trainable=True, tags=set(tags), name=MODULE)
        self._signatures = _meta_graph(path, tags).signature_def
        self._fresh = True

    def apply(self, signature, inputs):
        """Returns ({output key: tensor}, feed dict)."""
        infos = self._module.get_input_info_dict(signature)
        tensors = {key: _as_input(inputs[key], infos[key]) for key in inputs}
        outputs = self._module(tensors, signature=signature, as_dict=True)
        self._session.run([tf.global_variables_initializer(), tf.tables_initializer()])
        return outputs, {}

    def start(self):
        self._session.run([tf.global_variables_initializer(), tf.tables_initializer()])

    def signatures(self):
        return self._signatures

    @staticmethod
    def name_of(variable):
        return variable.op.name[len(MODULE) + 1:]


class SavedModelRunner(object):
    """A SavedModel under one tag set, loaded as a TF1 server would."""

    def __init__(self, path, tags, session, tensors=(), phase=""):
        self._graph, self._tensors = session.graph, tensors
        self._phase = {phase: "train" in tags} if phase else {}
        tags = [tag for tag in tags if not (phase and tag == "train")]
        self._meta_graph = tf.saved_model.loader.load(session, tags, path)

    def apply(self, signature, inputs):
        if not signature:
            return {name: self._graph.get_tensor_by_name(name) for name in self._tensors}, inputs
        definition = self._meta_graph.signature_def[signature]
        feed = dict(self._phase)
        for key in inputs:
            feed.update(_feed(definition.inputs[key], inputs[key]))
        outputs = {key: _get_output(self._graph, info) for key, info in definition.outputs.items()}
        return outputs, feed

    def start(self):
        """Loading has already restored and initialised everything."""

    def signatures(self):
        return self._meta_graph.signature_def

    @staticmethod
    def name_of(variable):
        return variable.op.name


class GraphRunner(object):
    """A frozen graph (a .pb or .pbtxt in the folder `path`), or the newest checkpoint in it with its meta graph."""

    def __init__(self, path, tags, session, tensors=(), stated=None):
        self._graph, self._stated = session.graph, stated
        prefix = tf.train.latest_checkpoint(path)
        if prefix:
            tf.train.import_meta_graph(
                re.sub(r"-[\d?]+-of-\d+$", "", prefix) + ".meta", clear_devices=True).restore(session, prefix)
            session.run(tf.tables_initializer())
        else:
            tf.import_graph_def(_graph_def(path), name="")
            tables = [op for op in session.graph.get_operations() if op.type.startswith(("InitializeTable", "LookupTableImport"))]
            session.run(tables)

    def apply(self, signature, inputs):
        names, outputs = self._stated
        feed = {names[key]: inputs[key] for key in inputs}
        return {key: self._graph.get_tensor_by_name(name) for key, name in outputs.items()}, feed

    def start(self):
        """Everything is restored already."""

    def signatures(self):
        return {"serving_default": state_signature(self._stated)}

    @staticmethod
    def name_of(variable):
        return variable.op.name


def state_signature(stated):
    """A SignatureDef with the keys of `stated`."""
    names = [{key: tf.TensorInfo(name=name) for key, name in side.items()} for side in stated]
    return tf.saved_model.signature_def_utils.build_signature_def(names[0], names[1], "tensorflow/serving/predict")


def _graph_def(path):
    graph_def = tf.GraphDef()
    (name,) = [name for name in os.listdir(path) if name.endswith((".pb", ".pbtxt"))]
    with open(os.path.join(path, name), "rb") as stream:
        data = stream.read()
    if name.endswith("txt"):
        text_format.Merge(data, graph_def)
    else:
        graph_def.ParseFromString(data)
    return graph_def


def _meta_graph(path, tags):
    from tensorflow.python.saved_model import loader_impl
    for meta_graph in loader_impl._parse_saved_model(path).meta_graphs:
        if set(meta_graph.meta_info_def.tags) == set(tags):
            return meta_graph
    raise ValueError("no MetaGraph with tags %r in %s" % (tags, path))


def _as_input(value, info):
    if isinstance(value, codec.Sparse):
        return tf.SparseTensor(*value)
    if isinstance(value, codec.Ragged):
        return tf.RaggedTensor.from_nested_row_splits(
            tf.constant(value.flat_values, info.dtype), value.nested_row_splits)
    return tf.constant(value, info.dtype)


def _feed(info, value):
    if isinstance(value, codec.Sparse):
        coo = info.coo_sparse
        return {coo.values_tensor_name: value.values, coo.indices_tensor_name: value.indices,
                coo.dense_shape_tensor_name: value.dense_shape}
    if isinstance(value, codec.Ragged):
        names = [c.name for c in info.composite_tensor.components]
        return dict(zip(names, (value.flat_values,) + tuple(value.nested_row_splits)))
    return {info.name: value}


def _get_output(graph, info):
    if info.WhichOneof("encoding") == "coo_sparse":
        coo = info.coo_sparse
        return tf.SparseTensor(*[graph.get_tensor_by_name(n) for n in (
            coo.indices_tensor_name, coo.values_tensor_name, coo.dense_shape_tensor_name)])
    if info.WhichOneof("encoding") == "composite_tensor":
        parts = [graph.get_tensor_by_name(c.name) for c in info.composite_tensor.components]
        return tf.RaggedTensor.from_nested_row_splits(parts[0], parts[1:])
    return graph.get_tensor_by_name(info.name)


class Recording(object):
    """The truth of one model: five dicts for five npz files, and what origin.json tells."""

    def __init__(self, recipe, path):
        self._recipe = recipe
        self._path = path
        if recipe.stated:
            self._runner = functools.partial(GraphRunner, stated=recipe.stated)
        elif recipe.format == "tf1_hub_module":
            self._runner = HubRunner
        else:
            self._runner = functools.partial(SavedModelRunner, tensors=recipe.tensors, phase=recipe.phase)
        self.arrays = {name: {} for name in ("inputs", "outputs", "gradients", "losses", "updates")}
        self.origin = {"signatures": {}, "signature_keys": {}, "trainable_variables": {}, "variables": {},
                       "regularization_losses": {}, "update_ops": {}, "gradient_errors": {}}

    def record(self):
        self._record_inputs()
        for tags in self._recipe.tags:
            label = ",".join(tags)
            signatures = self._record_facts(tags, label)
            for signature in signatures + [""] * bool(self._recipe.tensors):
                if signature in self._recipe.skipped_signatures:
                    continue
                if signature in self._recipe.stateful_signatures:
                    self._record_stateful(tags, label, signature)
                    continue
                for case, inputs in enumerate(self._cases(signature)):
                    self._record_outputs(tags, label, case, signature, inputs)
                    self._record_gradients(tags, label, case, signature, inputs)
            self._record_losses(tags, label)
            self._record_updates(tags, label)
        return self

    def _cases(self, signature):
        return self._recipe.cases.get(signature, [{}])

    def _record_inputs(self):
        for signature, cases in self._recipe.cases.items():
            for case, inputs in enumerate(cases):
                for key, value in inputs.items():
                    codec.encode("%d|%s|%s" % (case, signature, key), value, self.arrays["inputs"])

    def _fresh(self, tags):
        graph = tf.Graph()
        return graph, tf.Session(graph=graph)

    def _record_facts(self, tags, label):
        graph, session = self._fresh(tags)
        with graph.as_default(), session:
            runner = self._runner(self._path, tags, session)
            names = lambda variables: sorted(runner.name_of(v) for v in variables)
            self.origin["trainable_variables"][label] = names(tf.trainable_variables())
            left_behind = set(self._recipe.left_behind)
            assert left_behind <= set(names(tf.global_variables())), names(tf.global_variables())
            self.origin["variables"][label] = sorted(set(names(tf.global_variables())) - left_behind)
            losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
            self.origin["regularization_losses"][label] = len(losses)
            signatures = runner.signatures()
            self.origin["signature_keys"][label] = sorted(signatures)
            for key, definition in signatures.items():
                merged = self.origin["signatures"].setdefault(
                    key, {"inputs": [], "outputs": [], "method": definition.method_name})
                merged["inputs"] = sorted(set(merged["inputs"]) | set(definition.inputs))
                merged["outputs"] = sorted(set(merged["outputs"]) | set(definition.outputs))
        return sorted(signatures)

    def _fetchable(self, label, signature, outputs):
        random = self._recipe.random_outputs
        return {key: tensor for key, tensor in outputs.items()
                if "%s|%s|%s" % (label, signature, key) not in random}

    def _record_outputs(self, tags, label, case, signature, inputs):
        graph, session = self._fresh(tags)
        with graph.as_default(), session:
            outputs, feed = self._runner(self._path, tags, session).apply(signature, inputs)
            outputs = self._fetchable(label, signature, outputs)
            for key, value in session.run(outputs, feed).items() if outputs else ():
                codec.encode("%s|%d|%s|%s" % (label, case, signature, key),
                             codec.from_tensorflow(value), self.arrays["outputs"])

    def _record_stateful(self, tags, label, signature):
        """Successive calls in one session: case i is call i."""
        graph, session = self._fresh(tags)
        with graph.as_default(), session:
            runner = self._runner(self._path, tags, session)
            for case, inputs in enumerate(self._cases(signature)):
                outputs, feed = runner.apply(signature, inputs)
                for key, value in session.run(outputs, feed).items():
                    codec.encode("%s|%d|%s|%s" % (label, case, signature, key),
                                 codec.from_tensorflow(value), self.arrays["outputs"])

    def _record_gradients(self, tags, label, case, signature, inputs):
        """All outputs in one graph; where that fails, each alone, so that one cannot spoil the others."""
        call = (tags, label, case, signature, inputs)
        keys = [key for key in self._outputs_of(tags, signature)
                if "%s|%s|%s" % (label, signature, key) not in self._recipe.random_outputs]
        try:
            self.arrays["gradients"].update(self._compute_gradients(self._runner, call, keys))
            return
        except _NO_GRADIENT:
            pass
        for key in keys:
            self._record_one_gradient(call, key)

    def _record_one_gradient(self, call, key):
        runners = [("loader", self._runner if self._recipe.stated else SavedModelRunner)]
        if self._runner is HubRunner:
            runners.insert(0, ("hub.Module", HubRunner))  # It cannot differentiate every cond.
        errors = []
        for name, make_runner in runners:
            try:
                self.arrays["gradients"].update(self._compute_gradients(make_runner, call, [key]))
                return
            except _NO_GRADIENT as error:
                errors.append("%s: %s" % (name, type(error).__name__))
        _, label, case, signature, _ = call
        self.origin["gradient_errors"]["%s|%d|%s|%s" % (label, case, signature, key)] = errors

    def _outputs_of(self, tags, signature):
        if not signature:
            return list(self._recipe.tensors)
        if self._recipe.stated:
            return sorted(self._recipe.stated[1])
        if self._recipe.phase:
            tags = [tag for tag in tags if tag != "train"]
        return sorted(_meta_graph(self._path, tags).signature_def[signature].outputs)

    def _compute_gradients(self, make_runner, call, keys):
        """{npz key: gradient} of the outputs `keys`; raises one of _NO_GRADIENT."""
        tags, label, case, signature, inputs = call
        wanted, arrays = {}, {}
        graph, session = self._fresh(tags)
        with graph.as_default(), session:
            runner = make_runner(self._path, tags, session)
            outputs, feed = runner.apply(signature, inputs)
            trainable = sorted(tf.trainable_variables(), key=lambda v: v.op.name)
            for key in keys:
                dense = getattr(outputs[key], "flat_values", getattr(outputs[key], "values", outputs[key]))
                if not trainable or not dense.dtype.is_floating:
                    continue
                gradients = tf.gradients(tf.reduce_sum(dense), trainable)
                for variable, gradient in zip(trainable, gradients):
                    if gradient is not None:
                        name = "%s|%d|%s|%s|%s" % (label, case, signature, key, runner.name_of(variable))
                        wanted[name] = tf.convert_to_tensor(gradient)
            for name, value in session.run(wanted, feed).items() if wanted else ():
                codec.encode(name, value, arrays)
        return arrays

    def _record_losses(self, tags, label):
        graph, session = self._fresh(tags)
        with graph.as_default(), session:
            runner = self._runner(self._path, tags, session)
            runner.start()
            trainable = tf.trainable_variables()
            wanted = {}
            for i, loss in enumerate(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)):
                wanted["%s|%d" % (label, i)] = loss
                for variable, gradient in zip(trainable, tf.gradients(loss, trainable)):
                    if gradient is not None:
                        name = "%s|%d|%s" % (label, i, runner.name_of(variable))
                        wanted[name] = tf.convert_to_tensor(gradient)
            if wanted:
                self.arrays["losses"].update(session.run(wanted))

    def _record_updates(self, tags, label):
        graph, session = self._fresh(tags)
        with graph.as_default(), session:
            runner = self._runner(self._path, tags, session)
            known = [s for s in ("default", "serving_default", "train") if s in runner.signatures()]
            if not known:
                return
            signature = known[0]
            outputs, feed = runner.apply(signature, self._cases(signature)[0])
            outputs = self._fetchable(label, signature, outputs)
            updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
            self.origin["update_ops"][label] = len(updates)
            if not updates or (self._recipe.phase and "train" not in tags):
                return  # the call that trains is the other one
            session.run([list(outputs.values()), updates], feed)
            trainable = {v.op.name for v in tf.trainable_variables()}
            for variable in tf.global_variables():
                if variable.op.name not in trainable and variable.op.name not in self._recipe.left_behind:
                    codec.encode("%s|%s" % (label, runner.name_of(variable)),
                                 session.run(variable), self.arrays["updates"])


def save_npz(path, arrays):
    """Writes an npz whose bytes depend on the arrays alone."""
    np.savez_compressed(path, **{key: arrays[key] for key in sorted(arrays)})
