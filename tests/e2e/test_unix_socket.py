"""A listening socket that is a file: made for its owner alone, and taken only from nobody."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from proxy.errors import StartError
from proxy.unix_socket import SocketFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin.sock"


@pytest.fixture
def file(path: Path) -> SocketFile:
    return SocketFile(f"unix:{path}", 16, "admin cannot listen on")


@pytest.fixture
def nobody_masks() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("nobody_masks")
def test_it_is_for_its_owner_alone_whatever_the_mask(file: SocketFile, path: Path) -> None:
    with file.first():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_that_is_listened_to_is_not_taken(file: SocketFile, path: Path) -> None:
    with (
        file.first(),
        pytest.raises(StartError, match=r"admin cannot listen on unix:.*: Address already in use"),
    ):
        file.first()
    assert path.exists()


def test_one_that_was_left_behind_is_taken(file: SocketFile, path: Path) -> None:
    file.first().close()
    assert path.exists()
    with file.first() as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        sock.accept()[0].close()


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_no_socket_stays(file: SocketFile, path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        path.mkdir()
    with pytest.raises(StartError):
        file.first()
    assert os.path.lexists(path)


def test_where_there_is_no_directory_nothing_is_bound(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        SocketFile(f"unix:{tmp_path}/none/a.sock", 16, "admin cannot listen on").first()


def test_inherited_sockets_are_known_by_address_or_by_place(file: SocketFile, path: Path) -> None:
    with file.first() as sock, socket.create_server(("127.0.0.1", 0)) as other:
        assert file.ours((sock,), f"unix:{path}") == [sock]
        assert file.ours((sock,), "127.0.0.1:9900") == []
        assert file.ours((other, sock), None) == [sock]
    assert str(path) in repr(file)
