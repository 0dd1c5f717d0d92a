"""Where models are migrated: in threads of this machine's driver, or on a cluster. Both call
`remote.migrate_anywhere`."""

from migrate.zoo.engines.base import Done, Engine, Running
from migrate.zoo.engines.local import LocalEngine

__all__ = ["Done", "Engine", "LocalEngine", "Running"]
