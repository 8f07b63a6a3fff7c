"""The checks that take more than one value: what contradicts itself although every key by itself is sound.

Each rule yields (dotted path, message). Rules also run over a configuration of which some values did not
validate: reading such a value raises `FaultyAttributeError`, which silences that rule for that table and no
other, so that these problems and the values' own are reported together. This module must not know where
values came from.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from proxy.config.alert_checks import alerts_agree
from proxy.config.fields import split_host_port, takes_rate
from proxy.config.fleet import fleet_agrees
from proxy.config.plan import SEQUENTIAL
from proxy.config.store import store_agrees
from proxy.config.table import FaultyAttributeError
from proxy.config.texts import socket_path
from proxy.config.tls import tls_agrees
from proxy.config.units import format_duration, shown
from proxy.judgment import Action, Metric, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from proxy.config.faults import Problem
    from proxy.config.schema import Backend, Config, Guard, Phase, Rollout, Route

_Entry = TypeVar("_Entry")

_LONGEST_WINDOW_S = 3600.0
_OWN_ACTORS = frozenset({"config", "controller", "local", "store"})
_RESERVED_FIELDS = frozenset(
    {
        # what frames a message or concerns one connection (RFC 9110 section 7.6.1, RFC 9112 section 6)
        *("host", "content-length", "transfer-encoding", "connection", "expect", "max-forwards", "upgrade"),
        *("keep-alive", "proxy-connection", "te", "trailer", "http2-settings"),
        # who forwarded it
        *("via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"),
        *("x-forwarded-port", "x-forwarded-prefix", "x-forwarded-server", "x-real-ip"),
        "x-forwarded-client-cert",
        # what the proxy itself reads or writes
        *("idempotency-key", "x-request-id", "traceparent", "tracestate"),
        *("x-dualpath-path", "x-dualpath-mirror"),
    }
)
"""Fields that have a meaning of their own on the way through; the override header is taken out there."""


def problems_of(config: Config) -> list[Problem]:
    """Everything that contradicts itself. `config` may lack values that did not validate."""
    return [problem for rule in _all_rules(config) for problem in _known(rule)]


def _all_rules(config: Config) -> Iterator[Iterator[Problem]]:
    yield from (rule(config) for rule in _CONFIG_RULES)
    with suppress(FaultyAttributeError):
        yield _endpoints_differ("backends.v1", config.backends.v1)
    with suppress(FaultyAttributeError):
        yield _endpoints_differ("backends.v2", config.backends.v2)
    with suppress(FaultyAttributeError):
        for index, rollout in enumerate(config.rollouts):
            yield from _rollout_rules(f"rollouts.{index}", rollout)


def _rollout_rules(at: str, rollout: Rollout) -> Iterator[Iterator[Problem]]:
    yield from (rule(at, rollout) for rule in _ROLLOUT_RULES)
    with suppress(FaultyAttributeError):
        yield from _guard_rules(f"{at}.guards", rollout.guards, rollout)
    with suppress(FaultyAttributeError):
        if rollout.steps is not None:  # what the generated phases would say again
            yield from _guard_rules(f"{at}.steps.abort_if", rollout.steps.abort_if, rollout)
            return
    with suppress(FaultyAttributeError):
        for index, phase in enumerate(rollout.phases):
            yield from (rule(f"{at}.phases.{index}", phase, rollout) for rule in _PHASE_RULES)
            with suppress(FaultyAttributeError):
                yield from _guard_rules(f"{at}.phases.{index}.abort_if", phase.abort_if, rollout)


def _guard_rules(at: str, guards: Sequence[Guard], rollout: Rollout) -> Iterator[Iterator[Problem]]:
    for index, guard in enumerate(guards):
        yield from (rule(f"{at}.{index}", guard, rollout) for rule in _GUARD_RULES)


def _known(rule: Iterator[Problem]) -> Iterator[Problem]:
    with suppress(FaultyAttributeError):
        yield from rule


# ... tables that stand once


def _admin_is_guarded(config: Config) -> Iterator[Problem]:
    if not config.admin.tokens and not _is_loopback(config.admin.address):
        yield "admin.tokens", f"needs at least one: {config.admin.address} is not a loopback address"


def _is_loopback(address: str) -> bool:
    if socket_path(address) is not None:  # for its owner alone
        return True
    host, _ = split_host_port(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listeners_differ(config: Config) -> Iterator[Problem]:
    address = config.admin.address
    if address == config.listen.address and split_host_port(address)[1] != 0:
        yield "admin.address", f"{address} is also listen.address"


def _tokens_differ(config: Config) -> Iterator[Problem]:
    for index, first in _twins(config.admin.tokens, lambda token: token.name):
        yield f"admin.tokens.{index}.name", f"is also the name of admin.tokens.{first}"
    for index, first in _twins(config.admin.tokens, lambda token: token.sha256):
        yield f"admin.tokens.{index}.sha256", f"is the same token as admin.tokens.{first}"


def _tokens_are_people(config: Config) -> Iterator[Problem]:
    for index, token in enumerate(config.admin.tokens):
        with suppress(FaultyAttributeError):
            if token.name.casefold() in _OWN_ACTORS:
                yield f"admin.tokens.{index}.name", f'"{token.name}" is what the audit calls the proxy itself'


def _endpoints_differ(at: str, backend: Backend) -> Iterator[Problem]:
    for index, first in _twins(backend.endpoints, lambda endpoint: endpoint):
        yield f"{at}.endpoints.{index}", f"{backend.endpoints[index]} is also {at}.endpoints.{first}"


def _twins(entries: Sequence[_Entry], read: Callable[[_Entry], Hashable]) -> Iterator[tuple[int, int]]:
    """Index of each entry that reads like an earlier one, and that one's. A faulty entry is like no other."""
    first: dict[Hashable, int] = {}
    for index, entry in enumerate(entries):
        with suppress(FaultyAttributeError):
            earlier = first.setdefault(read(entry), index)
            if earlier != index:
                yield index, earlier


