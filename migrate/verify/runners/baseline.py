"""Runs the original in a TF1 session, from its own files, with none of the rebuilder's code.

The graph comes from `tf.compat.v1.train.import_meta_graph`, the values from TF1's Saver, as in TF1's loader and
in hub.Module; only what neither does (a hub module's assets, several init ops) is done here. Ops that this
TensorFlow cannot run are the exception: `graph.removed_ops` replaces them, and the outcome says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import variable_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from migrate.arrays import RaggedValue, SparseValue
from migrate.graph import loadable, races, removed_ops, stand_ins
from migrate.graph.index import GraphIndex, is_registered
from migrate.inputs import calls as call_files
from migrate.model import Encoding, GraphVariant, LegacyModel, Signature, SignatureTensor
from migrate.readers import originals, read_model
from migrate.verify import results as result_files
from migrate.verify.draws import draw_in_turns
from migrate.verify.runners import belongings
from migrate.verify.runners.gradients import session_gradients
from migrate.verify.runners.process import make_config, prepare_process
from migrate.verify.runners.request import RunRequest
from migrate.verify.runners.session_state import SessionState
from migrate.verify.signature_defs import describe_variants
from migrate.verify.weights import draw_all

# A dropped unit may well be kept a second time: a few draws tell.
_REPEATS = 3
# A loop may well run on for ever with weights that are not its own.
_REWEIGHED_SECONDS = 20.0


def run(wish: RunRequest) -> None:
    """Job."""
    prepare_process(wish.op_library)
    tf.compat.v1.disable_eager_execution()
    # TF1's own gradients of its loops and TensorArrays exist only while it builds loops as TF1 did (TF 2.21).
    tf.compat.v1.disable_control_flow_v2()
    model = read_model(wish.path, wish.read.of_original)
    planned = call_files.load_calls(wish.calls, wish.skip)
    found = result_files.Results(interface=describe_variants(model.variants), folder=wish.results, model=wish.path)
    belongings.read_original(model, found)
    updated = next((call for call in planned if call.id == wish.update_call), None)
    for variant in model.variants:
        wanted = [call for call in planned if call.tags == variant.tags]
        # A session that is as it was loaded is handed on: loading takes longer than most of what is asked.
        loaded = _run_variant(model, variant, wanted, found, wish) if wanted else None
        if wish.losses and variant.tags == wish.loss_tags:
            loaded = _run_losses(model, variant, found, loaded, variables=wish.variables)
        if updated is not None and variant.tags == updated.tags:
            _run_updates(model, updated, found, _REPEATS if wish.repeat else 0, loaded)
        elif loaded is not None:
            loaded.close()
        random = [call for call in wanted if call.id in found.generators]
        if random:
            _run_shared(model, variant, random, found, wish)
    found.save()


def _variant(model: LegacyModel, tags: tuple[str, ...]) -> GraphVariant:
    return next(variant for variant in model.variants if variant.tags == tags)


class LoadedVariant:
    """A variant in a fresh TF1 session.

    Attributes:
      is_whole: whether it is all there, not only what some signatures need.
    """

    def __init__(
        self,
        model: LegacyModel,
        variant: GraphVariant,
        signatures: Collection[str] = (),
        change: Callable[[Any], Any] | None = None,
    ) -> None:
        """`change` takes the GraphDef that is loaded and returns the one to load instead."""
        self.graph = tf.Graph()
        self.gradient_ops: dict[tuple[str, str], Any] = {}
        self.variant = variant
        with self.graph.as_default():
            # Placing only what runs: a kernel that is gone matters to the signatures that need it alone.
            config = make_config()
            config.allow_soft_placement = True
            config.graph_options.place_pruned_graph = True
            self.session = tf.compat.v1.Session(graph=self.graph, config=config)
            meta_graph, self.is_whole = _runnable_part(model, variant, signatures)
            if change is not None:
                meta_graph.graph_def.CopyFrom(change(meta_graph.graph_def))
            saver = tf.compat.v1.train.import_meta_graph(meta_graph, clear_devices=True)
            self._restore(model, saver)
            feeds = {asset.tensor: asset.path for asset in variant.assets}
            index = GraphIndex(variant.graph_def)
            for op in loadable.find_runnable(index, (*variant.init_ops, *self._hub_initializers())):
                self.session.run(self.graph.get_operation_by_name(op), feeds)

    def _restore(self, model: LegacyModel, saver: Any) -> None:
        if model.checkpoint is None:
            return
        if saver is None and tf.compat.v1.global_variables():
            # A hub module has no SaverDef: hub.Module restored by variable name and slice.
            saver = tf.compat.v1.train.Saver(tf.compat.v1.global_variables())
        if saver is not None:
            saver.restore(self.session, model.checkpoint)
        elif self.variant.variables:
            self._assign_values(tf.train.load_checkpoint(model.checkpoint))

    def _assign_values(self, reader: Any) -> None:
        """Into the variables of a graph without collections, from which no Saver can be made."""
        for spec in self.variant.variables:
            if spec.checkpoint_key is None:
                continue
            value = reader.get_tensor(spec.checkpoint_key)
            tensor = self.graph.get_tensor_by_name(f"{spec.node}:0")
            if tensor.dtype == tf.resource:
                put = tf.raw_ops.AssignVariableOp(resource=tensor, value=tf.constant(value))
            else:
                put = tf.raw_ops.Assign(ref=tensor, value=tf.constant(value)).op
            self.session.run(put)

    def _hub_initializers(self) -> tuple[str, ...]:
        return () if self.variant.init_ops else self.variant.table_initializers

    def make_feeds(self, inputs: Mapping[str, SignatureTensor], values: Mapping[str, Any]) -> dict[str, Any]:
        """feed_dict by tensor name; a feed that the pruned graph has no use for is left out."""
        present = {operation.name for operation in self.graph.get_operations()}
        feeds: dict[str, Any] = {name: value for name, value in self.variant.phase if name.split(":")[0] in present}
        # As hub.Module had it: the graph itself holds "SAVEDMODEL-ASSET", and the loader's init ops alone are told.
        assets = {asset.tensor: os.fsencode(asset.path) for asset in self.variant.assets}
        feeds |= {name: path for name, path in assets.items() if name.split(":")[0] in present}
        given = name_parts(inputs, values)
        return feeds | {name: part for name, part in given.items() if name.split(":")[0] in present}

    def close(self) -> None:
        self.session.close()


def _meta_graph(model: LegacyModel, variant: GraphVariant) -> meta_graph_pb2.MetaGraphDef:
    meta_graph = originals.load_meta_graph(model, variant)
    # The importer warns by version and cannot parse all that were written ("0.12.head").
    meta_graph.meta_info_def.tensorflow_version = ""
    for node in meta_graph.graph_def.node:
        # Colocation names what clear_devices has unplaced; it cannot change a value.
        if "_class" in node.attr:
            del node.attr["_class"]
    context = removed_ops.make_context(GraphIndex(variant.graph_def), variant, model.checkpoint)
    runnable, replaced = removed_ops.replace_removed_ops(meta_graph.graph_def, context)
    meta_graph.graph_def.CopyFrom(runnable)
    if replaced and _SAVEABLES in meta_graph.collection_def:
        # It names the handles of resources that are constants now; the SaverDef does without it.
        del meta_graph.collection_def[_SAVEABLES]
    return meta_graph


def _runnable_part(
    model: LegacyModel, variant: GraphVariant, signatures: Collection[str]
) -> tuple[meta_graph_pb2.MetaGraphDef, bool]:
    """The MetaGraph, and whether it is whole: where this TensorFlow does not know one of its ops, it is what
    `signatures` need.

    TF's importer refuses a graph for any unknown op, a session would have run what does not need it.
    """
    meta_graph = _meta_graph(model, variant)
    functions = {function.signature.name for function in meta_graph.graph_def.library.function}
    if all(is_registered(node.op) or node.op in functions for node in meta_graph.graph_def.node):
        return meta_graph, True
    loadable.cut_fed_nodes(meta_graph.graph_def, variant)
    called = [variant.signatures[key] for key in signatures]
    outputs = [name for s in called for t in s.outputs.values() for name in t.tensor_names]
    index = GraphIndex(meta_graph.graph_def)
    ops = [*loadable.find_runnable(index, (*variant.init_ops, *variant.table_initializers)), variant.restore_op]
    losses = [str(name) for name in variant.collections.get("regularization_losses", ())]
    saver = meta_graph.saver_def
    files = [saver.save_tensor_name, saver.filename_tensor_name]
    wanted = [name.split(":")[0] for name in (*outputs, *ops, *losses, *files, *_variable_parts(meta_graph)) if name]
    pruned = tf.compat.v1.graph_util.extract_sub_graph(meta_graph.graph_def, list(dict.fromkeys(wanted)))
    meta_graph.graph_def.CopyFrom(pruned)
    for key in [key for key in meta_graph.collection_def if key not in _STATE_COLLECTIONS]:
        del meta_graph.collection_def[key]
    return meta_graph, False


_SAVEABLES = "saveable_objects"
_STATE_COLLECTIONS = ("variables", "trainable_variables")


def _variable_parts(meta_graph: meta_graph_pb2.MetaGraphDef) -> list[str]:
    """The nodes that TF1's Variable objects hold on to."""
    names: list[str] = []
    for data in meta_graph.collection_def["variables"].bytes_list.value:
        definition = variable_pb2.VariableDef()
        definition.ParseFromString(data)
        parts = (definition.variable_name, definition.initializer_name, definition.snapshot_name)
        names.extend((*parts, definition.initial_value_name))
    return names


