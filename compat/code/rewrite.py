"""The safe rewrites: imports of removed APIs become imports of the stand-ins. Nothing else of the text changes.

`import tensorflow_hub as hub` becomes `from compat import hub`, and tf.contrib.predictor becomes
compat.predictor. The stand-ins keep names, arguments and meaning, so that the code runs as before; the TF2
spelling changes meaning (eager execution, layers) and stays with the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import libcst as cst
from libcst import codemod, metadata
from libcst.codemod import visitors

from compat.code import usages

_HUB = "tensorflow_hub"
_CONTRIB = "tensorflow.contrib"
_PREDICTOR = "predictor"
_Statements = cst.BaseSmallStatement | cst.FlattenSentinel[cst.BaseSmallStatement] | cst.RemovalSentinel


def rewrite_file(wrapper: metadata.MetadataWrapper, found: Sequence[usages.Usage]) -> cst.Module:
    """The module with its imports replaced; equal text where there is nothing to replace.

    Args:
      wrapper: the parsed file.
      found: its usages.

    A file that uses what compat.hub does not have (tensorflow_hub.tools) keeps its imports of tensorflow_hub.
    """
    names = {usage.name for usage in found}
    outside = _Outside()
    wrapper.visit(outside)
    context = codemod.CodemodContext(wrapper=wrapper)
    changed = wrapper.visit(
        _Imports(
            context,
            uses_hub=not outside.names and any(name.startswith("hub.") for name in names),
            uses_predictor=any(not name.startswith("hub.") for name in names),
        )
    )
    return changed.visit(visitors.AddImportsVisitor(context)) if _needs_imports(context) else changed


def _needs_imports(context: codemod.CodemodContext) -> bool:
    return bool(context.scratch.get(visitors.AddImportsVisitor.CONTEXT_KEY))


class _Outside(cst.CSTVisitor):
    """Collects names of tensorflow_hub that compat.hub does not have."""

    METADATA_DEPENDENCIES = (metadata.QualifiedNameProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        module = _dotted(node.module) if node.module is not None else ""
        if module.partition(".")[0] == _HUB and not node.relative:
            names = [] if isinstance(node.names, cst.ImportStar) else [alias.evaluated_name for alias in node.names]
            self._add(f"{module}.{name}" for name in names or ["*"])
        return False

    def visit_Attribute(self, node: cst.Attribute) -> None:
        found = self.get_metadata(metadata.QualifiedNameProvider, node, set())
        self._add(item.name for item in found if item.name.startswith(f"{_HUB}."))

    def _add(self, names: Iterable[str]) -> None:
        self.names.update(name for name in names if not usages.is_known_to_stand_in(name))


class _Imports(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (metadata.QualifiedNameProvider, metadata.ScopeProvider)

    def __init__(self, context: codemod.CodemodContext, *, uses_hub: bool, uses_predictor: bool) -> None:
        super().__init__()
        self._context = context
        self._uses_hub = uses_hub
        self._uses_predictor = uses_predictor

    def leave_Import(self, original_node: cst.Import, updated_node: cst.Import) -> _Statements:
        """`import tensorflow_hub [as x]`; other names of the statement stay in one of their own."""
        if self._uses_hub and any(_is_named_submodule(alias) for alias in updated_node.names):
            names = [_move_submodule(alias) if _is_named_submodule(alias) else alias for alias in updated_node.names]
            updated_node = updated_node.with_changes(names=names)
        ours = [alias for alias in updated_node.names if alias.evaluated_name == _HUB]
        if not ours or not self._uses_hub:
            return updated_node
        others = [alias for alias in updated_node.names if alias.evaluated_name != _HUB]
        made = [_import_from(_name("compat"), "hub", alias.evaluated_alias or _HUB) for alias in ours]
        return _join(updated_node, others, made)

    def leave_ImportFrom(self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom) -> _Statements:
        """`from tensorflow_hub[.module] import Module` and `from tensorflow.contrib import predictor`."""
        if updated_node.relative or updated_node.module is None or isinstance(updated_node.names, cst.ImportStar):
            return updated_node
        module = _dotted(updated_node.module)
        if module == _HUB and self._uses_hub:
            return updated_node.with_changes(module=cst.Attribute(_name("compat"), _name("hub")))
        if module.startswith(f"{_HUB}.") and self._uses_hub:
            return updated_node.with_changes(module=_stand_in(module))
        if module == f"{_CONTRIB}.{_PREDICTOR}" and self._uses_predictor:
            return updated_node.with_changes(module=cst.Attribute(_name("compat"), _name(_PREDICTOR)))
        if module == _CONTRIB and self._uses_predictor:
            ours = [alias for alias in updated_node.names if alias.evaluated_name == _PREDICTOR]
            others = [alias for alias in updated_node.names if alias.evaluated_name != _PREDICTOR]
            if ours:
                made = [_import_from(_name("compat"), _PREDICTOR, a.evaluated_alias or _PREDICTOR) for a in ours]
                return _join(updated_node, others, made)
        return updated_node

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        """`tf.contrib.predictor` in an expression, where the name `predictor` is free."""
        if original_node.attr.value != _PREDICTOR:
            return updated_node
        qualified = self.get_metadata(metadata.QualifiedNameProvider, original_node, set())
        if not any(item.name == f"{_CONTRIB}.{_PREDICTOR}" for item in qualified):
            return updated_node
        scope = self.get_metadata(metadata.ScopeProvider, original_node, None)
        if scope is None or _PREDICTOR in scope:
            return updated_node
        visitors.AddImportsVisitor.add_needed_import(self._context, "compat", _PREDICTOR)
        return _name(_PREDICTOR)


def _is_named_submodule(alias: cst.ImportAlias) -> bool:
    """`tensorflow_hub.module as m`; without `as` it binds the name tensorflow_hub, and stays."""
    return alias.evaluated_name.startswith(f"{_HUB}.") and alias.asname is not None


def _move_submodule(alias: cst.ImportAlias) -> cst.ImportAlias:
    return alias.with_changes(name=_stand_in(alias.evaluated_name))


def _stand_in(module: str) -> cst.Attribute:
    """ "tensorflow_hub.module" -> compat.hub.module."""
    return cst.ensure_type(cst.parse_expression(f"compat.hub.{module.removeprefix(f'{_HUB}.')}"), cst.Attribute)


def _join(
    statement: cst.Import | cst.ImportFrom, others: Sequence[cst.ImportAlias], made: Sequence[cst.ImportFrom]
) -> _Statements:
    if not others:
        return cst.FlattenSentinel(made)
    kept = [*others[:-1], others[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)]
    return cst.FlattenSentinel([statement.with_changes(names=kept), *made])


def _import_from(module: cst.Name, name: str, alias: str) -> cst.ImportFrom:
    asname = None if alias == name else cst.AsName(_name(alias))
    return cst.ImportFrom(module=module, names=[cst.ImportAlias(name=_name(name), asname=asname)])


def _name(text: str) -> cst.Name:
    return cst.Name(text)


def _dotted(node: cst.BaseExpression) -> str:
    return cst.Module(body=()).code_for_node(node)
