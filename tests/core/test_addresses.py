"""What counts as an address, and which network holds it."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.core.addresses import canonical, is_within, neighbourhood, parse_address

V4 = ipaddress.ip_network("10.0.0.0/8")
V6 = ipaddress.ip_network("2001:db8::/32")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_one_address_is_written_one_way(text: str, expected: str) -> None:
    assert str(parse_address(text)) == expected
    assert canonical(text) == expected


@pytest.mark.parametrize("text", ["", "unknown", "192.0.2", "192.0.2.01", "192.0.2.1:80", "::1%" + "z" * 64])
def test_other_text_is_no_address(text: str) -> None:
    assert parse_address(text) is None
    assert canonical(text) == text


@pytest.mark.parametrize(
    ("text", "held"), [("10.1.2.3", True), ("11.1.2.3", False), ("2001:db8::1", True), ("2001:db9::1", False)]
)
def test_networks_hold_addresses_of_their_own_version(text: str, held: bool) -> None:
    address = parse_address(text)
    assert address is not None
    assert is_within(address, [V4, V6]) is held
    assert not is_within(address, [])


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_neighbourhood_is_an_address_or_the_network_that_one_machine_has(peer: str, expected: str) -> None:
    assert neighbourhood(peer) == expected
