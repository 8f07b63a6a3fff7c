"""Another configuration while the process runs: on SIGHUP, and when the file changes.

Owns when the file is read again, what cannot change without a restart, and what is remembered of the last
attempt. It is all or nothing: a reload that names one impossible change is refused as a whole, because the
rules between keys hold for one configuration, not for a mixture of two. Must never know how a part of the
process takes its settings over.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.admin.application import Loaded
from proxy.config.plans import plans_of, stamps_of_plans
from proxy.config.tls_files import stamps
from proxy.errors import ConfigError, DualpathError
from proxy.model import Path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.config.schema import Config
    from proxy.config.source import ConfigSource, Mark
    from proxy.config.tls_files import Stamps

log = logging.getLogger("dualpath")

LOOK_EVERY_S: Final = 1.0

FIXED: Final = (
    ("listen", "address"),
    ("listen", "workers"),
    ("listen", "backlog"),
    ("admin", "address"),
    *(("fleet", key) for key in ("instance", "advertise", "lease_s")),
    *(("store", key) for key in ("url", "prefix", "copy_file", "timeout_s", "tls")),
)
"""Tables and keys that a running process cannot change; a restart can, without downtime."""

_NOTHING: Final = "nothing has changed"


@dataclass(frozen=True, slots=True)
class Note:
    """What the audit is told of a reload."""

    cause: str
    reason: str


class Reloader:
    """Reads `file` again and has `apply` put it in force. `config` is what is in force, `seen` the mark of
    the file from before it was read, and `named` the stamps of those that it names, from before they were:
    what is written while it is read is a change too."""

    def __init__(
        self,
        file: ConfigSource,
        config: Config,
        apply: Callable[[Config], Awaitable[None]],
        *,
        wall: Callable[[], float],
        seen: Mark | None,
        named: Stamps = (),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        note: Callable[[Note], Awaitable[None]],
    ) -> None:
        self.config = config
        self.loaded = Loaded(wall())
        self._file = file
        self._apply = apply
        self._wall = wall
        self._pause = pause
        self._note = note
        self._seen = seen
        self._named = named
        self._plans = stamps_of_plans(config)

    def __repr__(self) -> str:
        return f"<Reloader {self._file!r} {self.loaded}>"

    async def watch(self, changed: Callable[[str], None]) -> None:
        """Call `changed`, with words for the log, when the file, or a plan or a certificate that it names,
        has changed and then stood still for a look: editors write in steps, and half a file may be a valid
        one; a certificate is written before its key or after. Does not return."""
        last, last_named, last_plans = self._seen, self._named, self._plans
        while True:
            await self._pause(LOOK_EVERY_S)
            mark, named, plans = self._file.mark(), stamps(self.config), stamps_of_plans(self.config)
            if mark is not None and mark == last and mark != self._seen:
                self._seen = mark
                changed("the file has changed")
            elif named == last_named and named != self._named:
                self._named = named
                changed("a certificate has changed")
            elif plans == last_plans and plans != self._plans:
                self._plans = plans
                changed("a plan has changed")
            last, last_named, last_plans = mark, named, plans

    async def reload(self, why: str) -> bool:
        """Whether the file's configuration is in force now. If it is not, everything is as it was, and the
        log and `loaded` have the reasons."""
        self._seen = self._file.mark()
        self._plans = stamps_of_plans(self.config)
        log.info("%s: reloading %s", why, self._file.path)
        try:
            config = sharing(self.config, await asyncio.to_thread(self._file.read))
            if fixed := fixed_changes(self.config, config):
                raise ConfigError(
                    [(key, "cannot change while running: a restart (SIGUSR2) takes it over") for key in fixed]
                )
            named = stamps(config)  # before they are read: what is written meanwhile is a change too
            await self._apply(config)
        except DualpathError as error:
            self._refuse(error)
            await self._note(Note("config:refused", f"configuration not reloaded: {self.loaded.error}"))
            return False
        told = changes(self.config, config) + (["certificates"] if named != self._named else [])
        if plans_of(config) != plans_of(self.config):
            self._plans = stamps_of_plans(config)
        self.config, self._named = config, named
        self.loaded = Loaded(self._wall())
        log.info("reloaded: %s", ", ".join(told) or _NOTHING)
        beyond = [name for name in told if not name.startswith("rollouts.")]
        if beyond or not told:  # the controller tells of each rollout whose table has changed
            await self._note(Note("config", f"configuration reloaded: {', '.join(beyond) or _NOTHING}"))
        return True

    def _refuse(self, error: DualpathError) -> None:
        problems = error.problems if isinstance(error, ConfigError) else [("", str(error))]
        lines = [": ".join(part for part in problem if part) for problem in problems]
        for line in lines:
            log.error("not reloaded: %s", line)
        self.loaded = Loaded(self.loaded.at, "; ".join(lines))


def fixed_changes(before: Config, after: Config) -> list[str]:
    """The dotted keys that differ and cannot change while running."""
    return [
        f"{table}.{key}"
        for table, key in FIXED
        if getattr(getattr(before, table), key) != getattr(getattr(after, table), key)
    ]


def sharing(before: Config, after: Config) -> Config:
    """`after`, with the rollouts of `before` that are equal: a list of a million users stays there once."""
    known = {rollout.name: rollout for rollout in before.rollouts}
    kept = tuple(
        known[rollout.name] if known.get(rollout.name) == rollout else rollout for rollout in after.rollouts
    )
    return after.model_copy(update={"rollouts": kept})


def changes(before: Config, after: Config) -> list[str]:
    """The tables that differ, as people name them: "listen", "backends.v2", "rollouts.checkout (new)"."""
    whole = ("listen", "admin", "store", "fleet", "log")
    tables = [name for name in whole if getattr(before, name) != getattr(after, name)]
    tables += [f"backends.{path}" for path in Path if before.backends.of(path) != after.backends.of(path)]
    old = {rollout.name: rollout for rollout in before.rollouts}
    new = {rollout.name: rollout for rollout in after.rollouts}
    changed = [f"rollouts.{name}" for name in new if name in old and new[name] != old[name]]
    added = [f"rollouts.{name} (new)" for name in new if name not in old]
    removed = [f"rollouts.{name} (removed)" for name in old if name not in new]
    return [*tables, *changed, *added, *removed]
