"""How many clients the files of a process are enough for."""

from __future__ import annotations

import resource

import pytest

from proxy.dataplane.descriptors import raise_limit, room_for


@pytest.mark.parametrize(
    ("limit", "wanted", "room"),
    [
        (256, 20_000, 96),
        (8_256, 20_000, 4_096),
        (20_000, 20_000, 15_840),
        (1 << 20, 20_000, 20_000),
        (1 << 20, 3, 3),
        (60, 20_000, 8),
        (resource.RLIM_INFINITY, 20_000, 20_000),
    ],
)
def test_each_client_may_need_a_backend_too(
    monkeypatch: pytest.MonkeyPatch, limit: int, wanted: int, room: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert room_for(wanted) == room


def test_the_limit_is_raised_as_far_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: asked.append(limits))
    raise_limit()
    assert asked == [(4096, 4096)]


def test_a_system_that_does_not_allow_it_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_limit()