# ... rollouts among themselves


def _names_differ(config: Config) -> Iterator[Problem]:
    for index, first in _twins(config.rollouts, lambda rollout: rollout.name):
        yield (
            f"rollouts.{index}.name",
            f'"{config.rollouts[index].name}" is also the name of rollouts.{first}',
        )


def _health_can_fall(config: Config) -> Iterator[Problem]:
    """Without probes only ejection takes endpoints out, and never the only one. A plan may say more than a
    configuration can use."""
    v2 = config.backends.v2
    if v2.health is not None or (len(v2.endpoints) > 1 and v2.ejection.enabled):
        return
    for index, rollout in enumerate(config.rollouts):
        with suppress(FaultyAttributeError):
            for number, guard in enumerate(rollout.guards if rollout.plan is None else ()):
                with suppress(FaultyAttributeError):
                    if guard.metric is Metric.HEALTH and guard.below is not None:
                        yield (
                            f"rollouts.{index}.guards.{number}",
                            "can never fire: nothing takes v2's endpoints out without backends.v2.health",
                        )


def _routes_differ(config: Config) -> Iterator[Problem]:
    """Where two routes have one host and prefix, their methods must tell them apart.

    A route with methods goes before one without, so that these two do not clash.
    """
    taken: dict[tuple[str | None, str], list[tuple[str, str, frozenset[str]]]] = {}
    for at, rollout, route in _routes(config.rollouts):
        with suppress(FaultyAttributeError):
            methods = frozenset(route.methods)
            others = taken.setdefault((route.host, route.prefix), [])
            for other_at, other_rollout, other_methods in others:
                if methods & other_methods or methods == other_methods:
                    yield at, f"{rollout} takes the same requests as {other_rollout} ({other_at})"
                    break
            others.append((at, rollout, methods))


def _routes(rollouts: Sequence[Rollout]) -> Iterator[tuple[str, str, Route]]:
    for index, rollout in enumerate(rollouts):
        called = f"rollout {index}"
        with suppress(FaultyAttributeError):
            called = f'rollout "{rollout.name}"'
        with suppress(FaultyAttributeError):
            for number, route in enumerate(rollout.routes):
                yield f"rollouts.{index}.routes.{number}", called, route


# ... one rollout


