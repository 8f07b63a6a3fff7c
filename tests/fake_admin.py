"""The admin API as the command line meets it: answers from a script, and keeps what was asked."""

from __future__ import annotations

import copy
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import orjson

from proxy.admin.views import event_view, explanation_view, rollout_view
from proxy.model import Explanation, Path
from proxy.session import Outside
from tests.admin.builders import EVENT, REPORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from proxy.admin_client import AdminApi, TlsFiles
    from proxy.config.schema import Config
    from proxy.demo.play import DemoOptions
    from proxy.model import Verb
    from proxy.reload import ConfigSource

Document = dict[str, Any]


class FakeAdmin:
    """Rollouts of these names; commands to those in `failures` raise."""

    def __init__(self, *names: str) -> None:
        self.rollouts = [rollout(name) for name in names or ("default",)]
        self.failures: dict[str, Exception] = {}
        self.commands: list[tuple[str, str, Mapping[str, object]]] = []
        self.asked: list[object] = []
        self.stored = True

    async def status(self) -> Document:
        self.asked.append("status")
        return {
            "instance": "proxy-1",
            "version": "1.2.3",
            "uptime_s": 5.0,
            "workers": 1,
            "store": {"waiting": 0},
            "rollouts": self.rollouts,
        }

    async def events(self, *, limit: int) -> Document:
        self.asked.append(limit)
        return through_json({"events": [event_view(EVENT)], "last": EVENT.seq})

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

    def build(self) -> Outside:
        """As `main` takes it."""
        return Outside(self._serve, self._demo, self._open, self.environ)

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


def through_json(document: object) -> Document:
    return cast("Document", orjson.loads(orjson.dumps(document)))
