"""The process around the proxy: what it does when it is in vain to go on, and when nobody reads its line."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Self

import pytest

from proxy import serving
from proxy.config.source import ConfigSource
from proxy.errors import StartError
from proxy.listening import Inherited
from tests.controlplane.rig import config


class FakeProxy:
    """A proxy whose traffic fails as soon as it has started, with a transcript."""

    listen_address = admin_address = ("127.0.0.1", 1)

    def __init__(self, heard: list[str]) -> None:
        self.heard = heard

    @property
    def traffic(self) -> Self:
        return self

    async def start(self, came: Inherited) -> None:
        self.heard.append("start")

    def dismiss_predecessor(self) -> None:
        self.heard.append("dismiss")

    async def failed(self) -> None:
        raise StartError("worker 1 does not stay up")

    async def drain(self) -> None:
        await asyncio.sleep(0)
        self.heard.append("drain")

    async def stop(self) -> None:
        self.heard.append("stop")


async def test_when_it_is_in_vain_to_go_on_what_runs_is_finished_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(serving, "Proxy", lambda config, writers: FakeProxy(heard))
    monkeypatch.setattr("gc.freeze", lambda: None)
    process = serving._Serving(ConfigSource("nowhere", {}), config(), None)
    with pytest.raises(StartError, match="does not stay up"):
        await process.until_its_end(Inherited())
    assert heard == ["start", "dismiss", "drain", "stop"]


def test_a_ready_line_that_nobody_reads_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        serving._print("ready\n")
    serving._print("ready\n")  # closed
    monkeypatch.setattr(sys, "stdout", None)
    serving._print("ready\n")
