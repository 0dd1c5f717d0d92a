"""ModuleImpl under its name in tensorflow_hub."""

from compat.hub.module_spec import ModuleImpl

__all__ = ["ModuleImpl"]