def _start_is_a_phase(at: str, rollout: Rollout) -> Iterator[Problem]:
    percentages = [phase.percentage for phase in rollout.phases]
    if percentages and rollout.percentage not in {0, *percentages}:
        known = ", ".join(f"{percentage:g}" for percentage in percentages)
        yield f"{at}.percentage", f"must be 0 or that of a phase ({known}), not {rollout.percentage:g}"


def _autostart_has_phases(at: str, rollout: Rollout) -> Iterator[Problem]:
    if rollout.autostart and not rollout.phases:
        yield f"{at}.autostart", "needs phases: without them there is nothing to start"


def _issued_cookie_is_a_key(at: str, rollout: Rollout) -> Iterator[Problem]:
    if rollout.issue_cookie is not None and f"cookie:{rollout.issue_cookie}" not in rollout.key:
        yield f"{at}.issue_cookie", f'must be one of the cookies in key: "cookie:{rollout.issue_cookie}"'


def _pins_agree(at: str, rollout: Rollout) -> Iterator[Problem]:
    allow, deny = rollout.allow, rollout.deny
    for key in sorted(allow.v1 & allow.v2):
        yield f"{at}.allow", f"{shown(key)} stands in both v1 and v2"
    for key in sorted(deny.v1 & deny.v2):
        yield f"{at}.deny", f"{shown(key)} stands in both v1 and v2: no path is left"
    for path, allowed, denied in (("v1", allow.v1, deny.v1), ("v2", allow.v2, deny.v2)):
        for key in sorted(allowed & denied):
            yield f"{at}.deny.{path}", f"{shown(key)} stands in allow.{path} too"


def _override_is_guarded(at: str, rollout: Rollout) -> Iterator[Problem]:
    override = rollout.override
    if override is not None and not override.networks and override.secret is None:
        yield f"{at}.override", "needs networks or a secret: else anybody could choose the path"


def _override_header_is_free(at: str, rollout: Rollout) -> Iterator[Problem]:
    override = rollout.override
    name = "" if override is None else override.header.lower().replace("_", "-")
    if override is not None and (name in _RESERVED_FIELDS or name.startswith("x-forwarded-")):
        yield f"{at}.override.header", f"must be a field of its own, not {override.header}"


def _phases_rise(at: str, rollout: Rollout) -> Iterator[Problem]:
    last = 0.0
    for index, phase in enumerate(rollout.phases):
        with suppress(FaultyAttributeError):
            if phase.percentage <= last:
                than = f"the {last:g} of the phase before" if last else "0"
                yield f"{at}.phases.{index}.percentage", f"must be above {than}, not {phase.percentage:g}"
            last = phase.percentage


def _phase_names_differ(at: str, rollout: Rollout) -> Iterator[Problem]:
    for index, first in _twins(rollout.phases, lambda phase: phase.name):
        name = rollout.phases[index].name
        yield f"{at}.phases.{index}.name", f'"{name}" is also the name of {at}.phases.{first}'


def _steps_or_phases(at: str, rollout: Rollout) -> Iterator[Problem]:
    steps = rollout.steps
    if steps is not None and rollout.steps_are_sound:
        if steps.by > steps.until:
            yield f"{at}.steps.by", f"must be at most until ({steps.until:g}), not {steps.by:g}"
        if rollout.phases != steps.phases():
            yield f"{at}.steps", "takes the place of phases: leave out one of them"


def _retries_have_phases(at: str, rollout: Rollout) -> Iterator[Problem]:
    if rollout.auto_retry and not rollout.phases:
        yield f"{at}.auto_retry", "needs phases: without them there is nothing to start"


def _freezes_end(at: str, rollout: Rollout) -> Iterator[Problem]:
    for index, freeze in enumerate(rollout.freeze):
        with suppress(FaultyAttributeError):
            if freeze.ends_at <= freeze.begins_at:
                yield f"{at}.freeze.{index}.until", "must be after from"


def _judge_can_step_down(at: str, rollout: Rollout) -> Iterator[Problem]:
    if rollout.judge.action == Action.STEP_DOWN and rollout.judge.step == 0:
        yield f"{at}.judge.step", "must be above 0 for step_down"


# ... one phase


