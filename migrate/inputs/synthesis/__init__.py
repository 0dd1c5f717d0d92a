"""Inputs that a signature can really take, from what its placeholders flow into."""

from migrate.inputs.synthesis.plan import synthesize_cases

__all__ = ["synthesize_cases"]
