"""Sockets that are bound for us alone, joined, inherited and handed on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.schema import Config
from proxy.errors import StartError
from proxy.listening import INHERITED, Inherited, Listeners, inherited, listeners
from proxy.systemd import notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANY = "127.0.0.1:0"


@pytest.fixture
def opened() -> Iterator[list[Listeners]]:
    """Whatever is put in is closed."""
    found: list[Listeners] = []
    yield found
    for one in found:
        one.close()


def settings(listen: str = ANY, admin: str = ANY) -> Config:
    backends = {path: {"endpoints": ["http://127.0.0.1:9"]} for path in ("v1", "v2")}
    return Config.read({"listen": {"address": listen}, "admin": {"address": admin}, "backends": backends})


def bound(
    listen: str = ANY, count: int = 1, *, came: Inherited | None = None, orphaned: bool = False
) -> Listeners:
    return listeners(settings(listen), count, came or Inherited(), lambda address: orphaned)


def address_of(found: Listeners) -> str:
    return "{}:{}".format(*found.serving[0].getsockname())


@pytest.mark.parametrize("count", [1, 3])
def test_an_address_is_ours_alone(opened: list[Listeners], count: int) -> None:
    opened.append(bound(count=count))
    address = address_of(opened[0])
    assert {sock.getsockname() for sock in opened[0].serving} == {opened[0].serving[0].getsockname()}
    for other in (1, 3):
        with pytest.raises(StartError, match=f"cannot listen on {address}: Address already in use"):
            bound(address, other)


def test_what_connects_waits_for_whoever_accepts(opened: list[Listeners]) -> None:
    opened.append(bound(count=2))
    with (
        socket.create_connection(opened[0].serving[0].getsockname()),
        socket.create_connection(opened[0].administering[0].getsockname()),
    ):
        pass


def test_only_the_first_of_a_group_listens_before_its_worker_does(opened: list[Listeners]) -> None:
    opened.append(bound(count=3))
    listening = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in opened[0].serving]
    assert listening == [1, 0, 0]


def test_workers_that_a_killed_process_has_left_are_joined_and_nobody_else_is(
    opened: list[Listeners],
) -> None:
    opened.append(bound(count=2))
    address = address_of(opened[0])
    with pytest.raises(StartError):
        bound(address, orphaned=False)
    opened.append(bound(address, orphaned=True))
    assert address_of(opened[1]) == address


def test_a_lone_process_is_not_joined_even_if_it_looks_orphaned(opened: list[Listeners]) -> None:
    opened.append(bound())
    with pytest.raises(StartError):
        bound(address_of(opened[0]), orphaned=True)


def test_nothing_is_left_open_where_a_part_fails(opened: list[Listeners]) -> None:
    opened.append(bound())
    taken = address_of(opened[0])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = "{}:{}".format(*probe.getsockname())
    with pytest.raises(StartError, match=f"admin cannot listen on {taken}"):
        listeners(settings(free, taken), 1, Inherited(), lambda address: False)
    opened.append(bound(free))


def test_an_address_that_means_nothing_is_told() -> None:
    with pytest.raises(StartError, match=r"cannot listen on nowhere\.invalid:80"):
        bound("nowhere.invalid:80")


# ... passed on


def passed_on(found: Listeners, parent: int = 42) -> tuple[dict[str, str], socket.socket]:
    """The environment that a child of `parent` gets, with copies of the sockets, and our end of the line."""
    ours, theirs = socket.socketpair()
    environ = dict(found.told(theirs, parent))
    document = json.loads(environ[INHERITED])
    for name in ("serving", "administering"):
        document[name] = [os.dup(fd) for fd in document[name]]
    document["link"] = theirs.detach()
    return {INHERITED: json.dumps(document), "HOME": "/"}, ours


def test_a_successor_has_the_same_sockets(opened: list[Listeners]) -> None:
    opened.append(bound(count=2))
    environ, ours = passed_on(opened[0])
    came = inherited(environ, pid=1, parent=42)
    assert environ == {"HOME": "/"}
    assert came.link is not None
    with ours, came.link:
        opened.append(bound(count=2, came=came))
    assert [s.getsockname() for s in opened[1].serving] == [s.getsockname() for s in opened[0].serving]
    assert [s.getsockname() for s in opened[1].administering] == [
        s.getsockname() for s in opened[0].administering
    ]
    opened[0].close()
    with socket.create_connection(opened[1].serving[0].getsockname()):
        assert not os.get_inheritable(opened[1].serving[0].fileno())


def test_more_workers_than_before_join_the_inherited_socket(opened: list[Listeners]) -> None:
    opened.append(bound())
    environ, ours = passed_on(opened[0])
    came = inherited(environ, pid=1, parent=42)
    assert came.link is not None
    with ours, came.link:
        opened.append(bound(count=3, came=came))
    assert len({sock.getsockname() for sock in opened[1].serving}) == 1
    assert len(opened[1].serving) == 3


def test_another_address_is_bound_anew_and_the_old_one_is_let_go(opened: list[Listeners]) -> None:
    opened.append(bound())
    old = opened[0].serving[0].getsockname()
    environ, ours = passed_on(opened[0])
    came = inherited(environ, pid=1, parent=42)
    assert came.link is not None
    with ours, came.link:
        opened.append(bound("localhost:0", came=came))
    opened[0].close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(old)


def test_a_parent_that_has_died_meanwhile_is_known_by_the_line(opened: list[Listeners]) -> None:
    opened.append(bound())
    environ, ours = passed_on(opened[0], parent=os.getpid())
    came = inherited(environ, pid=1, parent=1)
    assert came.link is not None
    with ours, came.link:
        opened.append(bound(came=came))
    assert opened[1].serving == list(came.serving)


def test_workers_on_an_address_that_is_taken_are_named(opened: list[Listeners]) -> None:
    opened.append(bound())
    address = address_of(opened[0])
    worker = [sys.executable, "-c", "input()", f"serves {address}"]
    with subprocess.Popen(worker, stdin=subprocess.PIPE) as process:
        with pytest.raises(StartError, match=rf"Address already in use; .*processes {process.pid}\)"):
            bound(address)
        process.kill()


def test_what_was_meant_for_another_process_is_ignored(opened: list[Listeners]) -> None:
    opened.append(bound())
    environ, ours = passed_on(opened[0])
    document: dict[str, Any] = json.loads(environ[INHERITED])
    with ours:
        assert inherited(environ, pid=1, parent=43) == Inherited()
    for fd in (*document["serving"], *document["administering"], document["link"]):
        os.close(fd)
    assert INHERITED not in environ


@pytest.mark.parametrize("told", ["x", "[]", "{}", '{"parent": 42}', '{"parent": 42, "serving": ["a"]}'])
def test_nonsense_is_told_in_one_line(told: str) -> None:
    with pytest.raises(StartError, match=INHERITED):
        inherited({INHERITED: told}, pid=1, parent=42)


def test_systemd_passes_sockets_that_are_known_by_where_they_are_bound(
    opened: list[Listeners], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.append(bound())
    first = os.dup(opened[0].serving[0].fileno())
    monkeypatch.setattr("proxy.listening._SYSTEMD_FIRST", first)
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x"}
    came = inherited(environ, pid=7, parent=1)
    assert environ == {}
    opened.append(bound(address_of(opened[0]), came=came))
    assert opened[1].serving == list(came.serving)
    assert inherited({"LISTEN_PID": "8", "LISTEN_FDS": "1"}, pid=7, parent=1) == Inherited()


# ... systemd is told


def test_systemd_is_told_where_it_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notify("READY=1", {})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind(str(tmp_path / "s"))
        notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "s")})
        assert asking.recv(100) == b"READY=1"
        asking.setblocking(False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind(f"\0dualpath-{os.getpid()}")
        notify("MAINPID=5", {"NOTIFY_SOCKET": f"@dualpath-{os.getpid()}"})
        assert asking.recv(100) == b"MAINPID=5"
    assert caplog.messages == []
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "s")})
    assert "cannot be told" in caplog.text
