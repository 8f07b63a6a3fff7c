"""Reading the configuration: file, then environment, then every check, then one frozen value or all problems.

Owns the order of these steps. It must not know what any key means.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from proxy.config.alert_checks import problems_of_secret_files
from proxy.config.environment import Override, apply_overrides, attributed, restore_text
from proxy.config.faults import NOT_A_CHOICE, NOT_TEXT, Problem, faults_of, without
from proxy.config.logs import problems_of_log_files
from proxy.config.pinning import pin_keys
from proxy.config.plans import attributed as attributed_to_plans
from proxy.config.plans import expand
from proxy.config.rules import problems_of
from proxy.config.schema import Config
from proxy.config.tls_files import problems_of_files
from proxy.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    _Checks = Callable[[Config], list[Problem]]


@dataclass(frozen=True, slots=True)
class _Text:
    """What a configuration is made from. Files of plans count from `folder`; without one none is opened."""

    text: str
    environ: Mapping[str, str]
    source: str
    folder: Path | None = None


def load(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Config:
    """The configuration of a TOML file with the overrides of `environ`.

    The files of plans, certificates and keys that it names are looked into as well.
    Raises ConfigError with every problem that was found, whatever the file holds, or if it cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([("", f"cannot be read: {error.strerror}")], source=str(path)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([("", f"is not UTF-8 text, first in line {line}")], source=str(path)) from None
    except ValueError:
        raise ConfigError([("", "cannot be read: its name holds a NUL")], source=str(path)) from None
    found = _Text(text, environ, str(path), Path(path).absolute().parent)
    return _parsed(
        found,
        lambda config: [
            *problems_of(config),
            *problems_of_files(config),
            *problems_of_log_files(config),
            *problems_of_secret_files(config),
        ],
    )


def parse(text: str, environ: Mapping[str, str], *, source: str = "") -> Config:
    """The configuration of a TOML text with the overrides of `environ`, of which no file is opened. Raises
    ConfigError as `load` does."""
    return _parsed(_Text(text, environ, source), problems_of)


def _parsed(read: _Text, check: _Checks) -> Config:
    document = _read_toml(read.text, read.source)
    overrides, problems = apply_overrides(document, read.environ)
    problems += pin_keys(document, read.environ)
    planned, unread = expand(document, read.folder)
    config, more = _check(document, overrides, check)
    if config is None or problems or unread or more:
        of_plans = attributed_to_plans(more, planned)
        raise ConfigError([*problems, *unread, *of_plans], source=read.source)
    return config


def _read_toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem = _syntax_problem(str(error), text)
    except RecursionError:
        problem = "is not usable: values are nested too deeply"
    except ValueError:
        problem = "is not usable: a number has thousands of digits"
    raise ConfigError([("", problem)], source=source)


def _syntax_problem(message: str, text: str) -> str:
    what, _, place = message.removesuffix(")").rpartition(" (at ")
    if place == "end of document":
        lines = text.split("\n")
        place = f"line {len(lines)}, column {len(lines[-1]) + 1}"
    return f"{place}: {what}"


def _check(
    document: dict[str, Any], overrides: Sequence[Override], check: _Checks
) -> tuple[Config | None, list[Problem]]:
    try:
        config = Config.read(document)
    except ValidationError as error:
        faults = faults_of(error, Config)
    else:
        return config, check(config)
    not_text = {fault.at for fault in faults if fault.kind in (NOT_TEXT, NOT_A_CHOICE)}
    if [one for one in overrides if one.at in not_text and restore_text(document, one)]:
        return _check(document, overrides, check)
    partial = Config.read(without(document, faults))
    problems = [problem for fault in faults for problem in attributed(fault, overrides)]
    return None, [*problems, *check(partial)]
