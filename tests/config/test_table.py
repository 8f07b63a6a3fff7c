from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config.schema import Backend, Config, Guard, Listen, Phase, Probe, Rollout
from proxy.config.table import FAULTY, FaultyAttributeError, table_in


def test_keys_are_attributes_without_their_unit() -> None:
    listen = Listen.read({"max_head": "1KiB", "header_timeout": "1500ms"})
    assert (listen.max_head_bytes, listen.header_timeout_s) == (1024, 1.5)


@pytest.mark.parametrize("key", ["header_timeout_s", "max_head_bytes"])
def test_the_file_does_not_take_attribute_names(key: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Listen.read({key: "1s"})


def test_tables_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Listen().workers = 2


def test_a_faulty_value_cannot_be_read_and_the_others_can() -> None:
    phase = Phase.read({"name": "canary", "percentage": FAULTY})
    assert phase.name == "canary"
    with pytest.raises(FaultyAttributeError, match="percentage"):
        _ = phase.percentage


def test_a_property_of_a_faulty_value_cannot_be_read_either() -> None:
    with pytest.raises(FaultyAttributeError, match="percentage"):
        _ = Rollout.read({"name": "a", "percentage": FAULTY}).weight
    with pytest.raises(FaultyAttributeError, match="above"):
        _ = Guard.read({"metric": "error_rate", "above": FAULTY}).limit


def test_a_misspelt_attribute_is_no_faulty_value() -> None:
    with pytest.raises(AttributeError, match="adress"):
        _ = Listen().adress  # type: ignore[attr-defined]


def test_a_table_knows_its_keys_and_their_tables() -> None:
    assert Config.file_keys()["rollouts"] is Rollout
    assert Backend.file_keys()["health"] is Probe
    assert Backend.file_keys()["max_head"] is None


def test_the_table_of_an_annotation() -> None:
    assert table_in(Probe) is Probe
    assert table_in(Probe | None) is Probe
    assert table_in(tuple[Probe, ...]) is Probe
    assert table_in(tuple[int, ...]) is None
