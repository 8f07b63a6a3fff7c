"""Who decides the path besides the bucket: lists, signed headers, listed networks, issued cookies."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.e2e.proxy_process import ProxyProcess, config, running_proxy
from tests.e2e.raw_client import Response, fetch
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from tests.e2e.raw_backend import RawBackend

SECRET = "correct horse battery staple"
HEADER = b"X-Dualpath-Override"
LISTS, SIGNED, PLAIN, COOKIE = b"lists.test", b"signed.test", b"plain.test", b"cookie.test"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proxy(
    backends: tuple[RawBackend, RawBackend], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ProxyProcess]:
    """One rollout per host, each with another way to choose."""
    document = config(backends[0].url, backends[1].url)
    usual = document["rollouts"][0]
    document["rollouts"] = [
        {
            **usual,
            "name": "lists",
            "routes": [{"host": "lists.test"}],
            "percentage": 50,
            "allow": {"v1": ["always-v1"], "v2": ["always-v2"]},
            "deny": {"v1": ["never-v1"], "v2": ["never-v2"]},
        },
        {
            **usual,
            "name": "signed",
            "routes": [{"host": "signed.test"}],
            "percentage": 0,
            "override": {"secret": SECRET},
        },
        {
            **usual,
            "name": "plain",
            "routes": [{"host": "plain.test"}],
            "percentage": 0,
            "override": {"networks": ["127.0.0.0/8"]},
        },
        {
            **usual,
            "name": "cookie",
            "routes": [{"host": "*.cookie.test"}, {"host": "cookie.test", "prefix": "/app"}],
            "key": ["cookie:uid"],
            "issue_cookie": "uid",
            "percentage": 50,
        },
    ]
    async with running_proxy(document, tmp_path_factory.mktemp("proxy")) as process:
        yield process


async def test_lists_decide_before_the_bucket(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    expected = {b"always-v1": b"v1", b"always-v2": b"v2", b"never-v1": b"v2", b"never-v2": b"v1"}
    for weight in (0, 100, 50):
        await proxy.set(weight, "lists")
        seen = {key: (await ask(proxy, LISTS, (b"X-User-Id", key))).backend for key in expected}
        assert seen == expected


async def test_a_signed_override_is_believed(proxy: ProxyProcess, v1: RawBackend, v2: RawBackend) -> None:
    answer = await ask(proxy, SIGNED, (HEADER, signed("signed", "v2", 60)))
    assert answer.backend == b"v2"


async def test_an_override_that_is_not_right_is_not(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    good = signed("signed", "v2", 60)
    wrong = {
        "expired": signed("signed", "v2", -1),
        "another rollout's": signed("plain", "v2", 60),
        "another secret's": signed("signed", "v2", 60, secret="x" * 20),
        "another path's": b"v2" + signed("signed", "v1", 60)[2:],
        "cut": good[:-1],
        "unsigned": b"v2",
        "empty": b"",
    }
    for case, value in wrong.items():
        assert (await ask(proxy, SIGNED, (HEADER, value))).backend == b"v1", case


async def test_a_listed_network_needs_no_signature(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    assert (await ask(proxy, PLAIN, (HEADER, b"v2"))).backend == b"v2"
    assert (await ask(proxy, PLAIN, (HEADER, b"v3"))).backend == b"v1"


async def test_the_override_never_reaches_a_backend(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    await ask(proxy, PLAIN, (HEADER, b"v2"))
    await ask(proxy, SIGNED, (HEADER, b"v2"))
    await ask(proxy, LISTS, (HEADER, b"v2"))
    assert [one.get(HEADER.lower()) for one in (*v1.received, *v2.received)] == [None] * 3


async def test_an_overridden_request_does_not_count_in_the_comparison(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    before = await proxy.status("plain")
    for _ in range(5):
        assert (await ask(proxy, PLAIN, (HEADER, b"v2"))).backend == b"v2"
    await ask(proxy, PLAIN, (b"X-User-Id", b"a"))

    async def counted() -> bool:
        return bool(
            (await proxy.status("plain"))["paths"]["v1"]["requests"] > before["paths"]["v1"]["requests"]
        )

    await eventually(counted)
    after = await proxy.status("plain")
    assert after["paths"]["v2"]["requests"] == before["paths"]["v2"]["requests"]
    assert after["observed_percentage"] == 0


async def test_a_keyless_client_is_given_a_cookie_that_keeps_it(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    seen = set()
    for _ in range(30):
        first = await ask(proxy, b"www." + COOKIE)
        (issued,) = first.head.all(b"set-cookie")
        pair = issued.split(b";")[0]
        assert pair.startswith(b"uid=")
        second = await ask(proxy, b"www." + COOKIE, (b"Cookie", b"other=1; " + pair))
        assert (second.backend, second.head.all(b"set-cookie")) == (first.backend, [])
        seen.add((first.backend, pair))
    assert {backend for backend, _ in seen} == {b"v1", b"v2"}
    assert len(seen) == 30


async def test_rollouts_are_chosen_by_host_and_prefix(
    proxy: ProxyProcess, v1: RawBackend, v2: RawBackend
) -> None:
    assert (await ask(proxy, COOKIE, target="/app/x")).head.all(b"set-cookie")
    assert (await ask(proxy, b"COOKIE.test:80", target="/app")).head.all(b"set-cookie")
    # No rollout claims these: v1 serves what nothing splits.
    for host, target in ((COOKIE, "/application"), (b"nowhere.test", "/")):
        answer = await ask(proxy, host, target=target)
        assert (answer.backend, answer.head.all(b"set-cookie")) == (b"v1", [])


async def ask(proxy: ProxyProcess, host: bytes, *fields: tuple[bytes, bytes], target: str = "/") -> Response:
    """One GET with that Host; the answer must be a 200."""
    answer = await fetch(proxy.listen, "GET", target, ((b"Host", host), *fields))
    assert (answer.status, answer.complete) == (200, True), answer
    return answer


def signed(rollout: str, path: str, lasts_s: int, secret: str = SECRET) -> bytes:
    """An override as the documentation tells operators to compute it."""
    expires = int(time.time()) + lasts_s
    digest = hmac.new(secret.encode(), f"{rollout}:{path}:{expires}".encode(), hashlib.sha256).hexdigest()
    return f"{path}.{expires}.{digest}".encode()
