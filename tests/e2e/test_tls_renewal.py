"""TLS while certificates change, while workers come and go, and at the end of a process."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
import signal
from typing import TYPE_CHECKING

import psutil

from tests.certificates import Authority, Pair
from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy, start_proxy, toml
from tests.e2e.raw_backend import normal
from tests.e2e.raw_client import Address, Outcome
from tests.e2e.succession import dynasty
from tests.e2e.tls_client import secured, shown, subject_of, trusting
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend


class Site:
    """A certificate in a place where it is renewed, and a configuration that names it."""

    def __init__(self, directory: Path, v1: RawBackend, v2: RawBackend, **listen: object) -> None:
        self.authority = Authority(directory)
        self.pair = Pair(directory / "site.pem", directory / "site.key")
        self.renew("old")
        self.document: Table = config(
            v1.url, v2.url, listen={"tls": {"certificates": [self.pair.table]}, **listen}
        )

    def renew(self, subject: str) -> None:
        """Another certificate in its place, as a tool of that kind would write it."""
        renewed = self.authority.signs(["localhost"], subject=subject)
        for made, place in ((renewed.certificate, self.pair.certificate), (renewed.key, self.pair.key)):
            shutil.copy(made, f"{place}.new")
            os.replace(f"{place}.new", place)

    @property
    def trust(self) -> ssl.SSLContext:
        return trusting(self.authority.file)

    async def subject(self, proxy: ProxyProcess) -> str:
        """Whose certificate a new connection is shown; a request on it is answered."""
        async with secured(proxy.listen, self.trust) as client:
            assert (await client.ask()).status == 200
            return subject_of(shown(client))


async def loaded(proxy: ProxyProcess) -> Table:
    found: Table = (await proxy.get("/api/v1/status"))["config"]
    return found


async def test_every_worker_notices_a_renewed_certificate_and_no_connection_suffers(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    site = Site(tmp_path, v1, v2, workers=2)
    async with running_proxy(site.document, tmp_path) as proxy, secured(proxy.listen, site.trust) as kept:
        assert (await kept.ask()).status == 200
        assert await site.subject(proxy) == "old"
        site.renew("new")

        async def everywhere() -> bool:
            return {await site.subject(proxy) for _ in range(8)} == {"new"}

        await eventually(everywhere)
        assert (await kept.ask()).status == 200
        assert (await loaded(proxy))["error"] is None


async def test_sighup_reads_certificates_again_and_a_bad_one_changes_nothing(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    site = Site(tmp_path, v1, v2)
    async with running_proxy(site.document, tmp_path) as proxy:
        before = (await loaded(proxy))["loaded_at"]
        other = site.authority.signs(["localhost"])
        shutil.copy(other.key, site.pair.key)
        proxy.process.send_signal(signal.SIGHUP)

        async def refused() -> bool:
            return "listen.tls.certificates.0.key" in ((await loaded(proxy))["error"] or "")

        await eventually(refused)
        assert (await loaded(proxy))["loaded_at"] == before
        assert await site.subject(proxy) == "old"
        site.renew("new")
        proxy.process.send_signal(signal.SIGHUP)

        async def renewed() -> bool:
            return await site.subject(proxy) == "new"

        await eventually(renewed)


async def test_tls_begins_and_ends_with_a_reload(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    site = Site(tmp_path, v1, v2)
    plain = copy.deepcopy(site.document)
    del plain["listen"]["tls"]
    async with running_proxy(site.document, tmp_path) as proxy, secured(proxy.listen, site.trust) as kept:
        assert (await kept.ask()).status == 200
        before = (await loaded(proxy))["loaded_at"]
        (tmp_path / "proxy.toml").write_text(toml(plain))
        proxy.process.send_signal(signal.SIGHUP)

        async def read_again() -> bool:
            return bool((await loaded(proxy))["loaded_at"] != before)

        await eventually(read_again)
        assert (await proxy.settled())["state"] == "running"  # over a plain connection
        assert (await kept.ask()).status == 200
        (tmp_path / "proxy.toml").write_text(toml(site.document))
        proxy.process.send_signal(signal.SIGHUP)

        async def encrypted() -> bool:
            try:
                return await site.subject(proxy) == "old"
            except OSError:
                return False

        await eventually(encrypted)


async def test_a_successor_takes_over_with_tls_and_no_request_fails(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    site = Site(tmp_path, v1, v2)
    proxy = await start_proxy(site.document, tmp_path)
    async with dynasty(proxy) as line:
        stop = asyncio.Event()
        asked = 0

        async def keep_asking() -> None:
            nonlocal asked
            while not stop.is_set():
                await site.subject(proxy)
                asked += 1

        asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
        await eventually(lambda: asked > 10)
        await line.succeed()
        seen = asked
        await eventually(lambda: asked > seen + 10)
        stop.set()
        await asyncio.gather(*asking)


async def test_a_drain_serves_who_waits_to_be_accepted_and_ends_sessions_as_it_ends_connections(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    v1.answer = answers.in_turn(answers.held(gate, answers.large(1 << 20)), normal)
    site = Site(tmp_path, v1, v2)
    async with (
        running_proxy(site.document, tmp_path) as proxy,
        secured(proxy.listen, site.trust) as idle,
        secured(proxy.listen, site.trust) as busy,
    ):
        running = asyncio.create_task(busy.ask())
        await eventually(lambda: v1.count() == 1)
        process = psutil.Process(proxy.process.pid)
        process.suspend()
        waiting = [asyncio.create_task(site.subject(proxy)) for _ in range(20)]
        # the kernel makes the connections, and nobody accepts them
        await eventually(lambda: connections_to(proxy.listen) == 2 + len(waiting))
        proxy.terminate()
        process.resume()
        assert await asyncio.gather(*waiting) == ["old"] * 20
        assert await idle.ended() is Outcome.CLOSED
        gate.set()
        answer = await running
        assert (answer.complete, answer.length) == (True, 1 << 20)


def connections_to(address: Address) -> int:
    """How many of ours are made."""
    ours = psutil.Process().net_connections("tcp4")
    return sum(one.raddr == address and one.status == psutil.CONN_ESTABLISHED for one in ours)
