"""Whose a request is, and which path it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from proxy.core.override import sign
from proxy.model import Path
from tests.dataplane.wire import GET, OK, read_message, request

if TYPE_CHECKING:
    from proxy.dataplane.downstream import Downstream
    from tests.dataplane.conftest import Opener
    from tests.dataplane.wire import Message, Peer, World


async def goes_to(world: World, data: bytes, address: str = "192.0.2.7") -> str:
    """The path that a request is sent to; its answer is given."""
    client = world.client((address, 1))
    await client.sends(data)
    [peer] = [peer for peer in world.connections if peer.got()]
    await peer.sends(OK)
    assert client.message().status == 200
    await client.leaves()
    return "v2" if peer.port == 9002 else "v1"


# ... keys and lists


async def test_the_client_s_address_can_be_the_key(open_world: Opener) -> None:
    world = await open_world(key=["client_ip"], percentage=50)
    paths = {address: await goes_to(world, GET, address) for address in (f"192.0.2.{n}" for n in range(40))}
    assert set(paths.values()) == {"v1", "v2"}
    for address, path in paths.items():
        assert await goes_to(world, GET, address) == path


async def test_pinned_keys_go_where_they_are_pinned_and_count_as_overridden(open_world: Opener) -> None:
    world = await open_world(percentage=0, allow={"v2": ["friend"]}, deny={"v2": ["enemy"]})
    assert await goes_to(world, request(user="friend")) == "v2"
    assert world.heard() == ["overridden v2", "outcome good"]
    assert await goes_to(world, request(user="enemy")) == "v1"
    assert world.heard() == ["overridden v1", "outcome good"]
    assert await goes_to(world, request(user="other")) == "v1"
    assert world.heard()[0] == "assigned v1"


async def test_a_client_without_a_key_is_given_a_cookie(open_world: Opener) -> None:
    world = await open_world(key=["cookie:uid"], issue_cookie="uid")
    client = world.client()
    await client.sends(request(user=""))
    await world.connections[0].sends(OK.replace(b"\r\n\r\n", b"\r\nX-A: 1\r\n\r\n"))
    cookie = client.message().fields[b"set-cookie"]
    assert cookie == b"uid=" + b"5" * 32 + b"; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
    await client.sends(request("GET", "/x", "Cookie: uid=" + "5" * 32, user=""))
    await world.connections[0].sends(OK)
    assert b"set-cookie" not in client.message().fields


async def test_an_answer_of_ours_carries_the_cookie_too(open_world: Opener) -> None:
    world = await open_world(key=["cookie:uid"], issue_cookie="uid")
    world.refusing |= {9001, 9002}
    client = world.client()
    await client.sends(request(user=""))
    answer = client.message()
    assert (answer.status, answer.fields[b"set-cookie"][:5]) == (502, b"uid=5")


# ... who is believed about the client


async def test_what_a_stranger_says_of_itself_is_overwritten(open_world: Opener) -> None:
    world = await open_world(listen={"trusted_proxies": ["10.0.0.0/8"]}, key=["client_ip"])
    client = world.client()
    told = (
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-Host: h",
    )
    for _ in range(2):
        await client.sends(request("GET", "/x", *told))
        sent = world.connections[0].message().fields
        assert sent[b"x-forwarded-for"] == b"192.0.2.7"
        assert (sent[b"x-forwarded-proto"], sent[b"x-forwarded-host"]) == (b"http", b"a")
        assert sent[b"forwarded"] == b'for=192.0.2.7;proto=http;host="a"'
        await world.connections[0].sends(OK)


async def test_what_a_trusted_proxy_says_is_appended_to_and_gives_the_key(open_world: Opener) -> None:
    world = await open_world(
        listen={"trusted_proxies": ["10.0.0.0/8"]},
        key=["client_ip"],
        percentage=0,
        allow={"v2": ["203.0.113.9"]},
    )
    proxy = world.client(("10.0.0.1", 1))
    await proxy.sends(request("GET", "/x", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https"))
    sent = world.v2.message().fields
    assert (sent[b"x-forwarded-for"], sent[b"x-forwarded-proto"]) == (b"203.0.113.9, 10.0.0.1", b"https")
    await world.v2.sends(OK)
    await proxy.sends(GET)
    sent = world.v1.message().fields
    assert (sent[b"x-forwarded-for"], sent[b"x-forwarded-proto"]) == (b"10.0.0.1", b"http")


async def test_the_host_of_each_request_is_told_of(world: World) -> None:
    client = world.client()
    for host in (b"a", b"b", b"a"):
        await client.sends(GET.replace(b"Host: a", b"Host: " + host))
        assert world.v2.message().fields[b"x-forwarded-host"] == host
        await world.v2.sends(OK)


async def test_rfc9112_3_2_2_the_absolute_form_is_routed_by_its_authority(open_world: Opener) -> None:
    rollouts = [
        {"name": "shop", "routes": [{"host": "shop.test"}], "percentage": 99, "key": ["header:X-User"]}
    ]
    world = await open_world(rollouts=rollouts)
    client = world.client()
    await client.sends(request(target="http://shop.test/a?b"))
    sent = world.v2.message()
    assert (sent.start, sent.fields[b"host"]) == (b"GET /a?b HTTP/1.1", b"shop.test")
    await world.v2.sends(OK)
    assert await goes_to(world, GET) == "v1"


# ... overrides

SECRET = "0123456789abcdef"


def wishing(value: str, *more: str) -> bytes:
    return request("GET", "/x", f"X-Dualpath-Override: {value}", *more, user="")


async def test_a_listed_network_names_the_path_plainly(open_world: Opener) -> None:
    world = await open_world(override={"networks": ["192.0.2.0/24"]}, percentage=0)
    assert await goes_to(world, wishing("v2")) == "v2"
    assert await goes_to(world, wishing("v1")) == "v1"
    assert world.heard() == ["overridden v2", "outcome good", "overridden v1", "outcome good"]
    assert await goes_to(world, wishing("v2"), "198.51.100.1") == "v1"
    assert await goes_to(world, wishing("v3")) == "v1"
    assert await goes_to(world, wishing("v2", "X-Dualpath-Override: v2")) == "v1"


async def test_a_signature_is_believed_from_anywhere_until_it_expires(open_world: Opener) -> None:
    world = await open_world(override={"secret": SECRET}, percentage=0)
    signed = sign(SECRET, "default", Path.V2, 1_700_000_060)
    assert await goes_to(world, wishing(signed)) == "v2"
    assert await goes_to(world, wishing("v2")) == "v1"
    assert await goes_to(world, wishing(signed.replace("v2", "v1"))) == "v1"
    await world.passes(61)
    assert await goes_to(world, wishing(signed)) == "v1"


@pytest.mark.parametrize("address", ["192.0.2.7", "198.51.100.1"])
async def test_the_override_field_never_goes_further(open_world: Opener, address: str) -> None:
    world = await open_world(override={"networks": ["192.0.2.0/24"]})
    client = world.client((address, 1))
    await client.sends(wishing("v2"))
    assert b"override" not in world.connections[0].got().lower()


# ... what the edge knows


async def test_a_body_over_the_limit_is_refused_before_it_comes(open_world: Opener) -> None:
    world = await open_world(listen={"max_body": "4B"})
    client = world.client()
    await client.sends(request("POST", "/", body=b"four"))
    assert (await answered(world, client)).status == 200
    await client.sends(request("POST", "/", "Content-Length: 5"))
    answer = client.message()
    assert (answer.status, answer.fields[b"connection"]) == (413, b"close")
    assert world.plane.context.refusals.counts["too_large"] == 1


async def test_scheme_and_certificate_of_the_connection_are_told_with_every_host(world: World) -> None:
    client = world.client()
    downstream = cast("Downstream", client.transport.protocol)
    downstream.scheme, downstream.client_cert = b"https", b"Hash=00"
    for host in ("a", "b", "a"):
        await client.sends(GET.replace(b"Host: a", f"Host: {host}".encode()))
        sent, _ = read_message(world.connections[0].got())
        assert sent.fields[b"x-forwarded-proto"] == b"https"
        assert sent.fields[b"x-forwarded-client-cert"] == b"Hash=00"
        await world.connections[0].sends(OK)
        assert client.message().status == 200


async def answered(world: World, client: Peer) -> Message:
    await world.connections[-1].sends(OK)
    return client.message()
