from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from proxy.config import fields, store
from proxy.config.schema import Guard
from proxy.judgment import Metric

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("a_b.example.com:1", ("a_b.example.com", 1)),
    ],
)
def test_an_address_is_host_and_port(value: str, parts: tuple[str, int]) -> None:
    assert fields.split_host_port(fields.parse_host_port(value)) == parts


@pytest.mark.parametrize(
    "value",
    [
        "",
        "localhost",
        ":80",
        "host:",
        "host:65536",
        "host:١",
        "ho st:1",
        "[::1]",
        "[::g]:1",
        "[:::1]:1",
        "-:1",
    ],
)
def test_anything_else_is_no_address(value: str) -> None:
    with pytest.raises(ValueError, match='must be "host:port" with a port up to 65535'):
        fields.parse_host_port(value)


def test_an_ipv6_address_wants_brackets() -> None:
    with pytest.raises(ValueError, match=r'must be "\[address\]:port" for IPv6'):
        fields.parse_host_port("::1:8080")


@pytest.mark.parametrize(
    ("value", "endpoint"),
    [
        ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
        ("http://Example.COM", "http://example.com:80"),
        ("HTTPS://example.com/", "https://example.com:443"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_an_endpoint_is_normalised(value: str, endpoint: str) -> None:
    assert fields.parse_endpoint(value) == endpoint


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ftp://a",
        "http://",
        "http://a/path",
        "http://a?",
        "http://a#b",
        "http://user@a",
        "http://a:0",
        "http://a:99999",
        "http://[::g]",
        "http://a b",
        "http://a\n",
        "127.0.0.1:80",
        80,
        None,
    ],
)
def test_anything_else_is_no_endpoint(value: object) -> None:
    with pytest.raises(ValueError, match="must be http:// or https:// with host and port alone"):
        fields.parse_endpoint(value)


@pytest.mark.parametrize(
    ("value", "server"),
    [
        ("10.0.0.53", "10.0.0.53:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("[::1]", "[::1]:53"),
        ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
    ],
)
def test_a_name_server_has_its_port(value: str, server: str) -> None:
    assert fields.parse_name_server(value) == server


@pytest.mark.parametrize(
    "value", ["", "dns.test", "10.0.0.53:0", "10.0.0.53:99999", "::1", "[::1", "1.2.3", 53]
)
def test_anything_else_is_no_name_server(value: object) -> None:
    with pytest.raises(ValueError, match="must be an address with or without a port"):
        fields.parse_name_server(value)


@given(st.text())
def test_a_normalised_endpoint_stays_as_it_is(value: str) -> None:
    try:
        endpoint = fields.parse_endpoint("http://" + value)
    except ValueError:
        return
    assert fields.parse_endpoint(endpoint) == endpoint


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (fields.parse_token, "X-User-Id"),
        (fields.parse_method, "M-SEARCH"),
        (fields.parse_upgrade_protocol, "websocket"),
        (fields.parse_upgrade_protocol, "irc/6.9"),
        (fields.parse_upgrade_protocol, "*"),
        (fields.parse_prefix, "/api/v1"),
        (fields.parse_host_pattern, "*.example.com"),
        (fields.parse_host_pattern, "localhost"),
        (fields.parse_key_source, "header:X-User-Id"),
        (fields.parse_key_source, "cookie:uid"),
        (fields.parse_key_source, "client_ip"),
        (store.parse_store_url, "memory://"),
        (store.parse_store_url, "sqlite:///dualpath.db"),
        (store.parse_store_url, "sqlite:////tmp/:memory:"),
        (fields.parse_sha256, "0" * 64),
    ],
)
def test_sound_values_are_kept(parse: Callable[[Any], str], value: str) -> None:
    assert parse(value) == value


def test_hosts_and_digests_are_in_lower_case() -> None:
    assert fields.parse_host_pattern("API.Example.com") == "api.example.com"
    assert fields.parse_sha256("AB" * 32) == "ab" * 32


@pytest.mark.parametrize(
    ("parse", "values", "message"),
    [
        (fields.parse_token, ["", "a b", "a:b", "a/b", "ä"], "must be a name without spaces"),
        (fields.parse_upgrade_protocol, ["", "a b", "irc/", "/6", "a/b/c"], "must be a protocol such as"),
        (fields.parse_upgrade_protocol, ["h2c", "HTTP/2.0", "TLS/1.3"], "HTTP and TLS are for one"),
        (fields.parse_method, ["", "get", "G T"], 'must be a method in capitals such as "GET"'),
        (fields.parse_prefix, ["", "api", "/a b", "/a?b", "/a#b", "/ä"], 'must start with "/"'),
        (fields.parse_network, ["", "10.0.0.1/8", "x", 10, None, True], "must be a network such as"),
        (fields.parse_host_pattern, ["", "a:80", "*", "a.*", "-a", 1], "must be a host without port"),
        (
            fields.parse_key_source,
            ["", "header", "header:", "header:a b", "query:x", "client_ip:", 1],
            'must be "header:NAME"',
        ),
        (
            store.parse_store_url,
            ["", "sqlite:///", "sqlite://x", "mysql://h", "sqlite:///a\0", 1],
            'must be "memory://", "sqlite:///FILE" or one of the forms of "redis://HOST"',
        ),
        (
            store.parse_store_url,
            ["sqlite:///:memory:", "sqlite:///./:memory:"],
            'must be "memory://" for a store in memory',
        ),
        (fields.parse_sha256, ["", "0" * 63, "g" * 64], "must be the 64 hexadecimal digits"),
    ],
)
def test_unsound_values_say_what_was_expected(
    parse: Callable[[Any], object], values: list[object], message: str
) -> None:
    for value in values:
        with pytest.raises(ValueError, match=message):
            parse(value)


