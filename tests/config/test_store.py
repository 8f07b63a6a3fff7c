"""What the URL of a store means, and that no password of it is ever shown."""

from __future__ import annotations

import json

import pytest

from proxy.config.export import digest, redacted, whole
from proxy.config.loading import parse
from proxy.config.schema import Config
from proxy.config.store import RedisPlace, is_redis, parse_store_url, redis_place, without_secrets
from proxy.errors import ConfigError
from tests.config.documents import BACKENDS


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h", RedisPlace("single", (("h", 6379),))),
        ("redis://h:7/3", RedisPlace("single", (("h", 7),), database=3)),
        ("redis://[::1]:7", RedisPlace("single", (("::1", 7),))),
        ("rediss://u:p%40@h", RedisPlace("single", (("h", 6379),), tls=True, username="u", password="p@")),
        ("redis://:p@h", RedisPlace("single", (("h", 6379),), password="p")),
        ("redis+unix:///run/r%20s?db=2", RedisPlace("single", socket="/run/r s", database=2)),
        ("redis+unix://u:p@/s", RedisPlace("single", socket="/s", username="u", password="p")),
        (
            "redis+sentinel://a,b:7/main/2?sentinel_username=s&sentinel_password=q%26",
            RedisPlace(
                "sentinel",
                (("a", 26379), ("b", 7)),
                service="main",
                database=2,
                sentinel_username="s",
                sentinel_password="q&",
            ),
        ),
        ("rediss+sentinel://a/main", RedisPlace("sentinel", (("a", 26379),), tls=True, service="main")),
        ("redis+cluster://a,b:7", RedisPlace("cluster", (("a", 6379), ("b", 7)))),
        ("rediss+cluster://a", RedisPlace("cluster", (("a", 6379),), tls=True)),
    ],
)
def test_a_url_says_where_a_redis_is(url: str, place: RedisPlace) -> None:
    assert parse_store_url(url) == url
    assert redis_place(url) == place


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://", "must name a host"),
        ("redis://h:0", "must name a host"),
        ("redis://h:65536", "must name a host"),
        ("redis://h x", "must name a host"),
        ("redis://[::1", "must be"),
        ("redis://a,b", "must name one host"),
        ("redis://h/x", "must have a database's number"),
        ("redis://h/65536", "must have a database's number"),
        ("redis://h/1/2", "must have a database's number behind the host"),
        ("redis://h?db=1", "must have nothing behind"),
        ("redis://h/0#x", "must have nothing behind"),
        ("redis+sentinel://h", "must name the service"),
        ("redis+sentinel://h/main/x", "must have a database's number"),
        ("redis+sentinel://h/main?password=x", "nothing behind \\? or # but sentinel_username and sentinel_"),
        ("redis+cluster://h/1", "a cluster has one alone"),
        ("redis+unix:///", "must be"),
        ("redis+unix://h/s", "three slashes"),
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_store_url(url)


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2@", "redis://u:hunter2@h:x", "redis://u:hunter2@h/x", "http://u:hunter2@h"]
)
def test_what_is_wrong_is_said_without_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(url)
    assert "store.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def read(url: str, **keys: object) -> Config:
    values = {"url": url, **keys}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return parse("[store]\n" + "\n".join(lines) + "\n" + BACKENDS, {})


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def test_passwords_are_shown_to_processes_of_ours_alone() -> None:
    url = "redis+sentinel://u:hunter2@a:1,b/main?sentinel_password=hunter3"
    config, other = read(url), read(url.replace("hunter", "another"))
    shown = "redis+sentinel://u:***@a:1,b/main?sentinel_password=***"
    assert without_secrets(url) == redacted(config)["store"]["url"] == shown
    assert whole(config)["store"]["url"] == url
    assert digest(config) == digest(other)
    assert "hunter" not in repr(redis_place(url)) + str(redis_place(url))
    assert str(redis_place(url)) == "redis main at a:1,b:26379"
    assert Config.read(whole(config)) == config


def test_urls_without_a_secret_are_shown_as_they_are() -> None:
    for url in ("memory://", "sqlite:////a:b@c", "redis://h:1/2", "redis+cluster://a:1,b:2"):
        assert without_secrets(url) == url
    assert [is_redis(url) for url in ("memory://", "sqlite:///redis://", "redis://h")] == [False, False, True]


def test_tables_that_contradict_the_url_are_named() -> None:
    with pytest.raises(ConfigError, match=r'store\.tls: needs a URL that begins with "rediss"'):
        read("redis://h", tls={})
    with pytest.raises(ConfigError, match=r"store\.tls: needs"):
        read("memory://", tls={})
    with pytest.raises(ConfigError, match=r"store\.tls\.server_name: is not possible"):
        read("rediss://h", tls={"server_name": "x"})
    assert read("rediss://h", tls={"verify": False}).store.tls is not None


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "x" * 65])
def test_a_prefix_has_nothing_that_a_cluster_would_read(prefix: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.prefix: must be 1 to 64"):
        read("redis://h", prefix=prefix)
