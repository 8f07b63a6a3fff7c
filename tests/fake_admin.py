"""The admin API as the command line meets it: answers from a script, and keeps what was asked."""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

import orjson

from proxy.admin.views import events_view, explanation_view, rollout_view, trail_view
from proxy.core.audit import Head, TrailPage
from proxy.model import Explanation, Path
from proxy.session import Outside
from tests.admin.builders import EVENT, REPORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from proxy.admin_client import AdminApi, TlsFiles
    from proxy.config.schema import Config
    from proxy.config.source import ConfigSource
    from proxy.demo.play import DemoOptions
    from proxy.model import Verb

Document = dict[str, Any]

SUMMARY: Document = {
    "enabled": 1,
    "total": 1,
    "stages": {"disabled": 0, "testing": 0, "partial": 1, "full": 0, "complete": 0},
    "v2_share": 30.0,
    "users": {"seen": 1000, "v2": 300},
}


SILENCE: Document = {
    "id": "5f3a",
    "from": "2026-01-01T00:00:00.000Z",
    "until": "2026-01-01T02:00:00.000Z",
    "alerts": ["*"],
    "rollouts": ["*"],
    "actor": "tess",
    "reason": "",
}


class FakeAdmin:
    """Rollouts of these names; commands to those in `failures` raise."""

    def __init__(self, *names: str) -> None:
        self.rollouts = [rollout(name) for name in names or ("default",)]
        self.failures: dict[str, Exception] = {}
        self.commands: list[tuple[str, str, Mapping[str, object]]] = []
        self.asked: list[object] = []
        self.stored = True
        self.dropped: str | None = None
        self.suspended = False
        self.overridden: list[Document] = []
        self.local_only = False
        self.trail = TrailPage((), Head())
        self.waiting = 0
        self.trouble: str | None = None
        self.past: list[Document] = []
        self.recorded: list[Document] = []
        self.configuration: Document = {"rollouts": []}
        self.alerting: Document = {"active": [], "silences": [], "sinks": []}
        self.trials: list[Document] = []
        self.stores: Document = {"writable": True, "waiting": 0, "detail": None}

    async def status(self) -> Document:
        self.asked.append("status")
        return {
            "instance": "proxy-1",
            "version": "1.2.3",
            "uptime_s": 5.0,
            "workers": 1,
            "config": {"loaded_at": "2026-01-01T00:00:00.000Z", "error": None},
            "store": {"waiting": self.waiting, "trouble": self.trouble},
            "summary": SUMMARY,
            "rollouts": self.rollouts,
        }

    async def config(self) -> Document:
        self.asked.append("config")
        return self.configuration

    async def store(self) -> Document:
        self.asked.append("store")
        return self.stores

    async def events(self, *, limit: int, rollout: str | None = None) -> Document:
        self.asked.append(limit if rollout is None else (limit, rollout))
        return through_json(events_view([EVENT], local_only=self.local_only))

    async def events_after(self, after: int, *, limit: int, rollout: str) -> Document:
        self.asked.append(("events_after", after))
        found = [one for one in self.past if one["seq"] > after and one["rollout"] == rollout][:limit]
        return through_json({"events": found, "last": found[-1]["seq"] if found else None})

    async def minutes(self, rollout: str, *, start: str, end: str, limit: int) -> Document:
        self.asked.append(("minutes", start))
        return {"rollout": rollout, "minutes": self.recorded[:limit], "next": None}

    async def records(self, *, after: int, limit: int) -> Document:
        self.asked.append(("records", after, limit))
        page = [record for record in self.trail.records if record.seq > after][:limit]
        return through_json(trail_view(replace(self.trail, records=tuple(page)), local_only=self.local_only))

    async def explain(self, query: Mapping[str, str]) -> Document:
        self.asked.append(dict(query))
        return through_json(
            explanation_view(Explanation("default", Path.V2, "bucket < weight", "alice", 7, 30_000))
        )

    async def command(self, rollout: str, verb: Verb, body: Mapping[str, object]) -> Document:
        self.commands.append((rollout, str(verb), body))
        if rollout in self.failures:
            raise self.failures[rollout]
        named = next((one for one in self.rollouts if one["name"] == rollout), self.rollouts[0])
        return {**named, "stored": self.stored}

    async def bulk(self, verb: Verb, body: Mapping[str, object]) -> Document:
        pattern, rest = str(body["name"]), {key: value for key, value in body.items() if key != "name"}
        return {
            "rollouts": [
                await self._outcome(one["name"], verb, rest)
                for one in self.rollouts
                if fnmatchcase(one["name"], pattern)
            ]
        }

    async def _outcome(self, name: str, verb: Verb, body: Mapping[str, object]) -> Document:
        try:
            return {**await self.command(name, verb, body), "error": None}
        except Exception as error:
            return {"name": name, "error": {"detail": str(error)}}

    async def emergency_stop(self, reason: str) -> Document:
        self.asked.append(("emergency_stop", reason))
        return {
            "stopped": [{**one, "stored": self.stored, "error": None} for one in self.rollouts],
            "stored": self.stored,
            "reason_dropped": self.dropped,
        }

    async def overrides(self, rollout: str) -> Document:
        self.asked.append(("overrides", rollout))
        return {"overrides": [one for one in self.overridden if one["rollout"] == rollout]}

    async def override(self, rollout: str, body: Mapping[str, object]) -> Document:
        self.asked.append(("override", rollout, body))
        return {**override(rollout, **body), "suspended": self.suspended}

    async def take_override_back(self, rollout: str, key: str) -> Document:
        self.asked.append(("take_override_back", rollout, key))
        return override(rollout, key)

    async def alerts(self) -> Document:
        self.asked.append("alerts")
        return self.alerting

    async def test_alerts(self, body: Mapping[str, object]) -> Document:
        self.asked.append(("test_alerts", body))
        return {"sinks": self.trials}

    async def silence(self, body: Mapping[str, object]) -> Document:
        self.asked.append(("silence", body))
        return {**SILENCE, **{key: body[key] for key in ("alerts", "rollouts") if key in body}}

    async def unsilence(self, silence: str, reason: str) -> Document:
        self.asked.append(("unsilence", silence, reason))
        return {**SILENCE, "id": silence}


