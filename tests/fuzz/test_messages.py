"""Messages that are nearly right, in any reads; `make fuzz` looks longer and elsewhere."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import messages
from tests.fuzz.grammar import BODIES, in_reads, spoilt_answers, spoilt_requests

FEW = settings(max_examples=60)
"""Each of these is a data plane or three."""

modes = st.integers(0, 63).map(lambda mode: bytes([mode]))


@FEW
@given(in_reads(spoilt_requests))
def test_what_goes_upstream_is_what_a_client_has_framed_however_it_was_read(data: bytes) -> None:
    messages.client_bytes(data)


@FEW
@given(st.builds(bytes.__add__, modes, in_reads(spoilt_answers)))
def test_what_a_client_reads_is_one_answer_or_does_not_look_whole(data: bytes) -> None:
    messages.backend_bytes(data)


@given(spoilt_requests)
def test_a_request_head_that_is_taken_is_one_and_goes_on_as_one(data: bytes) -> None:
    messages.request_heads(data)


@given(st.builds(bytes.__add__, st.sampled_from([b"\0", b"\1"]), spoilt_answers))
def test_a_response_head_that_is_taken_frames_its_body_as_it_says(data: bytes) -> None:
    messages.response_heads(data)


@given(in_reads(st.lists(st.sampled_from(BODIES) | st.binary(max_size=9), max_size=3).map(b"".join)))
def test_a_chunked_body_is_one_to_the_letter_wherever_a_read_ends(data: bytes) -> None:
    messages.chunks(data)
