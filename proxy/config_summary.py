"""What `dualpath check` says of a valid configuration: what would run, in a few lines.

Pure. It names what is most easily got wrong; the whole is what `GET /api/v1/config` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config.store import without_secrets
from proxy.config.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.config.schema import Backend, Config, Fallback, Guard, Rollout, Route


def config_text(source: str, config: Config) -> str:
    """The summary of the configuration that `source` holds."""
    return "\n".join(_lines(source, config))


def _lines(source: str, config: Config) -> Iterator[str]:
    yield f"{source} is valid"
    yield f"listen   {config.listen.address}"
    yield f"admin    {config.admin.address}, {_counted(len(config.admin.tokens), 'token')}"
    yield f"store    {without_secrets(config.store.url)}"
    yield f"v1       {_backend(config.backends.v1)}"
    yield f"v2       {_backend(config.backends.v2)}"
    for rollout in config.rollouts:
        yield ""
        yield from _rollout(rollout)


def _backend(backend: Backend) -> str:
    probe = f", probes {backend.health.path}" if backend.health else ""
    return f"{', '.join(backend.endpoints)}{probe}"


def _rollout(rollout: Rollout) -> Iterator[str]:
    yield f"rollout {rollout.name}, first at {rollout.percentage:g}%"
    yield f"  routes    {', '.join(_route(route) for route in rollout.routes)}"
    yield f"  key       {', '.join(rollout.key)}"
    yield f"  fallback  {_fallback(rollout.fallback)}"
    yield f"  breaker   {'on' if rollout.breaker.enabled else 'off'}"
    phases = ", ".join(f"{phase.name} {phase.percentage:g}%" for phase in rollout.phases)
    yield f"  phases    {phases or 'none, only people raise it'}"
    guards = [_guard(guard) for guard in rollout.guards] or ["none, only people lower it"]
    for label, guard in zip(["guards", *[""] * len(guards)], guards, strict=False):
        yield f"  {label:<8}  {guard}"


def _route(route: Route) -> str:
    methods = f"{'/'.join(route.methods)} " if route.methods else ""
    return f"{methods}{route.host or ''}{route.prefix}"


def _fallback(fallback: Fallback) -> str:
    if not fallback.enabled:
        return "off"
    budget = "" if fallback.budget == 1 else f", at most {fallback.budget:.0%} of requests"
    body = format_size(fallback.max_body_bytes)
    return f"on {', '.join(fallback.on)}; {fallback.methods} methods, bodies up to {body}{budget}"


def _guard(guard: Guard) -> str:
    lasting = f" for {format_duration(guard.for_s)}" if guard.for_s else ""
    read = "by evidence and " if guard.is_sequential else ""
    return f"{guard.name} {read}over {format_duration(guard.window_s)}{lasting}: {guard.action}"


def _counted(count: int, noun: str) -> str:
    if count == 0:
        return f"no {noun}"
    return f"{count} {noun}{'' if count == 1 else 's'}"
