from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config.export import defaults, json_schema, redacted, whole
from proxy.config.loading import parse
from proxy.config.schema import Backend, Config, Guard, Listen

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sixteen letters!"
DIGEST = "ab" * 32
FULL = f"""
[listen]
trusted_proxies = ["10.0.0.0/8", "::1"]
header_timeout = "1500ms"
max_head = "48KiB"
[admin]
tokens = [{{ name = "ci", role = "operator", sha256 = "{DIGEST}" }}]
[backends.v1]
endpoints = ["http://a", "https://[::1]:8443"]
health = {{ path = "/healthz", interval = "90s" }}
[backends.v2]
endpoints = ["http://b"]
health = {{ path = "/healthz" }}
[[rollouts]]
name = "default"
routes = [{{ prefix = "/api", host = "*.example.com", methods = ["GET"] }}, {{ prefix = "/" }}]
key = ["cookie:uid", "client_ip"]
salt = "s"
issue_cookie = "uid"
percentage = 0
allow = {{ v2 = ["b", "a"] }}
override = {{ networks = ["127.0.0.1"], secret = "{SECRET}" }}
[[rollouts.phases]]
name = "canary"
percentage = 0.125
min_duration = "10m"
require = {{ error_rate_below = 0.02, latency_p95_below = "1s" }}
[[rollouts.guards]]
metric = "latency_delta_mean"
above = "250ms"
[[rollouts.guards]]
metric = "health"
below = 0.5
"""


# ... what is in force


def test_the_redacted_form_has_the_files_keys_and_units() -> None:
    dump = redacted(parse(FULL, {}))
    assert dump["listen"]["header_timeout"] == "1500ms"
    assert dump["listen"]["max_head"] == "48KiB"
    assert dump["listen"]["trusted_proxies"] == ["10.0.0.0/8", "::1/128"]
    assert dump["backends"]["v1"]["endpoints"] == ["http://a:80", "https://[::1]:8443"]
    assert dump["rollouts"][0]["allow"] == {"v1": [], "v2": ["a", "b"]}
    assert dump["rollouts"][0]["phases"][0]["require"] == {
        "error_rate_below": 0.02,
        "or_baseline": False,
        "latency_p95_below": "1s",
        "improvement_against": "v1",
        "no_alerts": False,
    }
    assert [guard.get("above", guard.get("below")) for guard in dump["rollouts"][0]["guards"]] == [
        "250ms",
        0.5,
    ]


def test_the_redacted_form_has_no_secrets() -> None:
    dump = redacted(parse(FULL, {}))
    assert dump["admin"]["tokens"] == [{"name": "ci", "role": "operator", "sha256": "***"}]
    assert dump["rollouts"][0]["override"]["secret"] == "***"
    assert SECRET not in json.dumps(dump)
    assert DIGEST not in json.dumps(dump)


def test_the_redacted_form_reads_as_the_same_configuration() -> None:
    config = parse(FULL, {})
    dump = redacted(config)
    dump["admin"]["tokens"][0]["sha256"] = DIGEST
    dump["rollouts"][0]["override"]["secret"] = SECRET
    assert Config.read(dump) == config


def test_a_secret_shows_in_no_representation() -> None:
    config = parse(FULL, {})
    assert SECRET not in repr(config)
    assert config.rollouts[0].override is not None
    assert config.rollouts[0].override.secret == SECRET


def test_a_process_of_our_own_gets_it_whole() -> None:
    config = parse(FULL, {})
    document = whole(config)
    assert json.loads(json.dumps(document)) == document
    assert Config.read(document) == config


# ... the schema


def _tables(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Config", schema
    yield from ((name, table) for name, table in schema["$defs"].items() if table.get("type") == "object")


def test_the_schema_says_what_it_is() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["backends"]
    assert json.loads(json.dumps(schema)) == schema


def test_every_table_is_closed_and_every_key_is_described() -> None:
    for name, table in _tables(json_schema()):
        assert table["additionalProperties"] is False, name
        assert table["description"], name
        for key, value in table["properties"].items():
            assert value.get("description"), f"{name}.{key}"
            assert "title" not in value, f"{name}.{key}"


def test_the_schema_has_the_keys_of_the_file() -> None:
    properties = json_schema()["$defs"]["Listen"]["properties"]
    assert set(properties) == set(Listen.file_keys())


def test_durations_and_sizes_are_text_with_a_pattern() -> None:
    properties = json_schema()["$defs"]["Listen"]["properties"]
    assert properties["header_timeout"]["type"] == properties["max_head"]["type"] == "string"
    assert properties["header_timeout"]["pattern"].endswith("(ms|s|m|h|d)$")
    assert properties["max_head"]["pattern"].endswith("(B|KiB|MiB|GiB)$")


GUARD = json_schema()["$defs"]["Guard"]["properties"]


@given(st.from_regex(r"[0-9.]{0,5}(ms|s|m|B|KiB)?", fullmatch=True), st.sampled_from(["window", "for"]))
def test_the_patterns_take_what_the_parser_takes(text: str, key: str) -> None:
    pattern = GUARD[key]["pattern"]
    try:
        Guard.read({"metric": "error_rate", "above": 0.1, key: text})
        sound = True
    except ValidationError:
        sound = False
    assert bool(re.search(pattern, text)) == sound


def test_the_schema_knows_no_null() -> None:
    assert "null" not in json.dumps(json_schema())


def test_defaults_are_in_the_files_form() -> None:
    properties = json_schema()["$defs"]["Listen"]["properties"]
    assert properties["header_timeout"]["default"] == "10s"
    assert properties["max_head"]["default"] == "32KiB"
    assert "default" not in json_schema()["$defs"]["Route"]["properties"]["host"]


@pytest.mark.parametrize("table", [Listen, Guard, Backend])
def test_defaults_are_sound(table: type[Listen | Guard | Backend]) -> None:
    required = {"metric": "health", "endpoints": ["http://a"]}
    document = {key: required[key] for key in required.keys() & table.file_keys().keys()}
    assert table.read(document | defaults(table)) == table.read(document)


def test_metrics_are_listed() -> None:
    assert json_schema()["$defs"]["Metric"]["enum"][0] == "error_rate"


def test_toml_is_what_both_forms_describe() -> None:
    assert set(tomllib.loads(FULL)) <= set(json_schema()["properties"])


def test_what_opens_doors_is_shown_to_nobody() -> None:
    text = (
        FULL.split("[[rollouts]]")[0]
        + """
[[rollouts]]
name = "default"
[[rollouts.phases]]
name = "a"
percentage = 5
webhook = "https://hooks.example/token-in-the-path"
[[rollouts.smoke]]
path = "/"
headers = { Authorization = "Bearer x" }
"""
    )
    config = parse(text, {})
    [shown], [kept] = redacted(config)["rollouts"], whole(config)["rollouts"]
    assert (shown["phases"][0]["webhook"], shown["smoke"][0]["headers"]) == ("***", {"Authorization": "***"})
    assert kept["smoke"][0]["headers"] == {"Authorization": "Bearer x"}
    assert Config.read(whole(config)) == config
