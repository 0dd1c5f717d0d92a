"""Whole model zoos: discovery, isolation, resume, records. Loads no TensorFlow."""

from migrate.zoo.discovery import Entry, discover_models
from migrate.zoo.manifest import parse_manifest
from migrate.zoo.preview import ZooPlan, plan_zoo
from migrate.zoo.run import ZooReport, migrate_zoo
from migrate.zoo.stopping import Stop

__all__ = ["Entry", "Stop", "ZooPlan", "ZooReport", "discover_models", "migrate_zoo", "parse_manifest", "plan_zoo"]