def _phase_can_end(at: str, phase: Phase, rollout: Rollout) -> Iterator[Problem]:
    longest = phase.max_duration_s
    if longest is not None and longest <= phase.min_duration_s:
        least = format_duration(phase.min_duration_s)
        yield f"{at}.max_duration", f"must be longer than min_duration ({least})"


def _baseline_is_known(at: str, phase: Phase, rollout: Rollout) -> Iterator[Problem]:
    require = phase.require
    if require.or_baseline and require.error_rate_below is None:
        yield f"{at}.require.or_baseline", "goes with error_rate_below"
    against_it = require.improvement_above is not None and require.improvement_against == "baseline"
    if against_it and rollout.baseline.latency_mean_s is None:
        yield f"{at}.require.improvement_against", "needs baseline.latency_mean"


# ... one guard


def _guard_has_one_limit(at: str, guard: Guard, rollout: Rollout) -> Iterator[Problem]:
    if guard.above is not None and guard.below is not None:
        yield at, "takes either above or below, not both"
    elif guard.above is None and guard.below is None:
        yield at, "needs a limit: above or below"
    elif guard.metric is Metric.HEALTH and guard.above is not None:
        yield f"{at}.above", "must be below for health, which falls when endpoints fail"


def _guard_can_fire(at: str, guard: Guard, rollout: Rollout) -> Iterator[Problem]:
    if guard.above is not None and guard.above >= 1 and takes_rate(guard.metric):
        yield f"{at}.above", f"can never fire: {guard.metric} is never above 1"
    if guard.below is not None and guard.below <= 0:
        yield f"{at}.below", f"can never fire: {guard.metric} is never below 0"


def _guard_window_fits(at: str, guard: Guard, rollout: Rollout) -> Iterator[Problem]:
    if guard.window_s > _LONGEST_WINDOW_S:
        yield f"{at}.window", f"must be at most 1h, not {format_duration(guard.window_s)}"
    if guard.window_s < rollout.judge.tick_s:
        tick = format_duration(rollout.judge.tick_s)
        yield (
            f"{at}.window",
            f"must not be shorter than judge.tick ({tick}), as {format_duration(guard.window_s)} is",
        )


def _guard_can_go_back(at: str, guard: Guard, rollout: Rollout) -> Iterator[Problem]:
    if guard.action == Action.PREVIOUS and not rollout.phases:
        yield f"{at}.action", "previous needs phases to go back to"


def _guard_can_step_down(at: str, guard: Guard, rollout: Rollout) -> Iterator[Problem]:
    if guard.action == Action.STEP_DOWN and guard.step == 0:
        yield f"{at}.step", "must be above 0 for step_down"


def _guard_can_be_sequential(at: str, guard: Guard, rollout: Rollout) -> Iterator[Problem]:
    if guard.mode is not Mode.SEQUENTIAL:
        return
    if guard.metric not in SEQUENTIAL or guard.above is None:
        known = ", ".join(sorted(SEQUENTIAL))
        yield f"{at}.mode", f"must be window: only {known} with above can be sequential"
    elif guard.above == 0:
        yield f"{at}.mode", "must be window: of a limit of 0 there is nothing to test"
    if guard.for_s:
        yield f"{at}.for", "goes with mode window: in sequential mode evidence takes the time it needs"


_CONFIG_RULES = (
    _admin_is_guarded,
    _listeners_differ,
    _tokens_differ,
    _tokens_are_people,
    tls_agrees,
    store_agrees,
    fleet_agrees,
    alerts_agree,
    _health_can_fall,
    _names_differ,
    _routes_differ,
)
_ROLLOUT_RULES = (
    _start_is_a_phase,
    _autostart_has_phases,
    _issued_cookie_is_a_key,
    _pins_agree,
    _override_is_guarded,
    _override_header_is_free,
    _phases_rise,
    _phase_names_differ,
    _steps_or_phases,
    _retries_have_phases,
    _freezes_end,
    _judge_can_step_down,
)
_PHASE_RULES = (_phase_can_end, _baseline_is_known)
_GUARD_RULES = (
    _guard_has_one_limit,
    _guard_can_fire,
    _guard_window_fits,
    _guard_can_go_back,
    _guard_can_step_down,
    _guard_can_be_sequential,
)
