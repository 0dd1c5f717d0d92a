"""Outcomes -> report.json, report.html, a page a model, junit.xml, a line for the terminal. Loads no TensorFlow."""

from migrate.report.facts import find_facts
from migrate.report.files import format_summary, write_reports

__all__ = ["find_facts", "format_summary", "write_reports"]