def _run_variant(
    model: LegacyModel,
    variant: GraphVariant,
    wanted: list[call_files.Call],
    found: result_files.Results,
    wish: RunRequest,
) -> LoadedVariant | None:
    """Returns the session if it is as it was loaded, of the whole variant."""
    try:
        loaded = LoadedVariant(model, variant, change=_order_reads(variant, wanted) if wish.reads_first else None)
    except Exception as error:
        for call in wanted:
            found.refusals["", call.id] = f"the original does not load: {result_files.first_line(error)}"
        return None
    index = GraphIndex(variant.graph_def)
    if wish.share:
        _find_generators(index, variant, wanted, found)
    random = {call.id for call in wanted if call.id in found.generators}
    with loaded.graph.as_default():
        state = _keep_state(loaded, _fetched(variant.signatures[call.signature] for call in wanted))
        if not wish.repeat:
            belongings.read_session_tables(loaded.session, loaded.graph, variant.graph_def, found)
        # Where no call moves anything, those that are drawn need no others before them.
        only = wish.draw_calls if wish.draw_calls and not state.is_moved else [call.id for call in wanted]
        drawn: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {}
        for call in [call for call in wanted if call.id in only]:
            answer = _make_answer(loaded, call)
            found.begin_call("", call.id)
            try:
                if "train" in variant.tags:
                    state.restore()
                # What counts its calls would differ from itself for that alone.
                for _ in range(_REPEATS if wish.repeat and not state.is_moved else 0):
                    answer()
                found.record_outputs("", call.id, answer())
                if call.id in wish.draw_calls:
                    drawn["", call.id] = answer
            except Exception as error:
                found.refusals["", call.id] = result_files.first_line(error)
        found.draws |= draw_in_turns(drawn, wish.draw_calls, wish.draw_seconds)
        steady = [call for call in wanted if call.id not in random]
        _run_gradients(loaded, steady, state, found, wish)
        reweighed = [call for call in steady if call.id in wish.reweigh_calls]
        _run_reweighed(loaded, reweighed, state, found)
    if loaded.is_whole and state.is_untouched and not reweighed and not wish.reads_first:
        return loaded
    loaded.close()
    return None


