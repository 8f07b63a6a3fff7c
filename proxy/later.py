"""What is imported when it is needed first: a command does not wait for parts that it does not use.

`dualpath status` would else import the data plane, the simulation and the whole configuration before it asks
its first question. The places stand in the source as text of the form "proxy.module:name", by which
tests/test_layering.py counts them as imports of the module that they stand in. No other module imports by
name.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_AUTHORITIES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL is told to look for what the system believes."""


def later(place: str) -> Any:
    """What stands at "proxy.module:name"."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def import_aiohttp() -> None:
    """Import aiohttp, for all who import it from now on, without the system's authorities.

    It loads every one of them when it is imported, twice: a tenth of the time that a verb takes, and memory
    that a process keeps. They would be for HTTPS that names no context, which nobody here speaks: whoever
    speaks HTTPS names its own (`tls.client_context`, `webhook`). If one did not, it would believe nobody.
    Called before there are threads, because the environment is theirs too.
    """
    with _without_authorities():
        import_module("aiohttp")


@contextmanager
def _without_authorities() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
