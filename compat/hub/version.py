"""The release of tensorflow_hub whose behaviour is kept."""

__version__ = "0.15.0"
