"""Looks through a model from a stranger before anything of it runs: a graph is a program. Loads no TensorFlow."""

from migrate.scan.models import check_files, check_model, find_file_findings, scan_model
from migrate.scan.ops import UNSAFE_OPS, find_unsafe_call

__all__ = ["UNSAFE_OPS", "check_files", "check_model", "find_file_findings", "find_unsafe_call", "scan_model"]
