"""Raise TF1 control flow to functional control flow, from the graph's structure alone."""

from migrate.graph.control_flow.raising import CODE, raise_control_flow
from migrate.graph.control_flow.registration import register_functions

__all__ = ["CODE", "raise_control_flow", "register_functions"]
