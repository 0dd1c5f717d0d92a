"""What became of one model. Plain values, no TensorFlow import."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

from migrate.model import Finding, Severity
from migrate.verdict import Verification


class Status(enum.Enum):
    """Names as reports spell them."""

    MIGRATED = "migrated"
    SKIPPED = "skipped"
    ALREADY_TF2 = "already_tf2"
    BLOCKED = "blocked"
    FAILED = "failed"
    REGRESSED = "regressed"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"

    @property
    def is_good(self) -> bool:
        return self in (Status.MIGRATED, Status.SKIPPED, Status.ALREADY_TF2)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The record of one model.

    Attributes:
      source, dest: paths; dest is "" where nothing was written.
      format: Format value, "" where it could not be told.
      status: what became of it.
      stage: the last stage entered: detect, read, rebuild, write, verify, done.
      findings: what a person should know.
      verification: None where old and new were not run.
      error: one readable line, "" where all is well.
      seconds: wall time.
      peak_rss_bytes: largest resident size of any of its processes.
      quarantine: where a model that differs from its original was put, "" where it was not.
      duplicate_of: source of the equal model of the same zoo that was migrated for both, "" where this one was.
      log: file with what its processes printed, relative to the report's folder, "" where they printed nothing.
    """

    source: str
    dest: str
    format: str
    status: Status
    stage: str
    findings: tuple[Finding, ...] = ()
    verification: Verification | None = None
    error: str = ""
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    quarantine: str = ""
    duplicate_of: str = ""
    log: str = ""

    def to_record(self) -> dict[str, Any]:
        """The JSON value of report.json's "models"."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        record["status"] = self.status.value
        record["findings"] = [describe_finding(finding) for finding in self.findings]
        record["verification"] = self.verification.to_record() if self.verification else None
        return record

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Outcome:
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in record.items() if name in names}
        values["status"] = Status(record["status"])
        values["findings"] = tuple(parse_finding(finding) for finding in record["findings"])
        if record["verification"]:
            values["verification"] = Verification.from_record(record["verification"])
        return cls(**values)


def describe_finding(finding: Finding) -> dict[str, Any]:
    return dataclasses.asdict(finding) | {"severity": finding.severity.value}


def parse_finding(record: dict[str, Any]) -> Finding:
    return Finding(**(record | {"severity": Severity(record["severity"])}))
