"""Who is believed that names its own path."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.core.override import in_networks, plain, sign, verify
from proxy.model import Path

SECRET = "sixteen letters!"
NOW = 1_700_000_000
VALUE = sign(SECRET, "default", Path.V2, NOW).encode()


@given(
    secret=st.text(min_size=16, max_size=40),
    path=st.sampled_from(Path),
    expires=st.integers(1, 10**12 - 1),
)
def test_what_is_signed_is_believed_until_it_expires(secret: str, path: Path, expires: int) -> None:
    value = sign(secret, "default", path, expires).encode()
    assert verify(secret, "default", value, expires - 1) is path
    assert verify(secret, "default", value, expires) is None


def test_the_format_is_the_documented_one() -> None:
    signature = hmac.new(SECRET.encode(), b"default:v2:1700000000", hashlib.sha256).hexdigest()
    assert VALUE.decode() == f"v2.1700000000.{signature}"


@pytest.mark.parametrize(
    ("now", "expected"), [(NOW - 0.001, Path.V2), (NOW, None), (NOW + 0.5, None), (NOW + 1e9, None)]
)
def test_it_expires_on_the_second(now: float, expected: Path | None) -> None:
    assert verify(SECRET, "default", VALUE, now) is expected


def test_another_rollout_does_not_believe_it() -> None:
    assert verify(SECRET, "checkout", VALUE, NOW - 1) is None


def test_another_secret_does_not_believe_it() -> None:
    assert verify("sixteen letters?", "default", VALUE, NOW - 1) is None


@given(at=st.integers(0, len(VALUE) - 1), byte=st.integers(0, 255))
def test_one_changed_byte_spoils_it(at: int, byte: int) -> None:
    assume(VALUE[at] != byte)
    forged = VALUE[:at] + bytes([byte]) + VALUE[at + 1 :]
    assert verify(SECRET, "default", forged, NOW - 1) is None


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"v2",
        b"v2..",
        b"v2.1700000000.",
        b"v1" + VALUE[2:],
        b"v3" + VALUE[2:],
        VALUE.replace(b"1700000000", b"1800000000"),
        VALUE.replace(b"1700000000", b"01700000000"),
        VALUE.replace(b"1700000000", b"17000000001700000000"),
        VALUE.replace(b"1700000000", "１７０００００００0".encode()),
        VALUE.upper(),
        VALUE + b"\n",
        b" " + VALUE,
        VALUE + b"00",
        VALUE[:-1],
    ],
)
def test_what_is_malformed_or_tampered_with_is_not_believed(forged: bytes) -> None:
    assert verify(SECRET, "default", forged, NOW - 1) is None


@given(value=st.binary(max_size=100))
def test_no_header_value_raises(value: bytes) -> None:
    assert verify(SECRET, "default", value, NOW) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"v1", Path.V1), (b"v2", Path.V2), (b"V2", None), (b"v3", None), (b"", None), (VALUE, None)],
)
def test_a_plain_value_is_the_bare_name(value: bytes, expected: Path | None) -> None:
    assert plain(value) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.8.0.1", True),
        ("::ffff:10.8.0.1", True),
        ("10.9.0.1", False),
        ("2001:db8::1", False),
        ("", False),
        ("10.8.0.1, 1.1.1.1", False),
    ],
)
def test_listed_networks(address: str, expected: bool) -> None:
    assert in_networks(address, [ipaddress.ip_network("10.8.0.0/16")]) is expected
    assert not in_networks(address, [])
