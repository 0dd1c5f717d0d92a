"""Write scopes: plain nodes as they are, clusters as If, loops as While.

Invariant: the ops written are those that cond_v2 and while_v2 write (TF 2.21), down to the attributes that
their gradients read: a While's first two variables are the loop counter and the maximum of iterations; what
a loop captures is returned as it came, while its own variables are never returned as bare arguments (TF
takes an argument that is also an output for a loop invariant).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import tensorflow as tf

from migrate.graph.control_flow.branches import Branches, State, name_pred, tensor_state
from migrate.graph.control_flow.frames import Frame, Loop
from migrate.graph.control_flow.functions import (
    Builder,
    Captures,
    Context,
    Input,
    Ref,
    attr_function,
    attr_shapes,
    attr_type,
    attr_types,
)
from migrate.graph.control_flow.nodes import INT32, LOOP, RAW, RESOURCE, VARIANT, Node, NotRaised, Tensor
from migrate.graph.control_flow.schedule import Cluster, Trace, schedule_scope
from migrate.graph.control_flow.trip_count import find_trip_limit, find_twins


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Emitter:
    """What is known of the graph when writing starts: states by frame, and the nodes somebody needs."""

    context: Context
    found: Mapping[Frame | None, Branches]
    live: Collection[Node]

    def emit_scope(
        self,
        builder: Builder,
        nodes: list[Node],
        frame: Frame | None,
        state: State,
        wanted: Collection[Tensor] = (),
        awaited: Collection[Node] = (),
    ) -> None:
        """Write `nodes`, which lie within `state`, into `builder`.

        Args:
          wanted: tensors that must be resolvable in `builder` afterwards, even from within a branch.
          awaited: nodes that somebody outside waits for.
        """
        found = self.found[frame]
        items = list(schedule_scope(nodes, state, found, builder.trace))
        crossing = _Crossing(items, nodes, wanted, awaited, builder.trace)
        for item in items:
            if isinstance(item, Cluster):
                self._emit_if(builder, item, frame, crossing)
            elif item.kind == LOOP:
                self._emit_while(builder, item.payload)
            elif item.kind == RAW:
                self._emit_raw(builder, item)
            else:
                builder.emit(item)

    # If -----------------------------------------------------------------------------------------------

    def _emit_if(self, builder: Builder, cluster: Cluster, frame: Frame | None, crossing: _Crossing) -> None:
        try:
            self._write_if(builder, cluster, frame, crossing)
        except NotRaised as error:
            if error.subject is not None:
                raise
            subject = frozenset([name_pred(cluster.region.pred)])
            raise NotRaised(subject, error.where, error.reason) from None

    def _write_if(self, builder: Builder, cluster: Cluster, frame: Frame | None, crossing: _Crossing) -> None:
        context, found = self.context, self.found[frame]
        for node, branch in cluster.nodes.items():
            if branch is None and node.kind == "Switch":
                builder.preds.setdefault(cluster.region, builder.resolve(node.inputs[1]))
        merges = cluster.merges
        exports, awaited = crossing.tensors[cluster], crossing.controls[cluster]
        if not (merges or exports or awaited):
            return
        name = context.unique(f"{_scope_of(next(iter(merges or cluster.nodes)).name)}If")
        captures = Captures()
        branches = [
            self._write_branch(_Branch(Builder(context, builder, captures), b, name), cluster, frame, merges, crossing)
            for b in (0, 1)
        ]
        outputs = [[branch.result(merge, found) for merge in merges] for branch in branches]
        for merge in merges:
            if merge in context.value_indices:
                for taken, results in zip(branches, outputs, strict=True):
                    results.append(taken.constant(_position(merge, taken.number, found), "value_index"))
        for tensor, owner in exports.items():
            made = branches[owner].resolve(tensor)
            outputs[owner].append(branches[owner].returned(made))
            outputs[1 - owner].append(branches[1 - owner].fake(made, context.shape(tensor)))
        self._close_if(builder, name, cluster, captures, branches, outputs, (merges, exports))

    def _write_branch(
        self, branch: _Branch, cluster: Cluster, frame: Frame | None, merges: list[Node], crossing: _Crossing
    ) -> _Branch:
        found, state = self.found[frame], cluster.region.branches[branch.number]
        nodes = [node for node, number in cluster.nodes.items() if number == branch.number]
        wanted = [tensor for tensor, owner in crossing.tensors[cluster].items() if owner == branch.number]
        controls = [node for node, owner in crossing.controls[cluster].items() if owner == branch.number]
        for merge in merges:
            position = _position(merge, branch.number, found)
            branch.builder.aliases[Tensor(merge, 0)] = merge.inputs[position]
            wanted.append(merge.inputs[position])
            if merge in self.context.value_indices:
                branch.builder.local[Tensor(merge, 1)] = branch.constant(position, "value_index")
        self.emit_scope(branch.builder, nodes, frame, state, wanted, controls)
        branch.controls = [text[1:] for text in branch.builder.wait_for(controls)]
        return branch

    def _close_if(
        self,
        builder: Builder,
        name: str,
        cluster: Cluster,
        captures: Captures,
        branches: list[_Branch],
        outputs: list[list[Ref]],
        produced: tuple[list[Node], Mapping[Tensor, int]],
    ) -> None:
        context, (merges, exports) = self.context, produced
        for node, branch in cluster.nodes.items():
            # What a Switch waits for, both branches wait for.
            if node in merges or (branch is None and node.kind == "Switch"):
                captures.controls.update((control, None) for control in node.controls if control not in cluster.nodes)
        inputs = _inputs_of(builder, captures)
        stateful = any(branch.builder.stateful for branch in branches)
        functions = [
            branch.builder.finish(f"{name}_{('false', 'true')[branch.number]}", inputs, results, branch.controls)
            for branch, results in zip(branches, outputs, strict=True)
        ]
        indices = [merge for merge in merges if merge in context.value_indices]
        shapes = [context.shape(Tensor(merge, 0)) for merge in merges]
        shapes += [tf.TensorShape([]).as_proto()] * len(indices) + [context.shape(tensor) for tensor in exports]
        pred = builder.preds[cluster.region]
        dtypes = [ref.dtype for ref in outputs[0]]
        attrs = {
            "Tcond": attr_type(pred.dtype),
            "Tin": attr_types([given.dtype for given in inputs]),
            "Tout": attr_types(dtypes),
            "then_branch": attr_function(functions[1]),
            "else_branch": attr_function(functions[0]),
            "output_shapes": attr_shapes(shapes),
            "_lower_using_switch_merge": tf.compat.v1.AttrValue(b=True),
            "_read_only_resource_inputs": _read_only(builder, inputs, [b.builder for b in branches], 1),
        }
        _append(
            builder,
            "If" if stateful else "StatelessIf",
            name,
            [pred, *(g.ref for g in inputs)],
            attrs,
            captures,
        )
        builder.stateful = builder.stateful or stateful
        results = [Ref(name=name, argument="output", index=k, flat=k, dtype=dtype) for k, dtype in enumerate(dtypes)]
        builder.stands.update((node, name) for node, branch in cluster.nodes.items() if branch is not None)
        for merge, ref in zip(merges, results[: len(merges)], strict=True):
            second = results[len(merges) + indices.index(merge)] if merge in indices else None
            _emit_merge(builder, merge, ref, second)
        for tensor, ref in zip(exports, results[len(merges) + len(indices) :], strict=True):
            builder.local[tensor] = ref

    # While --------------------------------------------------------------------------------------------

    def _emit_while(self, builder: Builder, loop: Loop) -> None:
        try:
            self._write_while(builder, loop)
        except NotRaised as error:
            if error.subject is not None:
                raise
            raise NotRaised(loop.frame.key, error.where, error.reason) from None

    def _write_while(self, builder: Builder, loop: Loop) -> None:
        context, frame = self.context, loop.frame
        name = context.unique(f"{_scope_of(loop.loop_cond.name)}While")
        kept = [k for k, merge in enumerate(loop.merges) if merge in self.live]
        twins = find_twins(loop, kept, context)
        kept = [k for k in kept if k not in twins]
        captures = Captures()
        cond, body = (Builder(context, builder, captures, 2 + len(kept)) for _ in range(2))
        inits = [builder.resolve(loop.inits[k]) for k in kept]
        for function in (cond, body):
            for position, k in enumerate(kept):
                function.local[Tensor(loop.merges[k], 0)] = function.argument(2 + position, inits[position].dtype)
            for k, twin in twins.items():
                function.local[Tensor(loop.merges[k], 0)] = function.local[Tensor(loop.merges[twin], 0)]
        root = self.found[frame].root
        self.emit_scope(cond, [n for n in loop.cond if n in self.live], frame, root, [loop.pred])
        pred = cond.resolve(loop.pred)
        pred = pred if pred.argument else cond.identity(pred, f"{name}/pred")
        nexts = [loop.nexts[k] for k in kept]
        waiting = [control for k in kept for control in loop.next_nodes[k].controls]
        self.emit_scope(body, [n for n in loop.body if n in self.live], frame, root, nexts, waiting)
        results = _next_values(body, name, [loop.merges[k] for k in kept], nexts)
        header = [loop.loop_cond, *(loop.merges[k] for k in kept), *loop.switches]
        cond_controls = [t[1:] for t in cond.wait_for([c for node in header for c in node.controls if c in loop.cond])]
        body_controls = [text[1:] for text in body.wait_for(waiting)]
        for enter in frame.enters:
            if enter in self.live:
                captures.controls.update(dict.fromkeys(enter.controls))
        limit = find_trip_limit(loop, context)
        limit = -1 if limit is None else limit
        counters = [
            builder.constant(0, f"{name}/loop_counter"),
            builder.constant(limit, f"{name}/maximum_iterations")
            if isinstance(limit, int)
            else builder.maximum_of_zero(builder.resolve(limit), f"{name}/maximum_iterations"),
        ]
        scalar = tf.TensorShape([]).as_proto()
        inputs = [Input(ref=ref, shape=scalar, handle=None) for ref in counters]
        for k, ref in zip(kept, inits, strict=True):
            merge = Tensor(loop.merges[k], 0)
            handle = context.handle_data(merge) or context.handle_data(loop.inits[k])
            inputs.append(Input(ref=ref, shape=context.shape(merge), handle=handle))
        inputs += _inputs_of(builder, captures)
        for position in range(2 + len(kept), len(inputs)):
            results.append(body.argument(position, inputs[position].dtype))
        functions = {
            "cond": attr_function(cond.finish(f"{name}_cond", inputs, [pred], cond_controls)),
            "body": attr_function(body.finish(f"{name}_body", inputs, results, body_controls)),
        }
        self._close_while(builder, name, loop, kept, inputs, (cond, body), functions, captures)
        for k, twin in twins.items():
            builder.local[Tensor(loop.node, k)] = builder.local[Tensor(loop.node, twin)]

    def _close_while(
        self,
        builder: Builder,
        name: str,
        loop: Loop,
        kept: list[int],
        inputs: list[Input],
        built: tuple[Builder, Builder],
        functions: dict[str, Any],
        captures: Captures,
    ) -> None:
        stateful = any(function.stateful for function in built)
        attrs = {
            "T": attr_types([given.dtype for given in inputs]),
            "output_shapes": attr_shapes([given.shape for given in inputs]),
            "parallel_iterations": tf.compat.v1.AttrValue(i=loop.parallel_iterations),
            "_lower_using_switch_merge": tf.compat.v1.AttrValue(b=True),
            "_num_original_outputs": tf.compat.v1.AttrValue(i=len(inputs)),
            "_read_only_resource_inputs": _read_only(builder, inputs, list(built), 0),
        } | functions
        _append(builder, "While" if stateful else "StatelessWhile", name, [g.ref for g in inputs], attrs, captures)
        builder.stateful = builder.stateful or stateful
        builder.stands[loop.node] = name
        for position, k in enumerate(kept, 2):
            ref = Ref(name=name, argument="output", index=position, flat=position, dtype=inputs[position].dtype)
            builder.local[Tensor(loop.node, k)] = ref

    def _emit_raw(self, builder: Builder, node: Node) -> None:
        """A loop that stays; it is cyclic, so its names are known before its nodes are written."""
        inner = node.payload.nodes
        builder.emitted.update((member, member.name) for member in inner)
        builder.emitted[node] = inner[0].name
        for member in inner:
            builder.emit(member)
        for k, tensor in enumerate(node.payload.results):
            builder.local[Tensor(node, k)] = builder.resolve(tensor)


class _Branch:
    """One branch function while it is built. `number` 1 is then, 0 is else."""

    def __init__(self, builder: Builder, number: int, name: str) -> None:
        self.builder = builder
        self.number = number
        self.name = name
        self.controls: list[str] = []

    def resolve(self, tensor: Tensor) -> Ref:
        return self.builder.resolve(tensor)

    def returned(self, ref: Ref) -> Ref:
        """`ref` as a result; cond_v2 never returns a bare argument."""
        return ref if ref.argument else self.builder.identity(ref, f"{self.name}/Identity")

    def result(self, merge: Node, found: Branches) -> Ref:
        return self.returned(self.resolve(merge.inputs[_position(merge, self.number, found)]))

    def constant(self, value: int, name: str) -> Ref:
        return self.builder.constant(value, f"{self.name}/{name}")

    def fake(self, ref: Ref, shape: Any) -> Ref:
        """A value for the branch that does not make one; whoever would read it does not run.

        Zeros, empty where a dimension is unknown: TFLite's converter knows no FakeParam, and XLA wants what the
        branches return to agree.
        """
        if ref.dtype == RESOURCE:
            raise NotRaised(None, ref.name, "a resource made in one branch is used after it")
        if ref.dtype == VARIANT:
            return self._fake_list()
        known = tf.TensorShape(shape)
        sizes = [] if known.rank is None else [size or 0 for size in known.as_list()]
        zeros = tf.compat.v1.AttrValue()  # A TensorProto without values is all zeros (or empty strings).
        zeros.tensor.dtype = ref.dtype
        zeros.tensor.tensor_shape.CopyFrom(tf.TensorShape(sizes).as_proto())
        name = self.builder.context.unique(f"{self.name}/Unused")
        self.builder.append("Const", name, [], {"dtype": attr_type(ref.dtype), "value": zeros})
        return Ref(name=name, argument="output", index=0, flat=0, dtype=ref.dtype)

    def _fake_list(self) -> Ref:
        """An empty list: an eager tape asks for zeros of its kind (TF 2.21)."""
        name = self.builder.context.unique(f"{self.name}/FakeList")
        inputs = [self.constant(-1, "element_shape"), self.constant(0, "max_num_elements")]
        attrs = {"element_dtype": attr_type(tf.float32.as_datatype_enum), "shape_type": attr_type(INT32)}
        self.builder.append("EmptyTensorList", name, inputs, attrs)
        return Ref(name=name, argument="handle", index=0, flat=0, dtype=VARIANT)


class _Crossing:
    """What each cluster has to hand out besides its Merges: {tensor or node: branch that makes it}."""

    def __init__(
        self,
        items: list[Node | Cluster],
        nodes: list[Node],
        wanted: Collection[Tensor],
        awaited: Collection[Node],
        trace: Trace,
    ) -> None:
        clusters = [item for item in items if isinstance(item, Cluster)]
        self._cluster_of = {node: cluster for cluster in clusters for node in cluster.nodes}
        self._trace = trace
        self.tensors: dict[Cluster, dict[Tensor, int]] = {cluster: {} for cluster in clusters}
        self.controls: dict[Cluster, dict[Node, int]] = {cluster: {} for cluster in clusters}
        for node in nodes if clusters else ():
            self._hand_to(node, self._cluster_of.get(node))
        for tensor in wanted:
            self._hand_out(tensor, None)
        for node in awaited:
            self._hand_out_control(node, None)

    def _hand_to(self, node: Node, cluster: Cluster | None) -> None:
        for tensor in node.inputs:
            self._hand_out(tensor, cluster)
        # A Merge is no node of its cluster's branches: what it waits for, the branch function has to run.
        own = cluster is not None and cluster.nodes[node] is None
        for control in node.controls:
            self._hand_out_control(control, None if own else cluster)

    def _hand_out(self, tensor: Tensor, to: Cluster | None) -> None:
        tensor = self._trace(tensor)
        cluster = self._cluster_of.get(tensor.node)
        if cluster is not None and cluster is not to and (branch := cluster.nodes[tensor.node]) is not None:
            self.tensors[cluster][tensor] = branch

    def _hand_out_control(self, node: Node, to: Cluster | None) -> None:
        cluster = self._cluster_of.get(node)
        if cluster is not None and cluster is not to and (branch := cluster.nodes[node]) is not None:
            self.controls[cluster][node] = branch


def _position(merge: Node, branch: int, found: Branches) -> int:
    """Which input of a Merge comes from `branch`."""
    return 0 if tensor_state(merge.inputs[0], found).branch == branch else 1


def _scope_of(name: str) -> str:
    return name[: name.rfind("/") + 1]


def _emit_merge(builder: Builder, merge: Node, value: Ref, position: Ref | None) -> None:
    """What keeps the Merge's name: an Identity, or an IdentityN where its second output is wanted."""
    if position is None:
        attrs = {"T": attr_type(value.dtype)}
        builder.append("Identity", merge.name, [value], attrs)
    else:
        builder.append("IdentityN", merge.name, [value, position], {"T": attr_types([value.dtype, INT32])})
        index = Ref(name=merge.name, argument="output", index=1, flat=1, dtype=INT32)
        builder.local[Tensor(merge, 1)] = index
    builder.local[Tensor(merge, 0)] = Ref(name=merge.name, argument="output", index=0, flat=0, dtype=value.dtype)
    builder.emitted[merge] = merge.name


