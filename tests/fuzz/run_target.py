"""One target under libFuzzer: `python -m tests.fuzz.run_target NAME [libFuzzer's options]`.

A process of its own, because libFuzzer ends the process that it runs in, and because only what is imported
after atheris is told so is looked into. Needs the extra `fuzz`.
"""

from __future__ import annotations

import importlib
import sys


def main() -> None:
    """Runs until libFuzzer has enough."""
    atheris = importlib.import_module("atheris")  # no stubs, and not there without the extra
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["proxy"], enable_loader_override=False):
        target = importlib.import_module("tests.fuzz.targets").TARGETS[name]
    atheris.Setup([sys.argv[0], *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
