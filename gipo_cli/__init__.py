"""gipo: how stale may your data be, and which policy objective survives it."""

__version__ = "0.1.0"
