"""ModuleAttachment under the name of tensorflow_hub's generated module; made at run time (protos.py)."""

from compat.hub.protos import ModuleAttachment

__all__ = ["ModuleAttachment"]
