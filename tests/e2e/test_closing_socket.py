"""A listening socket that hears nobody new lets in who is connected, and sends the rest to its siblings."""

from __future__ import annotations

import socket
import sys

import pytest

from proxy.closing_socket import hear_nobody_new


def listening(port: int = 0) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    sock.settimeout(5.0)
    return sock


@pytest.mark.skipif(sys.platform != "linux", reason="Linux filters what a socket hears")
def test_who_is_connected_is_let_in_and_who_comes_reaches_another_socket() -> None:
    with listening() as closing, socket.create_connection(closing.getsockname()) as early:
        hear_nobody_new(closing)
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(closing.getsockname())
            accepted, _ = closing.accept()
            with accepted:
                early.sendall(b"?")
                assert accepted.recv(1) == b"?"
                closing.setblocking(False)
                with pytest.raises(BlockingIOError):
                    closing.accept()
            with listening(closing.getsockname()[1]) as other:
                closing.close()
                reached, whose = other.accept()  # its system asks again after a second
                reached.close()
            assert whose == late.getsockname()


def test_on_what_cannot_be_filtered_nothing_happens() -> None:
    closed = socket.socket()
    closed.close()
    hear_nobody_new(closed)
