"""Three instances of two workers each on one store, clients of all three, and what both have seen.

Owns starting, killing and starting again, and the judgment on what is written at the end. Every client tells
who it is, asks one instance after the other, and tries no second time: a failure is one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any

from proxy.admin_client import TlsFiles, open_admin
from proxy.verification import verify
from tests.e2e.proxy_process import ProxyProcess, config, ended, start_proxy
from tests.e2e.raw_client import fetch
from tests.e2e.waiting import eventually
from tests.redis_server import RedisServer, free_port, kind_here

if TYPE_CHECKING:
    import signal
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.e2e.proxy_process import Table
    from tests.e2e.raw_backend import RawBackend

NAMES = ("a", "b", "c")
PERCENTAGES = (10, 25, 50)
LEASE_S = 2.0
_CLIENTS = 6
_PAUSE_S = 0.04

PHASES = [
    {"name": f"p{percentage}", "percentage": percentage, "min_duration": "4s", "min_requests": 5}
    for percentage in PERCENTAGES
]


@dataclass
class Clients:
    """What the clients have been answered."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    by_path: dict[bytes, int] = field(default_factory=dict)


class Instances:
    """The fleet of one test module."""

    def __init__(self, backends: tuple[RawBackend, RawBackend], folder: Path) -> None:
        self.store = RedisServer(kind_here(), port=free_port())
        self.folder = folder
        self.proxies: dict[str, ProxyProcess] = {}
        self.listening: dict[str, tuple[str, int]] = {}
        self.clients = Clients()
        self._backends = backends
        self._asking: list[asyncio.Task[None]] = []
        self._leaving = asyncio.Event()

    # ... starting and ending

    async def start(self, **environments: dict[str, str]) -> None:
        """The store first, then all at once; the clients when all are ready."""
        self.store.start()
        await asyncio.gather(*(self.begin(name, **environments.get(name, {})) for name in NAMES))
        await self.one_judge()

    def document(self, name: str) -> Table:
        """The configuration of one instance."""
        v1, v2 = self._backends
        document = config(
            v1.url,
            v2.url,
            listen={"workers": 2},
            store={"url": self.store.url},
            log={"level": "info"},
            rollout={
                "percentage": 0,
                "judge": {"tick": "200ms", "promotion": "criteria"},
                "phases": PHASES,
                "guards": [{"metric": "error_rate", "above": 0.5, "window": "5s", "min_requests": 20}],
            },
        )
        if name in self.listening:  # the same place again
            host, port = self.listening[name]
            document["listen"]["address"] = f"{host}:{port}"
        return {**document, "fleet": {"instance": name, "lease": f"{LEASE_S:g}s"}}

    async def begin(self, name: str, **environment: str) -> ProxyProcess:
        """Start one, in the folder that it had before."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        proxy = await start_proxy(self.document(name), folder, files=0, **environment)
        self.proxies[name], self.listening[name] = proxy, proxy.listen
        return proxy

    async def end(self) -> None:
        """All of them, cleanly, and the store last."""
        await self.leave()
        try:
            for proxy in self.proxies.values():
                await proxy.stop()
        finally:
            for proxy in self.proxies.values():
                await ended(proxy.mark)
            self.store.end()

    # ... clients

    def come(self) -> None:
        """From now on clients ask all instances."""
        self.clients = Clients()
        self._leaving.clear()
        self._asking = [asyncio.create_task(self._ask(number)) for number in range(_CLIENTS)]

    async def leave(self) -> None:
        """No client asks any more."""
        asking, self._asking = self._asking, []
        self._leaving.set()
        await asyncio.gather(*asking)

    async def _ask(self, number: int) -> None:
        for nth in count(number):
            if self._leaving.is_set():
                return
            name = NAMES[nth % len(NAMES)]
            user = b"user-%d" % (nth * 7919 % 4001)
            try:
                answer = await fetch(self.listening[name], "GET", "/", ((b"X-User-Id", user),))
            except (OSError, EOFError, AssertionError) as error:
                self.clients.failed.append(f"{name} at {_now()}: {error!r}")
            else:
                self.clients.answered += 1
                if answer.status != 200 or not answer.complete:
                    told = (
                        f"{answer.status} {answer.outcome} in {answer.elapsed_s:.3f} s: {answer.body[:200]!r}"
                    )
                    self.clients.failed.append(f"{name} at {_now()}: {told}")
                path = answer.body.split()[0] if answer.body else b""
                self.clients.by_path[path] = self.clients.by_path.get(path, 0) + 1
            await asyncio.sleep(_PAUSE_S)

    # ... what each says

    async def fleet(self, name: str) -> Table:
        """The fleet as one instance sees it."""
        found: Table = (await self.proxies[name].get("/api/v1/status"))["fleet"]
        return found

    async def judge(self) -> str:
        """Who judges, by its own word; "" for nobody."""
        for name in self.proxies:
            if (await self.fleet(name))["role"] == "judge":
                return name
        return ""

    async def one_judge(self, *among: str, within_s: float = 15.0) -> float:
        """Until exactly one judges and the others follow; how long that took."""

        async def settled() -> bool:
            roles = [(await self.fleet(name))["role"] for name in among or NAMES]
            return sorted(roles) == sorted(["judge", *["follower"] * (len(roles) - 1)])

        return await eventually(settled, within_s)

    async def percentages(self, *among: str) -> list[float]:
        """What each has in force."""
        return [(await self.proxies[name].status())["percentage"] for name in among or NAMES]

    async def everywhere(self, state: str, percentage: float, *among: str, within_s: float = 10.0) -> float:
        """Until all have that in force; how long that took."""

        async def agreed() -> bool:
            found = [await self.proxies[name].status() for name in among or NAMES]
            return all((one["state"], one["percentage"]) == (state, percentage) for one in found)

        return await eventually(agreed, within_s)

    async def reached(self, percentage: float, *among: str, within_s: float = 25.0) -> None:
        """Until the rollout has come that far everywhere, or further."""

        async def is_there() -> bool:
            return min(await self.percentages(*among)) >= percentage

        await eventually(is_there, within_s)

    async def afresh(self) -> None:
        """The rollout begins anew, in its first phase, and clients ask."""
        await self.one_judge()
        proxy = self.proxies[await self.judge()]
        if (await proxy.status())["percentage"]:
            assert (await proxy.command("rollback")).status == 200
            await self.everywhere("rolled_back", 0)
        assert (await proxy.command("start")).status == 200
        await self.everywhere("running", PERCENTAGES[0])
        self.come()

    async def signal(self, name: str, number: signal.Signals) -> None:
        """To the process that decides, not to its workers."""
        self.proxies[name].process.send_signal(number)

    # ... what has become of it

    async def unharmed(self, check: Callable[[], Awaitable[None]] | None = None) -> None:
        """No client has seen a failure, and the audit is one chain of moves that follow one another, none of
        which goes beyond the plan."""
        await self.leave()
        assert not self.clients.failed, "\n".join(self.clients.failed + self.complaints())
        assert self.clients.answered > 5, self.clients
        if check is not None:
            await check()
        for name in self.proxies:
            await self.sound(self.proxies[name])

    def complaints(self) -> list[str]:
        """What the instances have said lately that is no summary."""
        return [
            f"{name}: {line}"
            for name, proxy in self.proxies.items()
            for line in proxy.log.read_text().splitlines()[-60:]
            if "summary" not in line
        ]

    async def sound(self, proxy: ProxyProcess) -> list[Table]:
        """The audit as one instance has it: verified, without a split decision, never above the plan."""
        async with open_admin(proxy.admin_url, None, TlsFiles()) as admin:
            found = await verify(admin, None)
        assert found.fault is None, found.fault
        events = await self.events(proxy)
        assert found.head.seq <= events[-1]["seq"]  # the judge may have gone on meanwhile
        moves = [event for event in events if event["changes_state"]]
        for before, after in pairwise(moves):
            assert after["before"] == before["after"], (before, after)
            assert after["after"]["revision"] == before["after"]["revision"] + 1
        for move in moves:
            if move["actor"] == "controller" and move["after"]["percentage"] > move["before"]["percentage"]:
                here = PERCENTAGES.index(int(move["before"]["percentage"]))
                assert move["after"]["percentage"] == PERCENTAGES[here + 1], move
        return events

    async def events(self, proxy: ProxyProcess) -> list[Any]:
        """The whole audit."""
        found: list[Any] = []
        while True:
            after = found[-1]["seq"] if found else 0
            page = (await proxy.get(f"/api/v1/events?limit=100&after={after}"))["events"]
            if not page:
                return found
            found += page


def _now() -> str:
    return datetime.now(UTC).time().isoformat("milliseconds")