class FakeOutside:
    """What `Outside` is made of in tests: nothing starts, everything is kept."""

    def __init__(self, *names: str, code: int = 0) -> None:
        self.admin = FakeAdmin(*names)
        self.code = code
        self.failure: Exception | None = None
        self.environ: dict[str, str] = {}
        self.connected: list[tuple[str, str | None]] = []
        self.tls: TlsFiles | None = None
        self.served: list[Config] = []
        self.played: list[DemoOptions] = []
        self.now = 1_767_226_000.0  # 2026-01-01T00:06:40Z

    def build(self) -> Outside:
        """As `main` takes it."""
        return Outside(self._serve, self._demo, self._open, self.environ, lambda: self.now)

    def _serve(self, file: ConfigSource) -> int:
        self.served.append(file.read())
        return self._end()

    def _demo(self, options: DemoOptions) -> int:
        self.played.append(options)
        return self._end()

    def _end(self) -> int:
        if self.failure is not None:
            raise self.failure
        return self.code

    @asynccontextmanager
    async def _open(self, url: str, token: str | None, tls: TlsFiles) -> AsyncIterator[AdminApi]:
        self.connected.append((url, token))
        self.tls = tls
        if self.failure is not None:
            raise self.failure
        yield self.admin


def rollout(name: str) -> Document:
    """A rollout as the API shows it."""
    return {**copy.deepcopy(through_json(rollout_view(REPORT))), "name": name}


def override(rollout: str, key: object = "ada", path: object = "v2", **more: object) -> Document:
    """An override as the API shows it; one that is to end, ends at New Year."""
    return {
        "rollout": rollout,
        "key": key,
        "path": path,
        "expires_at": "2027-01-01T00:00:00.000Z" if "expires_in" in more else None,
        "actor": "tess",
        "at": "2026-01-01T00:00:00.000Z",
        "reason": more.get("reason", ""),
        "stored": True,
        "suspended": more.get("suspended", False),
    }


def through_json(document: object) -> Document:
    return cast("Document", orjson.loads(orjson.dumps(document)))