def _make_answer(loaded: LoadedVariant, call: call_files.Call, options: Any = None) -> Callable[[], dict[str, Any]]:
    signature = loaded.variant.signatures[call.signature]
    feeds = loaded.make_feeds(signature.inputs, call.inputs)
    fetches = {key: list(tensor.tensor_names) for key, tensor in signature.outputs.items()}

    def answer() -> dict[str, Any]:
        fetched = loaded.session.run(fetches, feeds, options)
        return {key: join_parts(signature.outputs[key], parts) for key, parts in fetched.items()}

    return answer


def _fetched(signatures: Iterable[Signature]) -> list[str]:
    return [name for s in signatures for tensor in s.outputs.values() for name in tensor.tensor_names]


def _keep_state(loaded: LoadedVariant, fetched: list[str]) -> SessionState:
    return SessionState(loaded.session, loaded.graph, loaded.graph.as_graph_def(), fetched)


def _order_reads(variant: GraphVariant, wanted: list[call_files.Call]) -> Callable[[Any], Any]:
    def change(graph_def: Any) -> Any:
        for key in dict.fromkeys(call.signature for call in wanted):
            graph_def = races.order_reads_first(graph_def, _fetched([variant.signatures[key]]))
        return graph_def

    return change


def _find_generators(
    index: GraphIndex, variant: GraphVariant, wanted: list[call_files.Call], found: result_files.Results
) -> None:
    described = stand_ins.describe_generators(stand_ins.iterate_generators(index.graph_def))
    if not described:
        return
    found.fixed_seeds.extend(name for name, (_, is_fixed) in described.items() if is_fixed)
    for key in dict.fromkeys(call.signature for call in wanted):
        signature = variant.signatures[key]
        feeds = [name for tensor in signature.inputs.values() for name in tensor.tensor_names]
        generators = stand_ins.find_generators(index, _fetched([signature]), feeds)
        for call in wanted if generators else ():
            if call.signature == key:
                found.generators[call.id] = generators


