"""dualpath: a reverse proxy in front of two versions of one service."""

__version__ = "0.1.0"
