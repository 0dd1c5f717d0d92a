"""Migrates as `migrate-model` does; for a process that is killed: argv is source, dest, weights."""

import sys

import migrate
from migrate.options import MigrateOptions

if __name__ == "__main__":
    print("started", flush=True)
    migrate.migrate_model(sys.argv[1], sys.argv[2], MigrateOptions(verify="none", weights=sys.argv[3], overwrite=True))
    print("done", flush=True)
