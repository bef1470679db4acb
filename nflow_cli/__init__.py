"""nflow: train normalizing flows from the command line, exactly and fast."""

__version__ = "0.1.0"
