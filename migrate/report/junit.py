"""JUnit XML, the dialect that CI servers read (one <testcase> a model)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from migrate.outcome import Outcome, Status
from migrate.verdict import Verdict, Verification

# XML 1.0 has no way to spell these, not even escaped.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render_zoo(outcomes: Sequence[Outcome]) -> str:
    """A test suite: what is skipped is skipped, whatever else is not good is a failure."""
    suite = ElementTree.Element("testsuite", name="migrate-zoo", tests=str(len(outcomes)))
    failures = skipped = 0
    for outcome in outcomes:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=outcome.format or "unknown",
            name=_clean(outcome.source),
            time=f"{outcome.seconds:.3f}",
        )
        message = _clean(outcome.error)
        if outcome.status is Status.SKIPPED:
            skipped += 1
            ElementTree.SubElement(case, "skipped", message=message)
        elif not outcome.status.is_good:
            failures += 1
            ElementTree.SubElement(case, "failure", type=outcome.status.value, message=message)
    return _finish(suite, failures, skipped)


def render_comparison(name: str, verification: Verification) -> str:
    """A test suite of one comparison: a case for each value, problem, and call that was not compared."""
    suite = ElementTree.Element("testsuite", name=f"migrate-compare {_clean(name)}")
    failures = 0
    for diff in verification.diffs:
        case = _add_case(suite, f"{diff.where} ({diff.route})", f"{diff.level}: {diff.output}")
        if not diff.equal:
            failures += 1
            ElementTree.SubElement(case, "failure", type="differs", message=_clean(diff.message))
    for position, problem in enumerate(verification.problems):
        failures += 1
        case = _add_case(suite, "problem", str(position))
        ElementTree.SubElement(case, "failure", type="problem", message=_clean(problem))
    for line in verification.not_compared:
        ElementTree.SubElement(_add_case(suite, "not compared", line), "skipped", message=_clean(line))
    if verification.verdict is Verdict.NOTHING_COMPARED or (verification.verdict is Verdict.FAIL and not failures):
        failures += 1
        case = _add_case(suite, "verdict", verification.verdict.value)
        ElementTree.SubElement(case, "failure", type="verdict", message="nothing, or not everything, was compared")
    suite.set("tests", str(len(suite)))
    return _finish(suite, failures, len(verification.not_compared))


def _add_case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_clean(group), name=_clean(name))


def _clean(text: str) -> str:
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _finish(suite: ElementTree.Element, failures: int, skipped: int) -> str:
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
