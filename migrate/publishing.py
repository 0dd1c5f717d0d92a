"""Written models as wholes: copied to a second place, told apart by their source. For rooms that know no stage."""

from __future__ import annotations

import os
from collections.abc import Callable

from migrate import detect
from migrate.publish import card
from migrate.write import copying, provenance, staging
from migrate.write.staging import is_writable, remove_stale_staging

__all__ = ["digest_source", "is_writable", "publish_copy", "remove_stale_staging"]


def digest_source(path: str) -> str:
    """What `migration.json` of a migrated model would have under source/sha256.

    Raises:
      SourceError: no model can be told.
      OSError: it cannot be read.
    """
    return provenance.digest_source(detect.detect_format(path).path)


def publish_copy(written: str, dest: str, source: str, *, hard: bool, on_ready: Callable[[str], None]) -> None:
    """Publishes a written model at a second place, for another source with the same contents.

    Args:
      written: folder of the migrated model.
      dest: folder to write.
      source: model that it stands for there; the record beside the copy bears its name.
      hard: hard links instead of copies.
      on_ready: called with the finished folder before it takes its place.

    Raises:
      OSError: it cannot be copied.
    """
    with staging.prepare_publication(dest) as publication:
        if hard:
            copying.link_model(written, publication.staged)
        else:
            copying.copy_model(written, publication.staged)
        record = provenance.read_record(publication.staged)
        if record is not None:
            record["source"]["name"] = os.path.basename(os.path.abspath(detect.detect_format(source).path))
            provenance.write_record(publication.staged, record)
            _rename_card(os.path.join(publication.staged, card.FILE), os.path.basename(dest), record["source"]["name"])
        on_ready(publication.staged)
        publication.publish(dest)


def _rename_card(path: str, name: str, source: str) -> None:
    if not os.path.isfile(path):
        return
    with open(path, encoding="utf-8") as file:
        text = card.rename_card(file.read(), name, source)
    os.unlink(path)  # it may be a hard link to the other copy's
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
