"""The distribution's version: read by the build and by `motia --version`."""

__version__ = "0.1.0"
