"""Where models are migrated: in threads of this machine's driver, or on a cluster. Both call `tasks.migrate_task`."""

from migrate.zoo.engines.base import Done, Engine, Running
from migrate.zoo.engines.local import LocalEngine

__all__ = ["Done", "Engine", "LocalEngine", "Running"]
