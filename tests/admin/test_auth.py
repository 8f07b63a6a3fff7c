from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.auth import AddressBook, Doorkeeper, Identity, authorise
from proxy.admin.problems import RefusedError
from tests.admin.builders import OPERATOR, TOKENS, VIEWER, config

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = "192.0.2.1"


def doorkeeper(limit: int = 3) -> Doorkeeper:
    return Doorkeeper(config(tokens=TOKENS).admin.tokens, limit=limit, window_s=60.0)


def refused(act: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        act()
    return caught.value


# ... tokens ...


def test_without_tokens_everybody_is_the_local_operator() -> None:
    nobody = Doorkeeper(())
    assert nobody.identify([], PEER, 0.0) == Identity("local", operator=True)
    assert nobody.identify(["Bearer whatever"], PEER, 0.0) == Identity("local", operator=True)


def test_a_token_tells_name_and_role() -> None:
    keeper = doorkeeper()
    assert keeper.identify([f"Bearer {VIEWER}"], PEER, 0.0) == Identity("eve", operator=False)
    assert keeper.identify([f"bearer  {OPERATOR} "], PEER, 0.0) == Identity("bob", operator=True)


@pytest.mark.parametrize(
    "authorization",
    [[], ["Bearer"], ["Bearer  "], [f"Basic {OPERATOR}"], [OPERATOR], [f"Bearer {OPERATOR}"] * 2, [""]],
)
def test_what_is_not_one_bearer_token_is_asked_for_one(authorization: list[str]) -> None:
    error = refused(lambda: doorkeeper().identify(authorization, PEER, 0.0))
    assert error.status == 401
    assert error.headers["WWW-Authenticate"] == 'Bearer realm="dualpath"'


def test_an_unknown_token_is_told_apart_and_not_repeated() -> None:
    error = refused(lambda: doorkeeper().identify(["Bearer secret-guess"], PEER, 0.0))
    assert error.status == 401
    assert 'error="invalid_token"' in error.headers["WWW-Authenticate"]
    assert "secret-guess" not in str(error)


@given(st.text(max_size=50))
def test_no_other_text_is_a_token(text: str) -> None:
    if text.strip() not in {VIEWER, OPERATOR}:
        assert refused(lambda: doorkeeper().identify([f"Bearer {text}"], PEER, 0.0)).status == 401


def test_the_digest_itself_is_no_token() -> None:
    assert refused(lambda: doorkeeper().identify([f"Bearer {TOKENS[1]['sha256']}"], PEER, 0.0)).status == 401


def test_a_repr_holds_no_digest() -> None:
    assert all(token["sha256"] not in repr(doorkeeper()) for token in TOKENS)
    assert repr(doorkeeper()) == "<Doorkeeper 2 tokens, <FailureLog 0 peers>>"


# ... roles ...


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_viewer_may_look(method: str) -> None:
    authorise(Identity("eve", operator=False), method)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_viewer_may_not_act(method: str) -> None:
    error = refused(lambda: authorise(Identity("eve", operator=False), method))
    assert error.status == 403
    assert "insufficient_scope" in error.headers["WWW-Authenticate"]


def test_an_operator_may_act() -> None:
    authorise(Identity("bob", operator=True), "POST")


# ... failures ...


def test_a_peer_that_guesses_is_refused_even_with_the_right_token() -> None:
    keeper = doorkeeper(limit=3)
    for guess in range(3):
        assert refused(partial(keeper.identify, [f"Bearer {guess}"], PEER, 0.0)).status == 401
    error = refused(lambda: keeper.identify([f"Bearer {OPERATOR}"], PEER, 15.0))
    assert (error.status, error.headers["Retry-After"]) == (429, "5")


def test_one_more_guess_is_allowed_as_the_bucket_fills() -> None:
    keeper = doorkeeper(limit=3)
    for guess in range(3):
        refused(partial(keeper.identify, [f"Bearer {guess}"], PEER, 0.0))
    for at in (20.0, 40.0):
        assert refused(partial(keeper.identify, [f"Bearer {at}"], PEER, at)).status == 401
        assert refused(partial(keeper.identify, [f"Bearer {OPERATOR}"], PEER, at)).status == 429
    assert keeper.identify([f"Bearer {OPERATOR}"], PEER, 60.0).operator


def test_a_token_that_was_good_before_is_not_locked_out_by_who_guesses_from_the_same_address() -> None:
    keeper = doorkeeper(limit=3)
    keeper.identify([f"Bearer {OPERATOR}"], PEER, 0.0)
    for guess in range(50):
        refused(partial(keeper.identify, [f"Bearer {guess}"], PEER, 1.0))
    assert keeper.identify([f"Bearer {OPERATOR}"], PEER, 1.0).operator
    assert refused(lambda: keeper.identify([f"Bearer {VIEWER}"], PEER, 1.0)).status == 429


def test_a_token_that_was_taken_away_is_not_good_for_having_been() -> None:
    keeper = doorkeeper(limit=3)
    keeper.identify([f"Bearer {OPERATOR}"], PEER, 0.0)
    keeper.follow(config(tokens=TOKENS[:1]).admin.tokens)
    assert refused(lambda: keeper.identify([f"Bearer {OPERATOR}"], PEER, 0.0)).status == 401


def test_all_addresses_of_one_ipv6_network_are_one_peer() -> None:
    keeper = doorkeeper(limit=3)
    for guess in range(3):
        refused(partial(keeper.identify, [f"Bearer {guess}"], f"2001:db8::{guess}", 0.0))
    assert refused(lambda: keeper.identify(["Bearer 4"], "2001:db8::4", 0.0)).status == 429
    assert refused(lambda: keeper.identify(["Bearer 4"], "2001:db8:0:1::4", 0.0)).status == 401


def test_another_peer_is_not_refused_with_it() -> None:
    keeper = doorkeeper(limit=1)
    refused(lambda: keeper.identify(["Bearer x"], PEER, 0.0))
    assert keeper.identify([f"Bearer {OPERATOR}"], "192.0.2.2", 0.0).operator


def test_guessing_is_forgiven_after_the_window() -> None:
    keeper = doorkeeper(limit=1)
    refused(lambda: keeper.identify(["Bearer x"], PEER, 0.0))
    assert refused(lambda: keeper.identify([f"Bearer {OPERATOR}"], PEER, 59.9)).status == 429
    assert keeper.identify([f"Bearer {OPERATOR}"], PEER, 60.0).operator


def test_one_old_token_repeated_does_not_lock_its_neighbour_out() -> None:
    keeper = doorkeeper(limit=3)
    statuses = [refused(lambda: keeper.identify(["Bearer old"], PEER, 0.0)).status for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    assert keeper.identify([f"Bearer {OPERATOR}"], PEER, 0.0).operator


def test_requests_without_a_token_are_limited_too() -> None:
    keeper = doorkeeper(limit=2)
    assert [refused(lambda: keeper.identify([], PEER, 0.0)).status for _ in range(3)] == [401, 401, 429]


# ... addresses ...


def book(**admin: object) -> AddressBook:
    return AddressBook(config(**admin).admin)


LOOPBACK = [
    "localhost",
    "LOCALHOST:9900",
    "127.0.0.1",
    "127.0.0.1:9900",
    "127.8.8.8:1",
    "[::1]:9900",
    "[::1]",
]
STRANGE = [
    "",
    "evil.example",
    "evil.example:9900",
    "192.0.2.1:9900",
    "localhost.evil.example",
    "[::1",
    "a b",
    "[v1.x]",
    "evil.example@localhost",
    "localhost/evil.example",
    "localhost?evil.example",
    "localhost:evil",
    "localhost:99999",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_names_are_ours(host: str) -> None:
    book().check_host(host)


@pytest.mark.parametrize("host", STRANGE)
def test_other_names_are_not(host: str) -> None:
    assert refused(lambda: book().check_host(host)).status == 403


def test_the_bound_address_and_the_configured_hosts_are_ours() -> None:
    ours = book(address="192.0.2.7:9900", tokens=TOKENS, hosts=["Proxy.example.com", "*.internal"])
    for host in ("192.0.2.7:9900", "proxy.example.com", "PROXY.EXAMPLE.COM:443", "a.b.internal"):
        ours.check_host(host)
    for host in ("192.0.2.8", "example.com", "internal", "xinternal", "*.internal.evil"):
        assert refused(partial(ours.check_host, host)).status == 403


@pytest.mark.parametrize("address", ["0.0.0.0:9900", "[::]:9900"])
def test_bound_to_every_address_any_literal_one_is_ours_and_no_name(address: str) -> None:
    everywhere = book(address=address, tokens=TOKENS)
    everywhere.check_host("192.0.2.9:9900")
    everywhere.check_host("[2001:db8::1]:9900")
    assert refused(lambda: everywhere.check_host("evil.example")).status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:9900"},
        {"Origin": "HTTP://127.0.0.1:9900", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_tools_and_our_own_pages_may_act(headers: dict[str, str]) -> None:
    book().check_origin(headers, "127.0.0.1:9900")


@pytest.mark.parametrize(
    ("origin", "host"),
    [("https://proxy.example", "proxy.example:443"), ("http://proxy.example", "proxy.example:80")],
)
def test_the_port_of_the_scheme_may_be_left_out(origin: str, host: str) -> None:
    book().check_origin({"Origin": origin}, host)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:8080"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://127.0.0.1:9900", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_may_not_act(headers: dict[str, str]) -> None:
    assert refused(lambda: book().check_origin(headers, "127.0.0.1:9900")).status == 403


def test_on_a_unix_socket_localhost_is_ours_and_no_other_name() -> None:
    ours = book(address="unix:/run/dualpath/admin.sock")
    ours.check_host("localhost")
    assert refused(lambda: ours.check_host("evil.example")).status == 403


def test_an_address_book_shows_its_names() -> None:
    assert repr(book()) == "<AddressBook ['127.0.0.1', 'localhost']>"