def test_the_message_about_a_digest_does_not_quote_it() -> None:
    with pytest.raises(ValueError, match="hexadecimal") as raised:
        fields.parse_sha256("my-own-token")
    assert "my-own-token" not in str(raised.value)


def test_a_network_is_text_or_a_network() -> None:
    network = ipaddress.ip_network("10.0.0.0/8")
    assert fields.parse_network("10.0.0.0/8") == network
    assert fields.parse_network(network) is network
    assert fields.parse_network("2001:db8::1") == ipaddress.ip_network("2001:db8::1/128")


def test_metrics_are_durations_shares_or_plain_numbers() -> None:
    durations = {metric for metric in Metric if fields.takes_duration(metric)}
    shares = {metric for metric in Metric if fields.takes_rate(metric)}
    assert durations == {
        Metric.LATENCY_P50,
        Metric.LATENCY_P95,
        Metric.LATENCY_P99,
        Metric.LATENCY_DELTA_MEAN,
    }
    assert shares == {
        Metric.ERROR_RATE,
        Metric.FALLBACK_RATE,
        Metric.CLIENT_ERROR_RATE,
        Metric.HEALTH,
        Metric.CPU,
        Metric.MEMORY,
        Metric.CACHE_HIT_RATE,
        Metric.HOST_CPU,
        Metric.HOST_MEMORY,
        Metric.PROCESS_CPU,
        Metric.PROCESS_MEMORY,
    }
    assert set(Metric) - durations - shares == {Metric.LATENCY_RATIO_P95}


@pytest.mark.parametrize(
    ("metric", "above", "limit"),
    [
        ("latency_p95", "250ms", 0.25),
        ("latency_delta_mean", "1s", 1.0),
        ("latency_ratio_p95", 3, 3.0),
        ("error_rate", 0.1, 0.1),
        ("error_rate", 0, 0.0),
        ("client_error_rate", 1, 1.0),
    ],
)
def test_a_limit_is_read_by_its_metric(metric: str, above: object, limit: float) -> None:
    guard = Guard.read({"metric": metric, "above": above})
    assert guard.limit == limit
    assert guard.model_dump(mode="json", by_alias=True)["above"] == above


@pytest.mark.parametrize(
    ("metric", "above", "message"),
    [
        ("latency_p95", 0.5, 'must be a duration such as "250ms", because latency_p95 is one, not 0.5'),
        ("latency_p95", "0.5", "must be a duration with a unit"),
        ("error_rate", "250ms", "must be a number, because error_rate is one, not '250ms'"),
        ("error_rate", True, "must be a number, because error_rate is one, not true"),
        ("health", 1.5, "must be from 0 to 1, because health is a share, not 1.5"),
        ("latency_ratio_p95", -1, "must be from 0 to 1e9, not -1"),
        ("latency_ratio_p95", float("nan"), "must be from 0 to 1e9, not nan"),
        ("latency_ratio_p95", 10**400, "must be from 0 to 1e9, not a huge number"),
    ],
)
def test_a_limit_of_the_wrong_kind_is_refused(metric: str, above: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Guard.read({"metric": metric, "above": above})


@pytest.mark.parametrize("above", ["250ms", 0.5])
def test_without_a_known_metric_a_limit_may_be_either(above: object) -> None:
    with pytest.raises(ValidationError) as raised:
        Guard.read({"metric": "speed", "above": above})
    assert [detail["loc"] for detail in raised.value.errors()] == [("metric",)]


def test_without_a_known_metric_a_limit_must_still_be_one() -> None:
    with pytest.raises(ValidationError, match="must be a number, not a list"):
        Guard.read({"metric": "speed", "above": [1]})


def test_secrets_are_hidden_only_when_written_as_json() -> None:
    secret: TypeAdapter[str] = TypeAdapter(fields.Secret)
    value = secret.validate_python("sixteen letters!")
    assert secret.dump_json(value) == b'"***"'
    assert secret.dump_python(value) == "sixteen letters!"


@pytest.mark.parametrize("value", [1, 256, "auto"])
def test_workers_are_a_number_or_auto(value: object) -> None:
    assert fields.parse_workers(value) == value


@pytest.mark.parametrize("value", [0, -1, 257, True, 1.0, "2", "Auto", None, []])
def test_other_numbers_of_workers_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match='must be a whole number from 1 to 256, or "auto", not'):
        fields.parse_workers(value)


@pytest.mark.parametrize("value", ["127.0.0.1:9900", "unix:/run/dualpath/admin.sock", f"unix:/{'a' * 106}"])
def test_the_admin_is_at_an_address_or_at_a_path(value: str) -> None:
    assert fields.parse_admin_address(value) == value


@pytest.mark.parametrize(
    "value",
    ["unix:", "unix:relative", "unix:/a b", "unix:/directory/", f"unix:/{'a' * 107}", "unix:/a\n", "unix"],
)
def test_another_path_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="must"):
        fields.parse_admin_address(value)


@pytest.mark.parametrize("value", ["ci", "Zoë from operations", "x" * 100])
def test_a_name_of_somebody_is_one_printable_line(value: str) -> None:
    assert fields.parse_actor_name(value) == value


@pytest.mark.parametrize("value", ["", " ", " a", "a\nb", "a\x1b[0m", "a\0", "\u202egnp", "x" * 101])
def test_another_name_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="must be one printable line"):
        fields.parse_actor_name(value)
