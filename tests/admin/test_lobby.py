from __future__ import annotations

from typing import TYPE_CHECKING, cast

from proxy.admin.lobby import Lobby

if TYPE_CHECKING:
    import asyncio

    from proxy.admin.lobby import Visit


class Cable:
    """A transport that can only be cut."""

    def __init__(self) -> None:
        self.is_cut = False

    def abort(self) -> None:
        self.is_cut = True


def entered(lobby: Lobby, place: str, *, known: bool = False) -> tuple[Visit, Cable]:
    visit, cable = lobby.enter(place), Cable()
    visit.transport = cast("asyncio.Transport", cable)
    if known:
        visit.asks(known=True)
    return visit, cable


def test_everybody_comes_in_and_the_oldest_stranger_goes() -> None:
    lobby = Lobby(most=2, most_from_one_place=2)
    _, known = entered(lobby, "a", known=True)
    _, stranger = entered(lobby, "b")
    entered(lobby, "c")
    assert (known.is_cut, stranger.is_cut, len(lobby)) == (False, True, 2)


def test_among_acquaintances_the_oldest_goes() -> None:
    lobby = Lobby(most=2, most_from_one_place=2)
    cables = [entered(lobby, place, known=True)[1] for place in ("a", "b", "c")]
    assert [cable.is_cut for cable in cables] == [True, False, False]


def test_a_place_with_too_many_loses_one_of_its_own() -> None:
    lobby = Lobby(most=10, most_from_one_place=2)
    _, neighbour = entered(lobby, "b")
    cables = [entered(lobby, "a")[1] for _ in range(3)]
    assert [cable.is_cut for cable in cables] == [True, False, False]
    assert not neighbour.is_cut


def test_who_is_still_in_the_handshake_is_cancelled() -> None:
    class Arriving:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    lobby = Lobby(most=1)
    visit, arriving = lobby.enter("a"), Arriving()
    visit.arriving = cast("asyncio.Task[None]", arriving)
    lobby.enter("b")
    assert arriving.cancelled
    assert len(lobby) == 1


def test_who_does_not_read_the_answer_is_cut_and_who_asks_again_is_not() -> None:
    lobby = Lobby()
    (slow, slow_cable), (busy, busy_cable), (_, fresh_cable) = (entered(lobby, place) for place in "abc")
    slow.answered_at, busy.answered_at = 10.0, 10.0
    busy.asks(known=False)
    lobby.cut_stalled(since=11.0)
    assert [cable.is_cut for cable in (slow_cable, busy_cable, fresh_cable)] == [True, False, False]
    assert repr(lobby) == "<Lobby 2 of 256>"


def test_who_has_left_takes_no_place() -> None:
    lobby = Lobby(most=1)
    visit, cable = entered(lobby, "a")
    visit.leave()
    visit.leave()
    entered(lobby, "b")
    assert not cable.is_cut
    assert repr(visit) == "<Visit from 'a'>"
