"""A room imports only rooms before it; there is no circle; `migrate` never imports `compat`."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Each room may import those above it. A module that is a room of its own stands under its dotted name.
ORDER = (
    "migrate",  # the lazy package itself: its version
    "migrate.errors",
    "migrate.wire",
    "migrate.model",
    "migrate.options",
    "migrate.records",
    "migrate.arrays",
    "migrate.spool",
    "migrate.checkpoint",
    "migrate.detect",
    "migrate.isolation",
    "migrate.scan",
    "migrate.sources",
    "migrate.publish",
    "migrate.verdict",  # plain values, which outcomes carry
    "migrate.outcome",
    "migrate.report",
    "migrate.tensorflow_private",
    "migrate.schema",
    "migrate.graph",
    "migrate.readers",
    "migrate.inputs",
    "migrate.rebuild",
    "migrate.write",
    "migrate.verify.draws",
    "migrate.verify.weights",
    "migrate.verify.contents",
    "migrate.verify.results",
    "migrate.verify.ways",
    "migrate.verify.signature_defs",
    "migrate.verify.courses",
    "migrate.verify.judging",
    "migrate.verify.runners",
    "migrate.verify",
    "migrate.inspection",
    "migrate.comparison",
    "migrate.keras3",
    "migrate.building",
    "migrate.pipeline",
    "migrate.publishing",
    "migrate.zoo",
    "migrate.cli",
    "compat",
)
# Imports that exist for the type checker only.
_TYPING = "TYPE_CHECKING"
_PRIVATE = re.compile(r"^\s*(from|import)\s+tensorflow\.(python|compiler)\b", re.MULTILINE)


def _modules():
    for package in ("migrate", "compat"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(_modules())


def find_room(module):
    """The longest entry of ORDER that the module lies in."""
    fitting = [room for room in ORDER if room != "migrate" and (module == room or module.startswith(f"{room}."))]
    return max(fitting, key=len) if fitting else "migrate" if module == "migrate" else None


# Packages whose public names are resolved on first use; what lies below them may import them.
_LAZY = ("migrate",)


def find_imports(path, *, with_types=False):
    """Dotted names of the modules of this project that a file imports, wherever in the file."""
    found = set()
    pending = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if not with_types and isinstance(node, ast.If) and _TYPING in ast.dump(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
        pending.extend(ast.iter_child_nodes(node))
    return {name for name in found if name.split(".")[0] in ("migrate", "compat")}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_room_imports_only_rooms_before_it(module):
    room = find_room(module)
    assert room is not None, f"{module} lies in no room: give it a place in ORDER"
    for name in find_imports(MODULES[module]):
        other = find_room(name)
        assert other is not None, f"{module} imports {name}, which lies in no room"
        assert other == room or ORDER.index(other) < ORDER.index(room), f"{module} imports {name}: {room} < {other}"


def test_migrate_never_imports_compat():
    guilty = [module for module in MODULES if module.startswith("migrate") and _imports_compat(MODULES[module])]
    assert guilty == []


def _imports_compat(path):
    return any(name.split(".")[0] == "compat" for name in find_imports(path))


def test_no_circles():
    """Files that import each other, however far around: while they load, within a function, or for the type checker."""
    edges = {
        module: {name for name in find_imports(path, with_types=True) if name in MODULES and name not in _LAZY}
        for module, path in MODULES.items()
    }
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for name in sorted(edges[module] - {module}):
            # A package's __init__ re-exports what lies in it: that is no circle unless the inside asks for it.
            visit(name)
        path.pop()
        done.add(module)

    for module in sorted(edges):
        visit(module)


def test_running_and_judging_are_separate():
    """What runs a side and what judges know each other only through the value between them."""
    for module, path in MODULES.items():
        rooms = {find_room(name) for name in find_imports(path, with_types=True)}
        if find_room(module) == "migrate.verify.runners":
            assert "migrate.verify.judging" not in rooms, module
        if find_room(module) == "migrate.verify.judging":
            assert "migrate.verify.runners" not in rooms, module


def test_private_tensorflow_lives_in_one_room():
    """`tensorflow.python...`, `tensorflow.compiler...`: names that TensorFlow may change without a word."""
    guilty = [
        module
        for module, path in MODULES.items()
        if module != "migrate.tensorflow_private" and _PRIVATE.search(path.read_text(encoding="utf-8"))
    ]
    assert guilty == []


def test_no_decision_hangs_on_the_time_of_day():
    """A clock may be set back in the middle of a run: it is told to people and other programs, and nothing else."""
    telling = {"migrate.report.facts", "migrate.zoo.metrics"}
    clock = re.compile(r"\btime\.time\(|\bdatetime\b|\blocaltime\b")
    found = {module for module, path in MODULES.items() if clock.search(path.read_text(encoding="utf-8"))}
    assert {module for module in found if module.startswith("migrate")} == telling


def test_only_the_pipeline_knows_all_stages():
    stages = {"migrate.detect", "migrate.rebuild", "migrate.write", "migrate.verify"}
    for module, path in MODULES.items():
        rooms = {find_room(name) for name in find_imports(path)}
        assert not stages <= rooms or module == "migrate.pipeline", f"{module} knows all stages"


def test_zoo_imports_no_stage():
    for module, path in MODULES.items():
        if find_room(module) == "migrate.zoo":
            rooms = {find_room(name) for name in find_imports(path)}
            assert not rooms & {"migrate.graph", "migrate.readers", "migrate.rebuild", "migrate.write"}, module


def test_no_utils():
    assert [
        module for module in MODULES if "util" in module.rsplit(".", 1)[-1] and not module.startswith("compat")
    ] == []


def test_files_are_small():
    """No file above 500 lines, in sources and tests alike."""
    files = [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: count for name, count in long.items() if count > 500} == {}
