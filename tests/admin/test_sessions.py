from __future__ import annotations

from hashlib import sha256

from proxy.admin import sessions
from proxy.admin.sessions import CSRF_FIELD, IDLE_S, LONGEST_S, Sessions, carries_csrf, cookie_name


def test_a_session_is_found_by_its_cookie_and_by_nothing_else() -> None:
    kept = Sessions()
    value = kept.open("secret", 0.0)
    found = kept.find(value, 1.0)
    assert found is not None
    assert found.token == sha256(b"secret").hexdigest()
    assert kept.find(value[:-1], 1.0) is kept.find("", 1.0) is kept.find(None, 1.0) is None
    assert "secret" not in repr(found)


def test_each_session_has_secrets_of_its_own() -> None:
    kept = Sessions()
    one, two = kept.open("secret", 0.0), kept.open("secret", 0.0)
    first, second = kept.find(one, 0.0), kept.find(two, 0.0)
    assert first is not None
    assert second is not None
    assert one != two
    assert first.csrf != second.csrf


def test_it_ends_when_nobody_asks_anything_and_in_any_case_after_a_day() -> None:
    kept = Sessions()
    idle, busy = kept.open("a", 0.0), kept.open("b", 0.0)
    assert kept.find(busy, IDLE_S - 1.0) is not None
    assert kept.find(idle, IDLE_S + 1.0) is None
    assert kept.find(busy, IDLE_S + 1.0) is not None
    at = IDLE_S + 1.0
    while at < LONGEST_S:
        assert kept.find(busy, at) is not None
        at += IDLE_S / 2
    assert kept.find(busy, LONGEST_S + 1.0) is None
    assert "0" in repr(kept)


def test_a_closed_session_is_gone() -> None:
    kept = Sessions()
    value = kept.open("a", 0.0)
    kept.close(None)
    kept.close(value)
    assert kept.find(value, 0.0) is None


def test_of_too_many_the_one_goes_that_was_silent_longest() -> None:
    kept = Sessions()
    first, second = kept.open("a", 0.0), kept.open("b", 1.0)
    for number in range(sessions._MOST - 2):
        kept.open(f"token-{number}", 2.0)
    assert kept.find(first, 3.0) is not None
    kept.open("one more", 4.0)
    assert kept.find(second, 4.0) is None
    assert kept.find(first, 4.0) is not None


def test_a_change_needs_what_the_page_was_told() -> None:
    kept = Sessions()
    session = kept.find(kept.open("a", 0.0), 0.0)
    assert session is not None
    assert carries_csrf(session, {CSRF_FIELD: session.csrf})
    assert not carries_csrf(session, {CSRF_FIELD: "ü"})
    assert not carries_csrf(session, {})


def test_two_admins_on_one_machine_have_cookies_of_their_own() -> None:
    assert cookie_name("127.0.0.1:9900") == "dualpath-9900"
    assert cookie_name("[::1]:9901") == "dualpath-9901"
    assert cookie_name("admin.example") == cookie_name("[::1]") == "dualpath-admin"
