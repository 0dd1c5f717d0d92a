"""Where a model comes from: a path, an archive, a handle of a server or a bucket -> a Source on this machine.

`acquire_source` is the way in. Nothing here loads TensorFlow; whatever comes from elsewhere is bounded before it is
believed.
"""

from migrate.sources.acquire import acquire_source, spell_places
from migrate.sources.archives import may_hold_model
from migrate.sources.handles import is_handle, spell_location

__all__ = ["acquire_source", "is_handle", "may_hold_model", "spell_location", "spell_places"]
