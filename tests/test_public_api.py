"""The names that others build on: DESIGN's public surface, with its signatures."""

import ast
import dataclasses
import importlib.resources
import inspect
import pathlib
import tomllib

import mypy.api
import pytest

import migrate
from migrate import errors

PUBLIC = {
    "inspect_model": ["source"],
    "migrate_model": ["source", "dest", "options"],
    "compare_models": ["baseline", "candidate", "options"],
    "migrate_zoo": ["source", "dest", "options"],
    "detect_format": ["path"],
}


@pytest.mark.parametrize("name", PUBLIC)
def test_functions(name):
    """Each takes what the design says, in that order; what comes after is keyword-only."""
    parameters = list(inspect.signature(getattr(migrate, name)).parameters.values())
    positional = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional[: len(PUBLIC[name])] == PUBLIC[name]
    assert all(p.default is not inspect.Parameter.empty for p in parameters[len(PUBLIC[name]) :])
    assert inspect.getdoc(getattr(migrate, name))


@pytest.mark.parametrize("name", sorted(set(migrate.__all__) - {"__version__"}))
def test_every_listed_name_is_there(name):
    assert getattr(migrate, name) is not None
    assert name in dir(migrate) or name in migrate.__all__


def test_editors_see_every_name():
    """The TYPE_CHECKING block imports what is resolved on first use, from where it is resolved."""
    tree = ast.parse(pathlib.Path(migrate.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == migrate._PUBLIC


@pytest.mark.slow
def test_type_checkers_see_signatures(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import migrate\nfrom compat import hub\n"
        "reveal_type(migrate.migrate_model)\nreveal_type(migrate.compare_models)\nreveal_type(hub.Module)\n"
        "migrate.no_such_name\n"
    )
    told, _, _ = mypy.api.run(["--strict", "--ignore-missing-imports", str(program)])
    assert "source: str | os.PathLike[str], dest: str | os.PathLike[str]" in told
    assert "-> migrate.verdict.Verification" in told
    assert 'Module has no attribute "no_such_name"' in told
    assert "-> compat.hub.module.Module" in told


@pytest.mark.parametrize("package", ["migrate", "compat"])
def test_packages_say_that_they_are_typed(package):
    """PEP 561: without the marker a type checker ignores an installed package's annotations."""
    assert (importlib.resources.files(package) / "py.typed").is_file()
    project = tomllib.loads((pathlib.Path(migrate.__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    assert "py.typed" in project["tool"]["setuptools"]["package-data"][package]


def test_unknown_name():
    with pytest.raises(AttributeError, match="no_such_name"):
        migrate.no_such_name  # noqa: B018


def test_no_function_bears_its_modules_name():
    """After `import migrate.detect`, `migrate.detect` is the module."""
    import migrate.detect
    import migrate.zoo

    assert inspect.ismodule(migrate.detect) and inspect.ismodule(migrate.zoo)
    assert {"detect", "zoo", "pipeline", "inspection", "comparison"}.isdisjoint(migrate.__all__)


def test_statuses():
    from migrate.outcome import Status

    assert {status.value for status in Status} == {
        "migrated", "skipped", "already_tf2", "blocked", "failed", "regressed", "timed_out", "crashed",
    }  # fmt: skip
    assert {status.value for status in Status if status.is_good} == {"migrated", "skipped", "already_tf2"}


def test_verdicts():
    from migrate.verdict import Verdict

    assert {verdict.value for verdict in Verdict} == {"PASS", "FAIL", "NOTHING_COMPARED"}


@pytest.mark.parametrize(
    "name", ["MigrateOptions", "ZooOptions", "RebuildOptions", "CompareOptions", "Tolerance", "Limits"]
)
def test_options_are_frozen_and_have_defaults(name):
    options = getattr(migrate, name)()
    field = dataclasses.fields(options)[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(options, field.name, None)


def test_options_refuse_nonsense():
    with pytest.raises(errors.UsageError, match="verify"):
        migrate.MigrateOptions(verify="maybe")
    with pytest.raises(errors.UsageError, match="jobs"):
        migrate.ZooOptions(jobs=0)
    with pytest.raises(errors.UsageError, match="negative"):
        migrate.Tolerance(relative=-1.0)


def test_error_tree():
    """Two classes decide the exit code; every error is caught as MigrateError and reads as one line."""
    for usage in (errors.SourceNotFoundError, errors.DestinationError):
        assert issubclass(usage, errors.UsageError)
    for source in (errors.UnknownFormatError, errors.CorruptModelError, errors.MissingValuesError):
        assert issubclass(source, errors.SourceError) and not issubclass(source, errors.UsageError)
    assert issubclass(errors.UnrunnableError, errors.BlockedError)
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)]
    assert all(issubclass(kind, migrate.MigrateError) for kind in kinds) and len(kinds) >= 12
    assert str(errors.CorruptModelError("is short", where="a/b", hint="copy it")) == "a/b: is short [copy it]"
    assert str(errors.CorruptModelError("is short")) == "is short"


def test_outcome_survives_json():
    import json

    from migrate.model import Finding, Severity
    from migrate.outcome import Outcome, Status
    from migrate.verdict import OutputDiff, Verdict, Verification

    outcome = Outcome(
        source="a",
        dest="b",
        format="tf1_hub_module",
        status=Status.REGRESSED,
        stage="verify",
        findings=(Finding(code="x", severity=Severity.WARNING, where="w", message="m", hint="h"),),
        verification=Verification(
            verdict=Verdict.FAIL,
            diffs=(OutputDiff(where="serve/f/0", route="callable", output="y", equal=False, max_absolute=0.5),),
            not_compared=("z",),
        ),
        error="e",
        seconds=1.5,
        peak_rss_bytes=7,
    )
    assert Outcome.from_record(json.loads(json.dumps(outcome.to_record()))) == outcome
