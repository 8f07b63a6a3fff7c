"""The command line: runs one command, and turns what goes wrong into lines and an exit code.

Every error is plain lines on standard error: 0 done, 1 failed, 2 usage or invalid configuration. `serve` as
service files and containers call it is recognised here: a process that is to run for months need not hold
what reads and explains arguments. So is `emergency-stop`, which must not wait for that. All else, and
whatever is wrong with them, is up to `commands`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from proxy.errors import ConfigError, DualpathError
from proxy.later import later
from proxy.session import DEFAULT_CONFIG, FAILED, INTERRUPTED, OK, USAGE, Outside, complain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.stopping import JsonDocument, Stop


def main(argv: Sequence[str] | None = None, *, outside: Outside | None = None) -> int:
    """Run one command and return its exit code; what went wrong has been said on standard error by then."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments, outside or Outside(stop=_stop))
    except ConfigError as error:
        for path, message in error.problems:
            complain(": ".join(part for part in (error.source or "error", path, message) if part))
        return USAGE
    except (DualpathError, OSError) as error:
        complain(f"error: {error}")
        return FAILED


def _run(arguments: Sequence[str], outside: Outside) -> int:
    file = plainly_served(arguments, os.environ)
    if file is not None:
        return outside.serve(later("proxy.config.source:ConfigSource")(file, outside.environ))
    if outside.stop is not None and "emergency-stop" in arguments:
        stop = later("proxy.stopping:plainly_stopped")(arguments, outside.environ)
        try:
            if stop is not None and (document := outside.stop(stop)) is not None:
                later("proxy.stopping:tell")(document)
                return OK
        except KeyboardInterrupt:
            return INTERRUPTED
    code: int = later("proxy.commands:run")(arguments, outside)
    return code


def _stop(stop: Stop) -> JsonDocument | None:
    document: JsonDocument | None = later("proxy.stopping:ask")(stop)
    return document


def plainly_served(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The configuration that `serve` is to run by, if these arguments say just that; else None."""
    match arguments:
        case ["serve"]:
            return environ.get("DUALPATH_CONFIG") or DEFAULT_CONFIG
        case ["serve", file] | ["serve", "-c" | "--config", file] if file and not file.startswith("-"):
            return file
    return None
