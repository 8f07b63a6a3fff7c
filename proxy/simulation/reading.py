"""Reading a scenario: file, then every check, then one frozen value or all problems.

Owns the order of these steps and the rules that take more than one value. It must not know what the values
lead to.
"""

from __future__ import annotations

import tomllib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from proxy.config.faults import dotted, faults_of, without
from proxy.config.table import FaultyAttributeError
from proxy.config.units import format_duration
from proxy.errors import ConfigError
from proxy.model import Verb
from proxy.simulation.scenario import Scenario, Service

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from proxy.config.faults import Location, Problem
    from proxy.simulation.scenario import Change, Client, Latency, Mode, Order


def load_scenario(path: str | os.PathLike[str]) -> Scenario:
    """The scenario of a TOML file. Raises ConfigError with every problem, or if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([("", f"cannot be read: {error.strerror}")], source=str(path)) from None
    except UnicodeDecodeError:
        raise ConfigError([("", "is not UTF-8 text")], source=str(path)) from None
    return parse_scenario(text, source=str(path))


def parse_scenario(text: str, *, source: str = "") -> Scenario:
    """The scenario of a TOML text. Raises ConfigError as `load_scenario` does."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise ConfigError([("", f"is no TOML: {error}")], source=source) from None
    try:
        scenario, problems = Scenario.read(document), []
    except ValidationError as error:
        faults = [replace(fault, at=_as_written(document, fault.at)) for fault in faults_of(error, Scenario)]
        problems = [(dotted(fault.at), fault.message) for fault in faults]
        scenario = Scenario.read(without(document, faults))
    problems += [problem for rule in _rules(scenario) for problem in _known(rule)]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)), source=source)
    return scenario


def _as_written(document: Any, at: Location) -> Location:
    """The place of a value in the file, which may hold a table where the model has a list of one."""
    place: list[str | int] = []
    node = document
    for part in at:
        if isinstance(node, dict) and isinstance(part, str):
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part]
        elif isinstance(part, str):
            break
        else:
            continue
        place.append(part)
    return tuple(place)


# ... rules


def _rules(scenario: Scenario) -> Iterator[Iterator[Problem]]:
    with suppress(FaultyAttributeError):
        yield _latencies("v1", scenario.v1)
    with suppress(FaultyAttributeError):
        yield _latencies("v2", scenario.v2)
    with suppress(FaultyAttributeError):
        for index, change in enumerate(scenario.change):
            yield from _of_change(f"change.{index}", change)
    with suppress(FaultyAttributeError):
        yield _shares(scenario)
        for index, client in enumerate(scenario.clients):
            yield _client(f"clients.{index}", client)
            yield _latencies(f"clients.{index}", client)
    with suppress(FaultyAttributeError):
        for index, order in enumerate(scenario.command):
            yield _order(f"command.{index}", order)


def _known(rule: Iterator[Problem]) -> Iterator[Problem]:
    with suppress(FaultyAttributeError):
        yield from rule


def _of_change(at: str, change: Change) -> Iterator[Iterator[Problem]]:
    yield _times(at, change)
    for name in ("v1", "v2", "both"):
        with suppress(FaultyAttributeError):
            yield _latencies(f"{at}.{name}", getattr(change, name) or Service())


def _times(at: str, change: Change) -> Iterator[Problem]:
    if change.traffic is not None and change.rps is not None and change.traffic.rps is not None:
        yield f"{at}.rps", "is also given as traffic.rps"
    if change.until_s is not None and change.for_s is not None:
        yield at, "takes either until or for, not both"
    elif change.lasts_s is not None and change.lasts_s <= 0:
        yield f"{at}.until", f"must be after at, {format_duration(change.at_s)}"
    elif change.every_s is not None and change.lasts_s is None:
        yield f"{at}.every", "needs until or for: else it would never end"
    elif change.every_s is not None and change.every_s < (change.lasts_s or 0.0):
        yield f"{at}.every", f"must be as long as it lasts at least, {format_duration(change.lasts_s or 0.0)}"


def _shares(scenario: Scenario) -> Iterator[Problem]:
    if sum(client.share or 0.0 for client in scenario.clients) > 1:
        yield "clients", "have a share of more than 1 in all"


def _client(at: str, client: Client) -> Iterator[Problem]:
    if (client.rps is None) == (client.share is None):
        yield at, "needs either rps or share"
    if client.key is not None and client.bucket is not None:
        yield at, "takes either key or bucket, not both"
    if client.until_s is not None and client.until_s <= client.at_s:
        yield f"{at}.until", f"must be after at, {format_duration(client.at_s)}"


def _order(at: str, order: Order) -> Iterator[Problem]:
    if order.verb is Verb.SET and order.percentage is None:
        yield f"{at}.percentage", "is required for set"
    elif order.percentage is not None and order.verb not in {Verb.SET, Verb.ROLLBACK}:
        yield f"{at}.percentage", f"is not for {order.verb}"
    if order.full and order.verb is not Verb.PROMOTE:
        yield f"{at}.full", f"is not for {order.verb}"


def _latencies(at: str, service: Service) -> Iterator[Problem]:
    for name in ("latency", "error_latency"):
        with suppress(FaultyAttributeError):
            latency: Latency = getattr(service, name) or ()
            for index, mode in enumerate(latency):
                yield from _mode(
                    f"{at}.{name}.{index}" if len(latency) > 1 else f"{at}.{name}", mode, latency
                )


def _mode(at: str, mode: Mode, latency: Latency) -> Iterator[Problem]:
    if len(mode.upper) > 1:
        yield at, "takes one of p90, p95 and p99"
    elif mode.p50_s is None and (len(latency) > 1 or not mode.upper):
        yield f"{at}.p50", "is required"
    elif mode.p50_s is not None and any(value_s < mode.p50_s for value_s, _ in mode.upper):
        yield at, f"has a median of {format_duration(mode.p50_s)} above its upper quantile"