def _share(graph_def: Any) -> Any:
    stand_ins.replace_generators(graph_def, {})
    return graph_def


def _run_shared(
    model: LegacyModel,
    variant: GraphVariant,
    wanted: list[call_files.Call],
    found: result_files.Results,
    wish: RunRequest,
) -> None:
    """Random calls once more, with random numbers that another side can draw too; a refusal there is none here."""
    try:
        loaded = LoadedVariant(model, variant, change=_share)
    except Exception as error:
        found.notes.append(f"{variant.label}: no shared random numbers: {result_files.first_line(error)}")
        return
    with loaded.graph.as_default():
        state = _keep_state(loaded, _fetched(variant.signatures[call.signature] for call in wanted))
        for call in wanted:
            if ("", call.id) in found.outputs:
                state.restore()
                found.record_shared("", call.id, _make_answer(loaded, call)())
        _run_gradients(loaded, wanted, state, found, wish)
    updated = next((call for call in wanted if call.id == wish.update_call), None)
    if updated is None:
        loaded.close()
        return
    if state.restores_all:
        state.restore()
    else:
        loaded.close()
        loaded = LoadedVariant(model, variant, change=_share)
    shared = result_files.Results()
    _run_updates(model, updated, shared, 0, loaded)
    found.shared_updates = shared.updates


def _run_reweighed(
    loaded: LoadedVariant, wanted: list[call_files.Call], state: SessionState, found: result_files.Results
) -> None:
    """Calls once more with other weights; what is refused then, of numbers that nobody trained, tells nothing. What
    earlier calls left in tables cannot be taken back."""
    if any(node.op.startswith("Mutable") for node in loaded.variant.graph_def.node):
        return
    used = {name for piece in found.pieces for name in piece["variables"]}
    known = [*tf.compat.v1.global_variables(), *tf.compat.v1.local_variables()] if wanted else []
    variables = {variable.op.name: variable for variable in known if variable.op.name in used}
    try:
        others = draw_all(_read(loaded, variables)) if variables else {}
    except tf.errors.OpError:
        return  # a variable without a value
    patient = tf.compat.v1.RunOptions(timeout_in_ms=int(_REWEIGHED_SECONDS * 1000))
    for call in wanted if others else ():
        try:
            state.restore()
            for name, value in others.items():
                variables[name].load(value, loaded.session)
            outputs = _make_answer(loaded, call, patient)()
        except Exception:  # numbers that nobody trained: what is refused then tells nothing
            continue
        found.weights = list(dict.fromkeys((*found.weights, *others)))
        found.record_reweighed("", call.id, outputs)


def _run_gradients(
    loaded: LoadedVariant,
    wanted: list[call_files.Call],
    state: SessionState,
    found: result_files.Results,
    wish: RunRequest,
) -> None:
    for call in wanted:
        if call.id not in wish.gradient_calls or ("", call.id) not in found.outputs:
            continue
        signature = loaded.variant.signatures[call.signature]
        feeds = loaded.make_feeds(signature.inputs, call.inputs)
        found.begin_call("gradients", call.id)
        try:
            found.gradients["", call.id] = session_gradients(loaded, signature, feeds, state.restore)
        except Exception as error:  # What TF1 cannot differentiate is told, whatever it raises.
            found.notes.append(f"{call.id}: no gradients in the original: {result_files.first_line(error)}")


