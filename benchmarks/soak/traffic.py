"""Requests of many manners at a steady rate, and what is to be held against the proxy of what came of them.

Owns the mix, the pace, and the verdict whether an error has an excuse: a backend that was failing, or a
worker that was killed while it held the connection. It knows neither processes nor counters of the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.soak.accounts import Sent
from benchmarks.soak.clients import GONE, MALFORMED, Ask, Line, Outcome, malformed, tunnel

if TYPE_CHECKING:
    from random import Random

    from benchmarks.soak.backends import SampleBackend

MIX = {
    "kept": 34,
    "fresh": 8,
    "head": 5,
    "post": 12,
    "put": 6,
    "chunked": 8,
    "large": 4,
    "upload": 2,
    "slow": 4,
    "slow-upload": 2,
    "until-close": 3,
    "pipelined": 5,
    "abort": 4,
    "tunnel": 2,
    "malformed": 1,
}
"""Shares of the manners, in parts of their sum."""
LOST_WITH_WORKER = "lost with a worker"
GRACE_S = 0.3
"""How long a weight may take to every worker."""
_TICK_S = 0.01
_KEPT = 16
_ENOUGH = 20
_HELD_BYTES = 64 << 10
"""`rollouts.fallback.max_body`."""


class Traffic:
    """Everything that is sent, and `problems`, which there should be none of."""

    def __init__(self, port: int, backends: list[SampleBackend], rng: Random, rate: float) -> None:
        self.verdicts: Counter[str] = Counter()
        self.manners: Counter[str] = Counter()
        self.paths: Counter[str] = Counter()
        self.problems: list[str] = []
        self.wrong = self.lost = 0
        self.counted = 0  # requests that the proxy has to have counted
        self.refused = 0  # and those that it has turned away
        self.answered_at: list[float] = []  # of this round
        self.faults: list[tuple[str, float, float]] = []  # which backend was failing, from when to when
        self.restarts: list[tuple[float, float]] = []
        self.without_v2: list[tuple[float, float]] = []
        self.doomed: dict[int, float] = {}  # ports whose connections died with a worker, and when
        self._port = port
        self.backends = backends
        self._rng = rng
        self._rate = rate
        self._number = 0
        self._kept: list[Line] = []
        self._under_way: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return (
            f"<Traffic {self._number} sent, {len(self._under_way)} under way, {len(self.problems)} problems>"
        )

    @property
    def sent(self) -> Sent:
        """What was asked so far, as the proxy has to have counted it."""
        untold = sum(self.verdicts[verdict] for verdict in ("error", "broken off", "aborted"))
        paths = self.paths
        return Sent(self.counted, self.refused, paths["v1-fallback"], untold, paths["v1"], paths["v2"])

    async def run(self, ended: asyncio.Event) -> None:
        """Sends until then, and returns once all is answered and no connection is left."""
        began, sent = time.monotonic(), 0
        self.answered_at.clear()
        while not ended.is_set():
            while sent < (time.monotonic() - began) * self._rate:
                sent += 1
                task = asyncio.create_task(self._one())
                self._under_way.add(task)
                task.add_done_callback(self._ended)
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*self._under_way, return_exceptions=True)
        while self._kept:
            self._kept.pop().end()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._hold_against(f"a client has failed: {error!r}")

    async def _one(self) -> None:
        manner = self._rng.choices(list(MIX), weights=list(MIX.values()))[0]
        self.manners[manner] += 1
        try:
            await self._ask(manner)
        except GONE as error:
            self._hold_against(f"{manner}: no connection: {error}", lost=True)

    async def _ask(self, manner: str) -> None:
        if manner == "malformed":
            await self._malformed()
        elif manner == "pipelined":
            await self._pipelined()
        elif manner == "abort":
            await self._abort()
        elif manner == "tunnel":
            self._judge(await tunnel(self._port, self._next("GET", how="tunnel")))
        elif manner == "slow-upload":
            await self._slow_upload()
        elif manner == "fresh":
            await self._plain(self._next("GET"), fresh=True)
        else:
            await self._plain(self._of(manner))

    def _of(self, manner: str) -> Ask:
        size = self._rng.randrange(2000)
        if manner in {"chunked", "slow", "until-close"}:
            return self._next("GET", size, how=manner)
        if manner == "large":
            return self._next("GET", 100_000 + 100 * size)
        if manner == "upload":
            return self._next("PUT", size, body_size=100_000 + 50 * size)
        if manner == "put":
            return self._next("PUT", size, body_size=size, chunked=True)
        if manner == "post":
            return self._next("POST", size, body_size=size)
        return self._next("HEAD" if manner == "head" else "GET", size)

    def _next(self, method: str, size: int = 100, **more: object) -> Ask:
        self._number += 1
        return Ask(self._number, method, size, **more)  # type: ignore[arg-type]

    # ... manners

    async def _plain(self, ask: Ask, *, fresh: bool = False) -> None:
        line = await self._line(fresh=fresh)
        reused = line.uses > 0
        outcome = await line.ask(ask, *((b"Connection: close",) if fresh else ()))
        await self._finish(line, outcome, reused=reused)

    async def _finish(self, line: Line, outcome: Outcome, *, reused: bool) -> None:
        """Judges it; a request that nobody has taken is sent again, as every client does."""
        if outcome.verdict in {"right", "error"} and line.open and len(self._kept) < _KEPT:
            self._kept.append(line)
        else:
            line.end()
        if outcome.verdict == "unanswered" and reused and self._may_be_sent_again(outcome):
            self.verdicts["sent again"] += 1
            await self._plain(self._next(outcome.ask.method, outcome.ask.size), fresh=True)
            return
        self._judge(outcome)

    def _may_be_sent_again(self, outcome: Outcome) -> bool:
        """Nobody has taken it, and there is a reason why its connection was closed."""
        began, ended = outcome.ask.began, outcome.ended
        if self._met(outcome.ask.number):
            return False
        return self._is_doomed(outcome.port, began, ended) or any(
            since <= ended and began <= until for since, until in self.restarts
        )

    async def _line(self, *, fresh: bool) -> Line:
        while self._kept and not fresh:
            line = self._kept.pop(self._rng.randrange(len(self._kept)))
            if not line.reader.at_eof() and line.reader.exception() is None:
                return line
            line.end()
        return await Line.to(self._port)

    async def _pipelined(self) -> None:
        asks = [self._next("GET", self._rng.randrange(500)) for _ in range(3)]
        line = await Line.to(self._port)
        line.uses = len(asks)
        with contextlib.suppress(*GONE):
            line.writer.write(b"".join(ask.text() for ask in asks))
        for ask in asks:
            if line.open:
                outcome = await line.answer(ask)
                again = ask is not asks[0] and self._may_be_sent_again(outcome)
            else:  # the answer before was the last one, or had no end
                outcome = Outcome(ask, "unanswered", port=line.port)
                again = not self._met(ask.number)
            if outcome.verdict == "unanswered" and again:
                self.verdicts["sent again"] += 1
                await self._plain(self._next("GET", ask.size), fresh=True)
            else:
                self._judge(outcome)
        line.end()

    async def _abort(self) -> None:
        ask = self._next("GET", 3000, how="slow")
        arrivals = [asyncio.ensure_future(one.arrival(ask.number).wait()) for one in self.backends]
        line = await Line.to(self._port)
        line.writer.write(ask.text())
        try:
            arrived, _ = await asyncio.wait(arrivals, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in arrivals:
                waiting.cancel()
            for one in self.backends:
                one.forget(ask.number)
        if not arrived:
            self._judge(await line.answer(ask))
            line.end()
            return
        await asyncio.sleep(self._rng.random() * 0.05)
        line.reset()
        self._settle("aborted", time.monotonic())

    async def _slow_upload(self) -> None:
        ask = self._next("PUT", 50, body_size=3000)
        line = await Line.to(self._port)
        text = ask.text()
        with contextlib.suppress(*GONE):
            for at in range(0, len(text), 700):
                line.writer.write(text[at : at + 700])
                await asyncio.sleep(0.03)
        await self._finish(line, await line.answer(ask), reused=False)

    async def _malformed(self) -> None:
        began = time.monotonic()
        status, port = await malformed(self._port, self._rng.choice(MALFORMED))
        if status in {400, 405, 501, 505}:
            self.refused += 1
            self.verdicts["refused"] += 1
        elif not self._is_doomed(port, began, time.monotonic()):
            self._hold_against(
                f"malformed: answered {status}, after {time.monotonic() - began:.1f} s", wrong=True
            )

    # ... verdicts

    def _judge(self, outcome: Outcome) -> None:
        ask, verdict = outcome.ask, outcome.verdict
        if verdict == "wrong":
            self._hold_against(f"{ask}: {outcome.detail}", wrong=True)
        elif verdict == "error" and not self._is_excused(outcome):
            self._hold_against(f"{ask}: {outcome.status} without a cause: {outcome.detail}", lost=True)
        elif verdict in {"lost", "unanswered"}:
            if self._is_doomed(outcome.port, ask.began, outcome.ended):
                self.verdicts[LOST_WITH_WORKER] += 1
                return
            if not any(ask.number in one.broken for one in self.backends):
                self._hold_against(f"{ask}: {verdict}: {outcome.detail}", lost=True)
            verdict = "broken off"
        if self._met(ask.number) > 1 and not self._may_be_repeated(outcome):
            self._hold_against(f"{ask}: carried out {self._met(ask.number)} times", wrong=True)
        if outcome.path == "v2" and self._is_barred(ask.began, outcome.ended):
            self._hold_against(f"{ask}: answered by v2, which is to get nothing", wrong=True)
        self.paths[outcome.path or "(own)"] += 1
        self._settle(verdict, outcome.ended)

    def _settle(self, verdict: str, ended: float) -> None:
        self.verdicts[verdict] += 1
        self.counted += 1
        self.answered_at.append(ended)

    def _is_excused(self, outcome: Outcome) -> bool:
        """Whether a backend was failing meanwhile, or has failed this very request. v2 alone is no excuse
        where v1 is to stand in for it."""
        ask = outcome.ask
        to_blame = {"v1"} if _has_fallback(ask) else {"v1", "v2"}
        return any(
            version in to_blame and since <= outcome.ended and ask.began <= until
            for version, since, until in self.faults
        ) or any(one.version in to_blame and ask.number in one.struck for one in self.backends)

    def _may_be_repeated(self, outcome: Outcome) -> bool:
        """Whether more than one backend may have been asked: what is idempotent, where one has failed."""
        ask = outcome.ask
        failed = outcome.verdict != "right" or outcome.path == "v1-fallback"
        return ask.method != "POST" and (failed or any(ask.number in one.struck for one in self.backends))

    def _is_doomed(self, port: int, began: float, ended: float) -> bool:
        killed = self.doomed.get(port)
        return killed is not None and began <= killed + GRACE_S and ended >= killed - GRACE_S

    def _is_barred(self, began: float, ended: float) -> bool:
        return any(since + GRACE_S < began and ended < until for since, until in self.without_v2)

    def _met(self, number: int) -> int:
        return sum(one.met[number] for one in self.backends)

    def _hold_against(self, what: str, *, wrong: bool = False, lost: bool = False) -> None:
        self.wrong += wrong
        self.lost += lost
        if len(self.problems) < _ENOUGH:
            self.problems.append(what)


def _has_fallback(ask: Ask) -> bool:
    """Whether v1 answers where v2 fails: what may be repeated, and is kept whole until v2 has answered."""
    return ask.method != "POST" and ask.body_size <= _HELD_BYTES
