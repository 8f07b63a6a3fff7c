"""Configuration: read once, checked as a whole, frozen.

`load` is the entry and `schema` holds the tables; `json_schema` and `redacted` are how others get to see it.
Nothing here knows what the values are used for.
"""

from proxy.config.export import json_schema, redacted
from proxy.config.loading import load, parse

__all__ = ["json_schema", "load", "parse", "redacted"]
