"""A listening socket that hears nobody new lets in who is connected, and sends the rest to its siblings."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from proxy.closing_socket import hear_nobody_new, numbers_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux filters what a socket hears")

LARGE = bytes(1 << 20)


def listening(address: tuple[str, int] = ("127.0.0.1", 0), *, both: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    if ":" in address[0]:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(address)
    sock.listen()
    sock.settimeout(5.0)
    return sock


@pytest.mark.parametrize(
    ("address", "asked"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")]
)
def test_who_is_connected_is_let_in_and_who_comes_is_not_heard(address: str, asked: str) -> None:
    with listening((address, 0), both=address == "::") as closing:
        target = (asked, closing.getsockname()[1])
        with socket.create_connection(target) as early:
            hear_nobody_new([closing], ())
            with socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET) as late:
                late.setblocking(False)
                late.connect_ex(target)
                accepted, _ = closing.accept()
                with accepted:
                    early.settimeout(5.0)
                    accepted.setblocking(False)
                    received = sent = 0
                    while received < len(LARGE):  # in pieces as large as they come
                        if sent < len(LARGE):
                            sent += early.send(LARGE[sent:])
                        received += len(accepted.recv(len(LARGE)))
                    closing.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        closing.accept()


def test_who_was_not_heard_reaches_another_socket() -> None:
    with listening() as closing, socket.socket() as late:
        hear_nobody_new([closing], ())
        late.setblocking(False)
        late.connect_ex(closing.getsockname())
        with listening(closing.getsockname()) as other:
            closing.close()
            reached, whose = other.accept()  # its system asks again after a second
            reached.close()
        assert whose == late.getsockname()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_socket_that_others_go_on_with_hears_as_before(is_known: bool) -> None:
    with listening() as ours:
        theirs = socket.socket(fileno=os.dup(ours.fileno()))
        with theirs:
            hear_nobody_new([ours], numbers_of([theirs]) if is_known else None)
            ours.close()
            theirs.settimeout(0.5)
            with socket.create_connection(theirs.getsockname(), 0.5):
                theirs.accept()[0].close()


def test_on_what_cannot_be_filtered_nothing_happens() -> None:
    with listening() as open_:
        closed = socket.socket()
        closed.close()
        hear_nobody_new([closed, open_], ())
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(open_.getsockname())
            open_.setblocking(False)
            with pytest.raises(BlockingIOError):
                open_.accept()