def _next_values(body: Builder, name: str, merges: list[Node], nexts: list[Tensor]) -> list[Ref]:
    """Counter, limit and each variable's next value, as the body's results."""
    one = body.constant(1, f"{name}/one")
    made = body.context.unique(f"{name}/loop_counter_next")
    body.append("AddV2", made, [body.argument(0, INT32), one], {"T": attr_type(INT32)})
    results = [Ref(name=made, argument="z", index=0, flat=0, dtype=INT32), body.argument(1, INT32)]
    for merge, tensor in zip(merges, nexts, strict=True):
        ref = body.resolve(tensor)
        if not ref.argument and ref != body.local[Tensor(merge, 0)]:
            ref = body.identity(ref, f"{name}/Identity")
        results.append(ref)
    return results


def _inputs_of(builder: Builder, captures: Captures) -> list[Input]:
    context = builder.context
    return [
        Input(ref=builder.resolve(tensor), shape=context.shape(tensor), handle=context.handle_data(tensor))
        for tensor in captures.tensors
    ]


def _append(builder: Builder, op: str, name: str, inputs: list[Ref], attrs: dict[str, Any], captures: Captures) -> None:
    builder.append(op, name, inputs, attrs, builder.wait_for(list(captures.controls)))


def _read_only(builder: Builder, inputs: list[Input], functions: list[Builder], shift: int) -> Any:
    """Value of _read_only_resource_inputs: positions in the op's inputs (`shift` come before `inputs`)."""
    written = set().union(*(function.written for function in functions))
    resources = [position for position, given in enumerate(inputs) if given.dtype == RESOURCE]
    for position in resources:
        if position in written and not inputs[position].ref.argument:
            builder.written.add(inputs[position].ref.position)
    kept = [position + shift for position in resources if position not in written]
    return tf.compat.v1.AttrValue(list=tf.compat.v1.AttrValue.ListValue(i=kept))