def split_value(value: Any) -> list[Any]:
    """Components in the order of SignatureTensor.components."""
    if isinstance(value, SparseValue):
        return [value.values, value.indices, value.dense_shape]
    if isinstance(value, RaggedValue):
        return [value.flat_values, *value.row_splits]
    return [value]


def name_parts(inputs: Mapping[str, SignatureTensor], values: Mapping[str, Any]) -> dict[str, Any]:
    """feed_dict by tensor name of values by input key."""
    return {
        name: part
        for key, value in values.items()
        for name, part in zip(inputs[key].tensor_names, split_value(value), strict=True)
    }


def join_parts(tensor: SignatureTensor, parts: list[Any]) -> Any:
    """A fetched value as verification holds it."""
    if tensor.encoding is Encoding.SPARSE:
        return SparseValue(values=as_array(parts[0]), indices=parts[1], dense_shape=parts[2])
    if tensor.encoding is Encoding.RAGGED:
        return RaggedValue(flat_values=as_array(parts[0]), row_splits=tuple(parts[1:]))
    return as_array(parts[0])


def as_array(value: Any) -> np.ndarray:
    """A fetched tensor as an array; a scalar string comes as bare bytes."""
    if isinstance(value, bytes | str):
        array = np.empty((), dtype=object)
        array[()] = value if isinstance(value, bytes) else value.encode()
        return array
    return np.asarray(value)


def _run_losses(
    model: LegacyModel,
    variant: GraphVariant,
    found: result_files.Results,
    loaded: LoadedVariant | None,
    *,
    variables: bool,
) -> LoadedVariant | None:
    """Takes and returns the session if it is as it was loaded, of the whole variant."""
    names = [str(name) for name in variant.collections.get("regularization_losses", ())]
    try:
        loaded = loaded or LoadedVariant(model, variant)
        with loaded.graph.as_default():
            found.trainable = [variable.op.name for variable in tf.compat.v1.trainable_variables()]
            values = loaded.session.run(names, loaded.make_feeds({}, {})) if names else []
            found.losses = [as_array(value) for value in values]
            if variables:
                # Of a checkpoint's variables, those that the reader takes for the model's.
                held = {name for spec in variant.variables for name in (spec.name, spec.node)}
                known = [v for v in tf.compat.v1.global_variables() if not held or v.op.name in held]
                found.variables = _read(loaded, {variable.op.name: variable for variable in known})
            if loaded.is_whole and _keep_state(loaded, names).is_untouched:
                return loaded
        loaded.close()
    except Exception as error:
        found.notes.append(f"regularization losses of the original: {result_files.first_line(error)}")
    return None


def _read(loaded: LoadedVariant, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: as_array(value) for name, value in loaded.session.run(dict(variables)).items()}


def _run_updates(
    model: LegacyModel,
    call: call_files.Call,
    found: result_files.Results,
    repeats: int,
    loaded: LoadedVariant | None = None,
) -> None:
    """Outputs and UPDATE_OPS once, then every variable; `repeats` times more from the same start. `loaded`: the
    variant, if it is there as it was loaded; it is closed."""
    variant = _variant(model, call.tags)
    signature = variant.signatures[call.signature]
    updates = [str(name).split(":")[0] for name in variant.collections.get("update_ops", ())]
    try:
        loaded = loaded or LoadedVariant(model, variant, [signature.key])
        with loaded.graph.as_default():
            operations = [loaded.graph.get_operation_by_name(name) for name in dict.fromkeys(updates)]
            outputs = [tensor.name for tensor in signature.outputs.values()]
            variables = {variable.op.name: variable for variable in tf.compat.v1.global_variables()}
            feeds = loaded.make_feeds(signature.inputs, call.inputs)
            before = _read(loaded, variables)
            runs: list[dict[str, np.ndarray]] = []
            for _ in range(1 + repeats):
                for name, variable in variables.items() if runs else ():
                    variable.load(before[name], loaded.session)
                loaded.session.run([outputs, operations], feeds)
                runs.append(_read(loaded, variables))
        found.record_updates(before, runs)
        loaded.close()
    except Exception as error:
        found.notes.append(f"updates of the original: {result_files.first_line(error)}")
