"""The resolvers and loaders that a program starts with."""

from __future__ import annotations

from compat.hub import (
    compressed_module_resolver,
    migrated,
    native_module,
    readable,
    registry,
    resolver,
    source_models,
    uncompressed_module_resolver,
)


def _run() -> None:
    """Registers them; what is registered last is asked first."""
    for implementation in (
        resolver.PathResolver(),
        readable.CheckpointResolver(),
        readable.ArchiveResolver(),
        uncompressed_module_resolver.HttpUncompressedFileResolver(),
        compressed_module_resolver.GcsCompressedFileResolver(),
        compressed_module_resolver.HttpCompressedFileResolver(),
    ):
        registry.resolver.add_implementation(implementation)
    registry.loader.add_implementation(native_module.Loader())
    registry.loader.add_implementation(source_models.SourceLoader())
    registry.loader.add_implementation(readable.SavedModelLoader())
    registry.loader.add_implementation(migrated.Loader())
