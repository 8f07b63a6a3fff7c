"""Processes of one address find who is in charge of it, and nobody else does."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from proxy.channel import framed
from proxy.rendezvous import GO, Rendezvous, is_ours, path_of, sent_home, supervised
from tests.e2e.waiting import HANG_S, eventually

ADDRESS = ("127.0.0.1", 1)


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The runtime directory of this test alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def open_unix_sockets() -> str:
    """All of this system, as it tells them."""
    return Path("/proc/net/unix").read_text()


def at_once() -> float:
    """No pause between two looks, but for the loop's."""
    return 0.01


async def test_who_is_in_charge_is_found_and_a_clean_end_leaves_nothing() -> None:
    place = Rendezvous(ADDRESS)
    assert not supervised(ADDRESS)
    await place.open()
    assert supervised(ADDRESS)
    assert not supervised(("127.0.0.1", 2))
    assert place.place == str(path_of(ADDRESS))
    await place.close()
    assert not supervised(ADDRESS)
    assert not path_of(ADDRESS).exists()


async def test_an_orphan_is_sent_home_once_others_serve() -> None:
    orphan = asyncio.create_task(sent_home(path_of(ADDRESS), at_once))
    await asyncio.sleep(0.05)  # it looks for somebody meanwhile
    place = Rendezvous(ADDRESS)
    await place.open()
    await asyncio.sleep(0.05)  # it looks on meanwhile; that it stays is the claim
    assert not orphan.done()
    place.release()
    await asyncio.wait_for(orphan, HANG_S)
    await place.close()


async def test_an_orphan_is_told_which_sockets_others_go_on_with() -> None:
    place = Rendezvous(ADDRESS)
    await place.open()
    place.release([7, 8])
    assert await asyncio.wait_for(sent_home(path_of(ADDRESS), at_once), HANG_S) == {7, 8}
    await place.close()


@pytest.mark.parametrize("rest", [b"", b"\x00\x00\x00\x01[", framed({"kept": 7})])
async def test_who_sends_an_orphan_home_and_says_no_more_keeps_what_nobody_knows(rest: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(framed(GO) + rest)
        writer.close()

    server = await asyncio.start_unix_server(say, str(path_of(ADDRESS)))
    assert await asyncio.wait_for(sent_home(path_of(ADDRESS), at_once), HANG_S) is None
    server.close()


async def test_an_orphan_goes_on_looking_when_its_host_leaves() -> None:
    first = Rendezvous(ADDRESS)
    await first.open()
    orphan = asyncio.create_task(sent_home(path_of(ADDRESS), at_once))
    await eventually(lambda: bool(first._guests))
    await first.close()
    assert not orphan.done()
    second = Rendezvous(ADDRESS)
    await second.open()
    second.release()
    await asyncio.wait_for(orphan, HANG_S)
    await second.close()


async def test_an_orphan_that_hears_nonsense_goes_on_looking() -> None:
    told = asyncio.Event()

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff" * 64)
        told.set()
        writer.close()

    server = await asyncio.start_unix_server(babble, str(path_of(ADDRESS)))
    orphan = asyncio.create_task(sent_home(path_of(ADDRESS), at_once))
    await asyncio.wait_for(told.wait(), HANG_S)
    await asyncio.sleep(0.05)  # it looks on meanwhile; that it stays is the claim
    server.close()
    assert not orphan.done()
    place = Rendezvous(ADDRESS)
    await place.open()
    place.release()
    await asyncio.wait_for(orphan, HANG_S)
    await place.close()


async def test_a_successor_takes_the_place_and_keeps_it() -> None:
    older, newer = Rendezvous(ADDRESS), Rendezvous(ADDRESS)
    await older.open()
    await newer.open()
    newer.release()
    await older.close()
    assert supervised(ADDRESS)
    await asyncio.wait_for(sent_home(path_of(ADDRESS), at_once), HANG_S)
    await newer.close()


async def test_the_place_is_taken_again_when_a_successor_comes_to_nothing() -> None:
    older, newer = Rendezvous(ADDRESS), Rendezvous(ADDRESS)
    await older.open()
    await newer.open()
    await newer.close()
    assert not supervised(ADDRESS)
    await eventually(lambda: supervised(ADDRESS))
    await older.close()
    assert not path_of(ADDRESS).exists()


async def test_closed_while_it_is_being_taken_it_keeps_nothing_open(runtime: Path) -> None:
    place = Rendezvous(ADDRESS)
    taking = asyncio.create_task(place.open())
    await asyncio.sleep(0)  # it runs as far as it can
    assert path_of(ADDRESS).exists()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await place.close()
    assert str(runtime) not in open_unix_sockets()


async def test_what_a_killed_process_leaves_is_nobody_and_no_obstacle() -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path_of(ADDRESS)))
    left.close()
    assert path_of(ADDRESS).exists()
    assert not supervised(ADDRESS)
    place = Rendezvous(ADDRESS)
    await place.open()
    assert supervised(ADDRESS)
    await place.close()


async def test_a_directory_that_others_can_enter_is_not_used(
    runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (runtime / "dualpath").mkdir()
    (runtime / "dualpath").chmod(0o755)
    with pytest.raises(PermissionError, match="not a directory of ours alone"):
        path_of(ADDRESS)
    assert not supervised(ADDRESS)
    place = Rendezvous(ADDRESS)
    await place.open()  # nobody needs it to serve
    assert place.place == ""
    assert "will not find us" in caplog.text
    await place.close()


def test_the_directory_is_for_us_alone(runtime: Path) -> None:
    path_of(ADDRESS)
    assert (runtime / "dualpath").stat().st_mode & 0o777 == 0o700


def test_without_a_runtime_directory_it_is_among_the_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert path_of(ADDRESS).parent == tmp_path / f"dualpath-{os.geteuid()}"


def test_another_users_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert is_ours(ours)
        monkeypatch.setattr("os.geteuid", lambda: 4_000_000)
        assert not is_ours(ours)
