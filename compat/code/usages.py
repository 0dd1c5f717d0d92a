"""Source text -> Usages: every place that names a removed API, told by the import that the name comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import libcst as cst
from libcst import metadata

from compat import spellings

# Roots below which the removed names live: the original, and this toolkit's stand-in.
_HUB_ROOTS = ("tensorflow_hub.", "compat.hub.")
_NO_TAGS = ("None", "[]", "()", "set()", "{}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One use of a removed name.

    Attributes:
      line, column: of its first character, from 1.
      name: "hub.Module", "tensorflow.contrib.predictor.from_saved_model".
      replacement: the TF2 spelling.
      drop_in: for hub.Module: whether hub.KerasLayer over the migrated module stands in for it as it is used
        here. None where the question does not arise.
      reason: why not, "" where it does.
      cell: of a notebook, from 1; `line` then counts in the cell.
    """

    line: int
    column: int
    name: str
    replacement: str
    drop_in: bool | None = None
    reason: str = ""
    cell: int | None = None


def find_usages(wrapper: metadata.MetadataWrapper) -> tuple[Usage, ...]:
    """All uses in a parsed file, in the order of the text. Import statements themselves are none."""
    finder = _Finder()
    wrapper.visit(finder)
    return tuple(sorted(finder.found, key=lambda usage: (usage.line, usage.column)))


def removed_name(qualified: str) -> str | None:
    """The name under which a removed API is reported; None for anything else."""
    if qualified in spellings.OTHER:
        return qualified
    for root in _HUB_ROOTS:
        if qualified.startswith(root):
            name = qualified.removeprefix(root)
            submodule, _, rest = name.partition(".")
            name = rest if submodule in spellings.HUB_SUBMODULES else name
            return f"hub.{name}" if name in spellings.HUB else None
    return None


def is_known_to_stand_in(qualified: str) -> bool:
    """Whether compat.hub has a name of tensorflow_hub ("tensorflow_hub.load", "tensorflow_hub.tools.x")."""
    name = qualified.removeprefix("tensorflow_hub").lstrip(".").partition(".")[0]
    return not name or name in {*spellings.HUB, *spellings.HUB_KEPT, *spellings.HUB_SUBMODULES}


class _Finder(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (
        metadata.QualifiedNameProvider,
        metadata.PositionProvider,
        metadata.ParentNodeProvider,
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Usage] = []
        self._accesses: dict[str, list[cst.CSTNode]] = {}
        self._module: cst.Module | None = None

    def visit_Module(self, node: cst.Module) -> None:
        self._module = node
        for expression in _iterate_references(node):
            self._accesses.setdefault(_code(expression), []).append(expression)

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        return not self._report(node)

    def visit_Name(self, node: cst.Name) -> None:
        self._report(node)

    def _report(self, node: cst.Attribute | cst.Name) -> bool:
        qualified = self.get_metadata(metadata.QualifiedNameProvider, node, set())
        names = {removed_name(item.name) for item in qualified if item.source is metadata.QualifiedNameSource.IMPORT}
        name = next((found for found in sorted(filter(None, names))), None)
        if name is None:
            return False
        start = self.get_metadata(metadata.PositionProvider, node).start
        replacement = spellings.OTHER.get(name) or spellings.HUB[name.removeprefix("hub.")]
        drop_in, reason = self._judge_module(node) if name == "hub.Module" else (None, "")
        self.found.append(
            Usage(
                line=start.line,
                column=start.column + 1,
                name=name,
                replacement=replacement,
                drop_in=drop_in,
                reason=reason,
            )
        )
        return True

    def _judge_module(self, node: cst.CSTNode) -> tuple[bool, str]:
        """Whether everything that happens to this Module is what a KerasLayer does, too."""
        call = self._parent(node)
        if not isinstance(call, cst.Call) or call.func is not node:
            return False, "the class is used without a call"
        for argument in call.args:
            keyword = argument.keyword.value if argument.keyword else None
            if argument.star or (keyword == "tags" and _code(argument.value) not in _NO_TAGS):
                return False, "it chooses tags: a KerasLayer chooses the variant by training="
        if len(call.args) > 3 and not any(argument.keyword for argument in call.args[:4]):
            return False, "it chooses tags: a KerasLayer chooses the variant by training="
        user = self._parent(call)
        if isinstance(user, cst.Call) and user.func is call:
            return _judge_application(user)
        target = self._find_target(call)
        if target is None:
            return False, "where the instance goes cannot be told from here"
        applied = False
        for access in self._accesses.get(target, ()):
            parent = self._parent(access)
            if isinstance(parent, cst.AssignTarget | cst.AnnAssign):
                continue
            if not isinstance(parent, cst.Call) or parent.func is not access:
                what = f".{parent.attr.value}" if isinstance(parent, cst.Attribute) else "the instance as a value"
                return False, f"it uses {what}"
            verdict = _judge_application(parent)
            if not verdict[0]:
                return verdict
            applied = True
        return (True, "") if applied else (False, f"{target} is not applied in this file")

    def _find_target(self, call: cst.Call) -> str | None:
        """Text of the one name or attribute that the call is assigned to."""
        parent = self._parent(call)
        if isinstance(parent, cst.Assign) and len(parent.targets) == 1:
            target = parent.targets[0].target
        elif isinstance(parent, cst.AnnAssign):
            target = parent.target
        else:
            return None
        return _code(target) if isinstance(target, cst.Name | cst.Attribute) else None

    def _parent(self, node: cst.CSTNode) -> cst.CSTNode:
        return self.get_metadata(metadata.ParentNodeProvider, node)


def _judge_application(call: cst.Call) -> tuple[bool, str]:
    """A KerasLayer takes the inputs, applies the default signature, and returns its default output."""
    for position, argument in enumerate(call.args):
        keyword = argument.keyword.value if argument.keyword else None
        value = _code(argument.value)
        if keyword == "signature" and value not in ("None", "'default'", '"default"'):
            return False, f"it applies signature {value}: that is a sub-object of the migrated model"
        if keyword == "as_dict" and value not in ("None", "False"):
            return False, "it takes the outputs as a dict: call the layer with return_endpoints=True"
        if argument.star or (keyword is None and position) or keyword not in (None, "inputs", "signature", "as_dict"):
            return False, "the arguments of an application cannot be told from here"
    if not call.args:
        return False, "it is applied without inputs, a KerasLayer wants one"
    return True, ""


def _iterate_references(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Names and attributes that stand for values; an attribute's own name is none."""
    for child in node.children:
        if isinstance(child, cst.Import | cst.ImportFrom):
            continue
        if isinstance(child, cst.Attribute):
            yield child
            yield from _iterate_references(child.value)
            if isinstance(child.value, cst.Name | cst.Attribute):
                yield child.value
            continue
        if isinstance(child, cst.Arg) and child.keyword is not None:
            if isinstance(child.value, cst.Name | cst.Attribute):
                yield child.value
            yield from _iterate_references(child.value)
            continue
        if isinstance(child, cst.Name):
            yield child
        yield from _iterate_references(child)


def _code(node: cst.CSTNode) -> str:
    return cst.Module(body=()).code_for_node(node)
