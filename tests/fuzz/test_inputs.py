"""Files, processes of our own and people, as hypothesis makes them up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.loading import parse
from proxy.errors import ConfigError
from tests.fuzz import inputs
from tests.fuzz.documents import Choices, document, environment
from tests.fuzz.grammar import in_reads
from tests.fuzz.seeds import seeds

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
frames = st.dictionaries(st.sampled_from(["kind", "state", "unhealthy"]), values).map(
    lambda frame: (len(body := json.dumps(frame).encode())).to_bytes(4, "big") + body
)
mostly_sound = st.lists(st.sampled_from([0] * 12 + [3, 7, 1]) | st.integers(0, 255), max_size=200).map(bytes)
"""Choices of `documents`: zeros leave keys out."""


@settings(max_examples=60)
@given(mostly_sound)
def test_any_document_is_a_configuration_or_a_config_error(data: bytes) -> None:
    inputs.configuration(data)


def test_documents_are_of_both_kinds_and_so_are_overrides() -> None:
    assert parse(document(Choices(b"")), {}).rollouts
    with pytest.raises(ConfigError):
        parse(document(Choices(bytes([1]) * 40)), {})
    assert environment(Choices(bytes([1, 1, 0, 0, 5])))


@settings(max_examples=15)
@given(st.binary(max_size=60))
def test_whatever_stands_in_the_store_it_is_read_or_corrupt(data: bytes) -> None:
    inputs.store_content(data)


@given(values)
def test_any_report_is_taken_in_as_it_was_written_or_refused(value: object) -> None:
    inputs.report(json.dumps(value).encode())


@given(in_reads(st.lists(frames | st.binary(max_size=9), max_size=3).map(b"".join)))
def test_frames_are_the_same_wherever_a_read_ends(data: bytes) -> None:
    inputs.frames(data)


@given(st.sampled_from(seeds("proxy_header")), st.integers(0, 60), st.binary(max_size=3))
def test_a_proxy_header_is_the_same_however_much_of_it_is_there(sound: bytes, at: int, put: bytes) -> None:
    inputs.proxy_header(sound[:at] + put + sound[at + len(put) :])


@given(st.binary(max_size=90))
def test_nobody_can_make_up_an_override(data: bytes) -> None:
    inputs.override_value(data)


@given(st.binary(max_size=60) | st.text("=; ,uid:[]/%\n1.", max_size=40).map(str.encode))
def test_any_fields_give_a_key_and_an_address(data: bytes) -> None:
    inputs.keys_and_addresses(data)


@given(st.builds(lambda verb, value: bytes([verb]) + json.dumps(value).encode(), st.integers(0, 9), values))
def test_any_body_at_the_admin_is_a_command_or_a_problem(data: bytes) -> None:
    inputs.admin_inputs(data)
