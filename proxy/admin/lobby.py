"""Who is connected to the admin, and who has to go when there are too many.

Owns the bounds on connections, in all and from one place. Everybody is let in: an operator who comes while
somebody holds all places must not have to wait for one. Instead the one goes that is the least loss: who has
not said who it is, and of those who came first. It must never know what a connection asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

MOST = 256
MOST_FROM_ONE_PLACE = 32


class Visit:
    """One connection, from the moment when it is accepted.

    `known` is whether it has authenticated. `answered_at` is when the answer to its last request began, in
    seconds of the loop's clock, else 0. `transport` is there once the handshake is over, `arriving` until
    then.
    """

    __slots__ = ("_lobby", "answered_at", "arriving", "known", "place", "transport")

    def __init__(self, place: str, lobby: Lobby) -> None:
        self.place = place
        self.known = False
        self.answered_at = 0.0
        self.arriving: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None
        self._lobby = lobby

    def __repr__(self) -> str:
        return f"<Visit from {self.place!r}{' known' if self.known else ''}>"

    def asks(self, *, known: bool) -> None:
        """It has sent a request, and by now told who it is, or not."""
        self.known = self.known or known
        self.answered_at = 0.0

    def cut(self) -> None:
        """End it now."""
        self.leave()
        if self.transport is not None:
            self.transport.abort()
        elif self.arriving is not None:
            self.arriving.cancel()

    def leave(self) -> None:
        """It has ended."""
        self._lobby.forget(self)


class Lobby:
    """All connections, at most `most` and `most_from_one_place`."""

    def __init__(self, most: int = MOST, most_from_one_place: int = MOST_FROM_ONE_PLACE) -> None:
        self._most = most
        self._most_from_one_place = most_from_one_place
        self._visits: dict[Visit, None] = {}

    def __repr__(self) -> str:
        return f"<Lobby {len(self._visits)} of {self._most}>"

    def __len__(self) -> int:
        return len(self._visits)

    def enter(self, place: str) -> Visit:
        """One more, from `place`; somebody else is cut if that is too many."""
        neighbours = [visit for visit in self._visits if visit.place == place]
        if len(neighbours) >= self._most_from_one_place:
            _least(neighbours).cut()
        elif len(self._visits) >= self._most:
            _least(list(self._visits)).cut()
        visit = Visit(place, self)
        self._visits[visit] = None
        return visit

    def forget(self, visit: Visit) -> None:
        """It has ended."""
        self._visits.pop(visit, None)

    def cut_stalled(self, since: float) -> None:
        """End those whose last answer began before `since`: nobody reads it, or nobody asks anything more."""
        for visit in list(self._visits):
            if 0 < visit.answered_at < since:
                visit.cut()

    def cut_all(self) -> None:
        """End everybody."""
        for visit in list(self._visits):
            visit.cut()


def _least(visits: list[Visit]) -> Visit:
    return next((visit for visit in visits if not visit.known), visits[0])
