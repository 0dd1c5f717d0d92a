"""ModuleDef under the name of tensorflow_hub's generated module; made at run time (protos.py)."""

from compat.hub.protos import ModuleDef

__all__ = ["ModuleDef"]
