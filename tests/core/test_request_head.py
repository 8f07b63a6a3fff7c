"""A client's head: what is refused, what is dropped, what goes on to the upstream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.framing import CHUNKED
from proxy.core.request_head import (
    PASSED_ON,
    PATH_LINE,
    REQUEST_ID,
    SAMPLED,
    SPAN_ID,
    TRACE_ID,
    UNSAMPLED,
    RequestHead,
    RequestLines,
)
from proxy.errors import BadRequest

IDS = b"0123456789abcdef" * 2
FORWARDED = b"X-Forwarded-For: 192.0.2.7\r\n"
TRACEPARENT = b"00-" + b"4bf92f3577b34da6a3ce929d0e0e4736" + b"-00f067aa0ba902b7-01"

Fields = list[tuple[bytes, bytes]]
HOST = (b"Host", b"a")


def checked(
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    target: bytes = b"/",
    minor_version: int = 1,
    known_host: bytes = b"",
) -> RequestHead:
    start = b"%b %b HTTP/1.%d" % (method, target, minor_version)
    return read(b"\r\n".join([start, *map(b": ".join, fields)]), known_host)


def read(block: bytes, known_host: bytes = b"", private: tuple[bytes, ...] = ()) -> RequestHead:
    head, taken = RequestLines(private).head(block)
    head.check(taken, known_host)
    return head


def refusal(*fields: tuple[bytes, bytes], **keys: object) -> int:
    with pytest.raises(BadRequest) as caught:
        checked(*fields, **keys)  # type: ignore[arg-type]
    return caught.value.status


def sent(head: RequestHead) -> tuple[bytes, Fields]:
    """The start line and the fields that an upstream reads."""
    start, *lines = (
        b"".join(head.upstream_parts(FORWARDED, IDS, b"1.1 us")).removesuffix(b"\r\n\r\n").split(b"\r\n")
    )
    return start, [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def values(head: RequestHead, name: bytes) -> list[bytes]:
    return [value for field, value in sent(head)[1] if field.lower() == name]


# ... the start line


def test_rfc9112_2_3_the_version_sent_on_is_ours() -> None:
    assert sent(checked(HOST, minor_version=0))[0] == b"GET / HTTP/1.1"


@pytest.mark.parametrize("target", [b"/%2F//a/../b?", b"/?a=%20&b=/", b"//"])
def test_rfc9110_7_7_path_and_query_go_on_untouched(target: bytes) -> None:
    assert sent(checked(HOST, target=target))[0] == b"GET " + target + b" HTTP/1.1"


def test_rfc9112_3_2_2_the_absolute_form_gives_host_and_origin_form() -> None:
    head = checked((b"Host", b"other"), target=b"http://shop.test:81/x?y")
    assert sent(head)[0] == b"GET /x?y HTTP/1.1"
    assert values(head, b"host") == [b"shop.test:81"]


def test_rfc9112_3_2_4_the_asterisk_of_options_goes_on() -> None:
    assert sent(checked(HOST, method=b"OPTIONS", target=b"*"))[0] == b"OPTIONS * HTTP/1.1"


def test_rfc9110_9_3_6_connect_is_refused() -> None:
    assert refusal(HOST, method=b"CONNECT", target=b"a:443") == 405


def test_rfc9112_3_2_a_target_of_no_form_is_refused() -> None:
    assert refusal(HOST, target=b"/a#b") == 400


# ... Host


def test_rfc9112_3_2_http_1_1_without_host_is_refused() -> None:
    assert refusal() == 400
    assert refusal((b"X", b"y")) == 400


@pytest.mark.parametrize("minor_version", [0, 1])
def test_rfc9112_3_2_two_hosts_are_refused(minor_version: int) -> None:
    assert refusal(HOST, HOST, minor_version=minor_version) == 400


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"u@a"])
def test_rfc9112_3_2_an_invalid_host_is_refused(host: bytes) -> None:
    assert refusal((b"Host", host)) == 400
    assert refusal((b"Host", host), minor_version=0) == 400
    assert refusal((b"Host", host), target=b"http://a/") == 400


def test_rfc9112_3_2_an_empty_host_is_refused_whatever_was_known_before() -> None:
    assert refusal((b"Host", b"")) == refusal((b"Host", b" \t")) == 400
    assert refusal((b"Host", b""), known_host=b"a") == 400


def test_rfc9112_3_2_http_1_0_may_come_without_host() -> None:
    assert values(checked(minor_version=0), b"host") == [b""]
    assert values(checked((b"Host", b""), minor_version=0), b"host") == [b""]


def test_rfc9112_5_1_white_space_after_a_host_is_no_part_of_it() -> None:
    assert values(checked((b"Host", b"a \t")), b"host") == [b"a"]


def test_a_known_host_is_not_checked_again() -> None:
    # The caller says that it was checked; what is looked at here is only that nothing else is done.
    assert values(checked((b"Host", b"<known>"), known_host=b"<known>"), b"host") == [b"<known>"]


# ... framing


def test_rfc9112_6_2_the_content_length_is_made_anew() -> None:
    head = checked(HOST, (b"content-LENGTH", b"007"), method=b"POST")
    assert head.length == 7
    assert values(head, b"content-length") == [b"7"]


def test_rfc9112_6_1_chunked_is_made_anew() -> None:
    head = checked(HOST, (b"Transfer-Encoding", b"Chunked"), method=b"POST")
    assert head.length == CHUNKED
    assert values(head, b"transfer-encoding") == [b"chunked"]
    assert values(head, b"content-length") == []


def test_rfc9112_6_3_both_framings_are_refused() -> None:
    assert refusal(HOST, (b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")) == 400
    assert refusal(HOST, (b"Content-Length", b"1"), (b"Content-Length", b"1")) == 400


@pytest.mark.parametrize(("method", "expected"), [(b"GET", []), (b"POST", [b"0"]), (b"PUT", [b"0"])])
def test_rfc9110_8_6_a_method_that_has_content_says_so_when_there_is_none(
    method: bytes, expected: list[bytes]
) -> None:
    assert values(checked(HOST, method=method), b"content-length") == expected


# ... hop by hop


@pytest.mark.parametrize(
    "name",
    [b"Keep-Alive", b"Proxy-Connection", b"TE", b"Upgrade", b"Trailer", b"HTTP2-Settings", b"Connection"],
)
def test_rfc9110_7_6_1_hop_by_hop_fields_stay_here(name: bytes) -> None:
    assert values(checked(HOST, (name, b"x")), name.lower()) == []


def test_rfc9110_7_6_1_what_connection_names_stays_here_too() -> None:
    head = checked(
        HOST, (b"X-Hop", b"1"), (b"Connection", b"x-hop"), (b"X-End", b"2"), (b"connection", b"x-two")
    )
    assert values(head, b"x-hop") == []
    assert values(head, b"x-end") == [b"2"]


def test_rfc9110_7_6_1_connection_cannot_name_what_matters_end_to_end() -> None:
    named = b"Host, Content-Length, X-Forwarded-For, Authorization, Idempotency-Key, X-Request-Id, Via"
    head = checked(
        HOST,
        (b"Connection", named),
        (b"Authorization", b"Bearer t"),
        (b"Content-Length", b"2"),
        (b"Idempotency-Key", b"k"),
        method=b"POST",
    )
    for name in (
        b"host",
        b"authorization",
        b"content-length",
        b"idempotency-key",
        b"x-forwarded-for",
        b"via",
    ):
        assert len(values(head, name)) == 1


def test_rfc9110_5_1_unknown_fields_pass_and_rfc9110_5_3_equal_ones_keep_their_order() -> None:
    head = checked((b"X-A", b"1"), HOST, (b"x-a", b""), (b"X-B_c", b"3"), (b"X-A", b"2"))
    assert sent(head)[1][1:5] == [(b"X-A", b"1"), (b"x-a", b""), (b"X-B_c", b"3"), (b"X-A", b"2")]


@pytest.mark.parametrize(
    "name",
    [b"Content_Length", b"X_Forwarded_For", b"x-forwarded_for", b"Transfer_Encoding", b"X_Dualpath_Path"],
)
def test_a_twin_with_underscores_is_refused(name: bytes) -> None:
    assert refusal(HOST, (name, b"1")) == 400


def test_clients_cannot_write_the_fields_that_are_ours() -> None:
    head = checked(HOST, (b"X-Dualpath-Path", b"v2"), (b"X-Dualpath-Mirror", b"1"))
    assert values(head, b"x-dualpath-path") == values(head, b"x-dualpath-mirror") == []


def test_fields_that_are_for_us_alone_go_no_further() -> None:
    block = b"GET / HTTP/1.1\r\nhost: a\r\nX-Override: v2\r\nx-a: 1"
    head = read(block, private=(b"x-override",))
    assert values(head, b"x-override") == []
    assert values(head, b"x-a") == [b"1"]


def test_forwarding_fields_are_kept_apart() -> None:
    head = checked(
        HOST, (b"X-Forwarded-For", b"1.2.3.4"), (b"Forwarded", b"for=x"), (b"X-Forwarded-Host", b"h")
    )
    assert [(field.name, field.value) for field in head.forwarding] == [
        (b"x-forwarded-for", b"1.2.3.4"),
        (b"forwarded", b"for=x"),
        (b"x-forwarded-host", b"h"),
    ]
    assert values(head, b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(head, b"forwarded") == []


# ... expectations and forwards


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-continue "])
def test_rfc9110_10_1_1_an_expectation_with_a_body_goes_on(value: bytes) -> None:
    head = checked(HOST, (b"Expect", value), (b"Content-Length", b"1"), method=b"POST")
    assert head.expects_continue
    assert values(head, b"expect") == [b"100-continue"]


@pytest.mark.parametrize(
    "value", [b"", b",", b"100-continue,", b", 100-Continue ,", b"100-continue, 100-continue"]
)
def test_rfc9110_10_1_1_expectations_are_a_list(value: bytes) -> None:
    head = checked(HOST, (b"Expect", value), (b"Content-Length", b"1"), method=b"POST")
    assert head.expects_continue == (b"continue" in value.lower())
    assert values(head, b"expect") == ([b"100-continue"] if head.expects_continue else [])


def test_rfc9110_10_1_1_an_expectation_without_a_body_is_ignored() -> None:
    head = checked(HOST, (b"Expect", b"100-continue"))
    assert not head.expects_continue
    assert values(head, b"expect") == []


def test_rfc9110_10_1_1_an_expectation_in_http_1_0_is_ignored() -> None:
    head = checked((b"Expect", b"100-continue"), (b"Content-Length", b"1"), method=b"POST", minor_version=0)
    assert values(head, b"expect") == []


def test_rfc9110_10_1_1_an_unknown_expectation_is_refused() -> None:
    assert refusal(HOST, (b"Expect", b"200-ok")) == 417
    assert refusal(HOST, (b"Expect", b"100-continue, 200-ok")) == 417


@pytest.mark.parametrize("method", [b"OPTIONS", b"TRACE"])
def test_rfc9110_7_6_2_max_forwards_is_decremented(method: bytes) -> None:
    head = checked(HOST, (b"Max-Forwards", b"3"), method=method)
    assert head.max_forwards == 3
    assert values(head, b"max-forwards") == [b"2"]


def test_rfc9110_7_6_2_max_forwards_at_0_is_for_us() -> None:
    assert checked(HOST, (b"Max-Forwards", b"0"), method=b"TRACE").max_forwards == 0


def test_rfc9110_7_6_2_zeros_before_max_forwards_say_nothing() -> None:
    head = checked(HOST, (b"Max-Forwards", b"0" * 12 + b"3"), method=b"OPTIONS")
    assert (head.max_forwards, values(head, b"max-forwards")) == (3, [b"2"])
    assert checked(HOST, (b"Max-Forwards", b"0" * 12), method=b"OPTIONS").max_forwards == 0


@pytest.mark.parametrize("value", [b"", b"-1", b"x"])
def test_rfc9110_7_6_2_an_invalid_max_forwards_is_refused(value: bytes) -> None:
    assert refusal(HOST, (b"Max-Forwards", value), method=b"OPTIONS") == 400


def test_rfc9110_7_6_2_a_second_max_forwards_is_refused() -> None:
    """The message for us, or one more round? Nobody can tell."""
    assert refusal(HOST, (b"Max-Forwards", b"0"), (b"Max-Forwards", b"5"), method=b"OPTIONS") == 400
    assert refusal(HOST, (b"Max-Forwards", b"5"), (b"max-forwards", b"5"), method=b"TRACE") == 400


def test_rfc9110_7_6_2_max_forwards_of_other_methods_passes() -> None:
    head = checked(HOST, (b"Max-Forwards", b"x"))
    assert head.max_forwards == -1
    assert values(head, b"max-forwards") == [b"x"]


# ... identification


def test_rfc9110_7_6_3_via_is_appended_to() -> None:
    assert values(checked(HOST), b"via") == [b"1.1 us"]
    head = checked(HOST, (b"Via", b"1.0 one"), (b"via", b"1.1 two"))
    assert values(head, b"via") == [b"1.0 one, 1.1 two, 1.1 us"]


def test_rfc9110_7_6_a_request_that_goes_round_in_a_circle_is_stopped() -> None:
    four, five = (b", ".join([b"1.1 us"] * times) for times in (4, 5))
    assert values(checked(HOST, (b"Via", four)), b"via") == [five]
    with pytest.raises(BadRequest) as caught:
        sent(checked(HOST, (b"Via", five)))
    assert caught.value.status == 508


def test_a_request_without_identifiers_gets_fresh_ones() -> None:
    head = checked(HOST)
    assert values(head, b"x-request-id") == [IDS]
    assert values(head, b"traceparent") == [b"00-" + IDS + b"-" + IDS[:16] + b"-00"]
    assert values(head, b"tracestate") == []


def test_the_client_s_identifiers_go_on() -> None:
    head = checked(
        HOST,
        (b"X-Request-Id", b"abc-1"),
        (b"traceparent", TRACEPARENT),
        (b"tracestate", b"a=1"),
        (b"tracestate", b"b=2"),
    )
    assert values(head, b"x-request-id") == [b"abc-1"]
    assert values(head, b"traceparent") == [TRACEPARENT]
    assert values(head, b"tracestate") == [b"a=1, b=2"]


def test_a_trace_context_without_state_gets_none() -> None:
    head = checked(HOST, (b"traceparent", TRACEPARENT))
    assert values(head, b"traceparent") == [TRACEPARENT]
    assert values(head, b"tracestate") == []


@pytest.mark.parametrize("value", [b"", b"a b", b"a" * 129, b"\xff", b"a;b"])
def test_a_request_id_of_a_strange_form_is_replaced(value: bytes) -> None:
    assert values(checked(HOST, (b"X-Request-Id", value)), b"x-request-id") == [IDS]


@pytest.mark.parametrize("more", [b"", b"-", b"-what-comes"])
def test_a_trace_context_of_a_version_to_come_is_read_as_far_as_it_is_known(more: bytes) -> None:
    head = checked(HOST, (b"traceparent", b"cc" + TRACEPARENT[2:] + more), (b"tracestate", b"a=1"))
    assert values(head, b"traceparent") == [b"cc" + TRACEPARENT[2:] + more]
    continued = b"".join(head.upstream_parts(b"", IDS, b"p", SAMPLED))
    assert b"traceparent: 00-%b-%b-01\r\ntracestate: a=1\r\n" % (TRACEPARENT[3:35], IDS[:16]) in continued


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"ff" + TRACEPARENT[2:],
        b"00-" + b"0" * 32 + TRACEPARENT[35:],
        TRACEPARENT.upper(),
        TRACEPARENT + b"-1",
        TRACEPARENT + b"-",
        b"cc" + TRACEPARENT[2:] + b".1",
    ],
)
def test_a_malformed_trace_context_is_replaced_with_its_state(value: bytes) -> None:
    head = checked(HOST, (b"traceparent", value), (b"tracestate", b"a=1"))
    assert values(head, b"traceparent") == [b"00-" + IDS + b"-" + IDS[:16] + b"-00"]
    assert values(head, b"tracestate") == []


@pytest.mark.parametrize(("value", "keyed"), [(b"k", True), (b"", False)])
def test_an_idempotency_key_is_seen_and_goes_on(value: bytes, keyed: bool) -> None:
    head = checked(HOST, (b"Idempotency-Key", value))
    assert head.keyed is keyed
    assert values(head, b"idempotency-key") == [value]


def test_a_head_shows_what_it_asks_for() -> None:
    assert repr(checked(HOST, target=b"/x")) == "<RequestHead b'GET' b'/x' length=0>"


# ... whatever a client sends

NAMES = [
    b"Host",
    b"host",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Connection",
    b"Keep-Alive",
    b"TE",
    b"Upgrade",
    b"Proxy-Connection",
    b"Expect",
    b"Via",
    b"X-Request-Id",
    b"traceparent",
    b"tracestate",
    b"X-Forwarded-For",
    b"Max-Forwards",
    b"X-Hop",
    b"X-Other",
]
VALUES = [
    b"",
    b"a",
    b"1",
    b"5",
    b"chunked",
    b"close, x-hop",
    b"Host, Content-Length, te",
    b"100-continue",
    b"a\tb",
]
HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"te",
    b"upgrade",
    b"proxy-connection",
    b"trailer",
    b"http2-settings",
}

# Mostly one Host, so that many examples are accepted.
some_fields = st.lists(st.tuples(st.sampled_from(NAMES[2:]), st.sampled_from(VALUES)), max_size=8)
some_hosts = st.sampled_from([[HOST], [HOST], [HOST], [], [HOST, (b"host", b"b")]])


@given(
    some_fields,
    some_hosts,
    st.sampled_from([b"GET", b"POST", b"OPTIONS"]),
    st.sampled_from([b"/", b"/x?y", b"http://b/", b"/a b", b"*"]),
    st.sampled_from([0, 1]),
)
def test_no_head_goes_on_with_two_hosts_two_framings_a_hop_by_hop_field_or_a_bare_line_feed(
    fields: Fields, hosts: Fields, method: bytes, target: bytes, minor_version: int
) -> None:
    try:
        head = checked(*fields, *hosts, method=method, target=target, minor_version=minor_version)
    except BadRequest:
        return
    whole = b"".join(head.upstream_parts(FORWARDED, IDS, b"1.1 us"))
    assert whole.count(b"\n") == whole.count(b"\r") == whole.count(b"\r\n")
    assert whole.index(b"\r\n\r\n") == len(whole) - 4
    names = [name.lower() for name, _ in sent(head)[1]]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert not HOP_BY_HOP & set(names)
    for once in (b"via", b"x-request-id", b"traceparent", b"x-forwarded-for"):
        assert names.count(once) == 1
    dropped = (
        {b"x-hop"} if any(name == b"Connection" and b"x-hop" in value for name, value in fields) else set()
    )
    passing = [(name, value) for name, value in fields if name.lower() in {b"x-hop", b"x-other"} - dropped]
    assert [field for field in sent(head)[1] if field[0].lower() in {b"x-hop", b"x-other"}] == passing


# ... the lines of a head


def test_a_head_is_read_as_it_is_spelt() -> None:
    block = b"POST /x?y HTTP/1.1\r\nHost:a\r\nContent-Length:  3\r\nX-A: 1 \t"
    head, fields = RequestLines().head(block)
    assert [(field.name, field.value) for field in fields] == [
        (b"host", b"a"),
        (b"content-length", b"3"),
        (b"x-a", b"1"),
    ]
    head.check(fields, b"")
    assert head.keep_alive
    assert head.length == 3
    assert sent(head)[0] == b"POST /x?y HTTP/1.1"
    assert values(head, b"x-a") == [b"1"]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="RFC 9112 section 2.2, an empty line"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a", id="RFC 9112 section 3, two spaces"),
        pytest.param(b"GET / HTTP/1.1 \r\nHost: a", id="RFC 9112 section 3, a space at the end"),
        pytest.param(b" GET / HTTP/1.1\r\nHost: a", id="RFC 9112 section 3, a space at the beginning"),
        pytest.param(b"GET /\tHTTP/1.1\r\nHost: a", id="RFC 9112 section 3, a tab"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: a", id="RFC 9112 section 3.2, a space in the target"),
        pytest.param(b"GET /\x7f HTTP/1.1\r\nHost: a", id="RFC 9112 section 3.2, a control character"),
        pytest.param(b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a", id="RFC 9112 section 3.2, beyond ASCII"),
        pytest.param(b"GET / HTTP/1.1\nHost: a", id="RFC 9112 section 2.2, bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\r\nHost: a", id="RFC 9112 section 2.2, bare CR"),
        pytest.param(b"\r\nGET / HTTP/1.1\r\nHost: a", id="RFC 9112 section 2.2, an empty line before"),
        pytest.param(b"G@T / HTTP/1.1\r\nHost: a", id="RFC 9110 section 9.1, no token"),
        pytest.param(b"PRI / HTTP/1.1\r\nHost: a", id="RFC 9113 section 11.7, reserved"),
        pytest.param(b"A" * 65 + b" / HTTP/1.1\r\nHost: a", id="a method of more than 64 bytes"),
        pytest.param(b"GET /\r\nHost: a", id="HTTP/0.9"),
        pytest.param(b"GET / http/1.1\r\nHost: a", id="RFC 9112 section 2.3, the version in lower case"),
        pytest.param(b"GET / HTTP/1.10\r\nHost: a", id="RFC 9112 section 2.3, two digits"),
        pytest.param(b"GET / HTTP/1\r\nHost: a", id="RFC 9112 section 2.3, no minor version"),
        pytest.param(b"GET / ICE/1.0\r\nHost: a", id="RFC 9112 section 2.3, another protocol"),
        pytest.param(b"OPTIONS / RTSP/1.0\r\nHost: a", id="RFC 9112 section 2.3, a third one"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nnonsense", id="RFC 9112 section 5, no field line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n: b", id="RFC 9112 section 5, no name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a", id="RFC 9112 section 5.1, space before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n b", id="RFC 9112 section 5.2, a folded line"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: a", id="RFC 9112 section 2.2, space before the first line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\0", id="RFC 9110 section 5.5, NUL"),
    ],
)
def test_what_is_not_http_to_the_letter_is_refused(block: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        RequestLines().head(block)
    assert caught.value.status == 400


@pytest.mark.parametrize("version", [b"0.9", b"2.0", b"3.0", b"9.9"])
def test_rfc9110_15_6_6_another_major_version_is_refused_505(version: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        RequestLines().head(b"GET / HTTP/%b\r\nHost: a" % version)
    assert caught.value.status == 505


def test_rfc9110_2_5_a_higher_minor_version_is_taken_for_ours() -> None:
    head = read(b"GET / HTTP/1.2\r\nHost: a")
    assert (head.minor_version, head.keep_alive, sent(head)[0]) == (1, True, b"GET / HTTP/1.1")


@pytest.mark.parametrize("method", [b"BREW", b"get", b"PROPFIND", b"M-SEARCH", b"!#$%&'*+-.^_`|~"])
def test_rfc9110_9_1_a_method_that_we_do_not_know_goes_on(method: bytes) -> None:
    assert sent(checked(HOST, method=method))[0] == method + b" / HTTP/1.1"


def test_rfc9112_3_2_2_what_is_not_in_origin_form_is_remembered_too() -> None:
    lines = RequestLines()
    for _ in range(2):
        head, fields = lines.head(b"GET http://b HTTP/1.1\r\nHost: a")
        head.check(fields, b"")
        assert (head.target, head.host) == (b"/", b"b")
    assert repr(lines) == "<RequestLines 1 start lines, <LineReader 1 lines seen>>"


# ... the client's connection


@pytest.mark.parametrize(
    ("minor_version", "values_of_connection", "stays"),
    [
        (1, [], True),
        (1, [b"keep-alive"], True),
        (1, [b"x-a"], True),
        (1, [b"Close"], False),
        (1, [b"x-a, close"], False),
        (1, [b"keep-alive", b"close"], False),
        (0, [], False),
        (0, [b"x-a"], False),
        (0, [b"Keep-Alive"], True),
        (0, [b"x-a, keep-alive"], True),
        (0, [b"keep-alive", b"close"], False),
    ],
)
def test_rfc9112_9_3_whether_the_client_keeps_its_connection(
    minor_version: int, values_of_connection: list[bytes], stays: bool
) -> None:
    options = [(b"Connection", value) for value in values_of_connection]
    head = checked(HOST, *options, minor_version=minor_version)
    assert head.keep_alive is stays
    assert values(head, b"connection") == []


def test_proxy_connection_means_nothing_and_stays_here() -> None:
    head = checked(HOST, (b"Proxy-Connection", b"close"))
    assert head.keep_alive
    assert values(head, b"proxy-connection") == []


# ... the wish to switch protocols

SWITCH = (b"Connection", b"keep-alive, Upgrade")


def test_rfc9110_7_8_a_wish_to_switch_protocols_goes_on_as_it_is_spelt() -> None:
    head = checked(HOST, SWITCH, (b"Upgrade", b"WebSocket"), (b"Sec-WebSocket-Version", b"13"))
    assert head.upgrade == b"websocket"
    assert values(head, b"upgrade") == [b"WebSocket"]
    assert values(head, b"connection") == [b"upgrade"]
    assert values(head, b"sec-websocket-version") == [b"13"]


def test_rfc9110_7_8_a_wish_that_is_not_to_be_is_dropped() -> None:
    head = checked(HOST, SWITCH, (b"Upgrade", b"websocket"))
    head.upgrade = b""
    assert values(head, b"upgrade") == values(head, b"connection") == []


@pytest.mark.parametrize("protocol", [b"SPDY/3.1", b"tcp"])
def test_rfc9110_7_8_other_methods_and_protocols_may_switch_too(protocol: bytes) -> None:
    head = checked(HOST, SWITCH, (b"Upgrade", protocol), method=b"POST")
    assert head.upgrade == protocol.lower()


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        pytest.param([(b"Upgrade", b"websocket")], {}, id="Connection does not name it"),
        pytest.param([SWITCH], {}, id="no Upgrade"),
        pytest.param([SWITCH, (b"Upgrade", b"websocket")], {"minor_version": 0}, id="HTTP/1.0"),
        pytest.param([SWITCH, (b"Upgrade", b"websocket")], {"method": b"HEAD"}, id="HEAD"),
        pytest.param([SWITCH, (b"Upgrade", b"websocket")], {"method": b"TRACE"}, id="TRACE"),
        pytest.param([SWITCH, (b"Upgrade", b"websocket"), (b"Content-Length", b"1")], {}, id="a body"),
        pytest.param([SWITCH, (b"Upgrade", b"websocket, foo")], {}, id="two protocols"),
        pytest.param([SWITCH, (b"Upgrade", b"websocket"), (b"Upgrade", b"foo")], {}, id="two lines"),
        pytest.param([SWITCH, (b"Upgrade", b"")], {}, id="no protocol"),
        pytest.param([SWITCH, (b"Upgrade", b"h2c")], {}, id="HTTP/2"),
        pytest.param([SWITCH, (b"Upgrade", b"TLS/1.2")], {}, id="TLS"),
        pytest.param([SWITCH, (b"Upgrade", b"HTTP/3.0")], {}, id="HTTP/3"),
    ],
)
def test_rfc9110_7_8_other_wishes_are_ignored(fields: Fields, keys: dict[str, object]) -> None:
    head = checked(HOST, *fields, **keys)  # type: ignore[arg-type]
    assert head.upgrade == b""
    assert values(head, b"upgrade") == values(head, b"connection") == []


def test_rfc9110_9_3_8_a_trace_shows_no_credentials() -> None:
    secrets = [(name, b"x") for name in (b"Cookie", b"Authorization", b"Proxy-Authorization")]
    head = checked(HOST, *secrets, (b"X-A", b"1"), method=b"TRACE")
    assert [values(head, name.lower()) for name, _ in secrets] == [[], [], []]
    assert values(head, b"x-a") == [b"1"]


def test_rfc9110_9_3_8_a_trace_has_no_content() -> None:
    assert refusal(HOST, (b"Content-Length", b"1"), method=b"TRACE") == 400


def test_keep_alive_stays_here() -> None:
    assert values(checked(HOST, (b"Connection", b"Keep-Alive")), b"connection") == []


def test_request_lines_are_remembered_within_bounds_and_without_queries() -> None:
    lines = RequestLines()
    for target in (b"/", b"/", b"/?token=secret", b"/" + b"x" * 300, b"http://user:secret@a/"):
        lines.head(b"GET " + target + b" HTTP/1.1\r\nHost: a")
    assert repr(lines) == "<RequestLines 1 start lines, <LineReader 1 lines seen>>"
    for number in range(10_000):
        lines.head(b"GET /%d HTTP/1.1\r\nHost: a" % number)
    assert repr(lines) == "<RequestLines 1474 start lines, <LineReader 1 lines seen>>"


# ... a trace that is continued


@pytest.mark.parametrize(("sampled", "flags"), [(UNSAMPLED, b"00"), (SAMPLED, b"01"), (PASSED_ON, b"00")])
def test_a_request_without_a_trace_begins_one(sampled: int, flags: bytes) -> None:
    parts = checked(HOST).upstream_parts(FORWARDED, IDS, b"1.1 us", sampled)
    assert b"traceparent: 00-%b-%b-%b\r\n" % (IDS, IDS[:16], flags) in b"".join(parts)
    assert (parts[TRACE_ID], parts[SPAN_ID], parts[REQUEST_ID], parts[PATH_LINE]) == (IDS, IDS[:16], IDS, b"")


@pytest.mark.parametrize(
    ("given", "sampled", "flags"),
    [(b"00", SAMPLED, b"01"), (b"01", UNSAMPLED, b"00"), (b"02", SAMPLED, b"03"), (b"03", UNSAMPLED, b"02")],
)
def test_a_client_s_trace_is_continued_by_a_span_of_ours(given: bytes, sampled: int, flags: bytes) -> None:
    head = checked(
        HOST, (b"traceparent", TRACEPARENT[:-2] + given), (b"tracestate", b"a=1"), (b"x-request-id", b"r")
    )
    parts = head.upstream_parts(FORWARDED, IDS, b"1.1 us", sampled)
    assert (parts[TRACE_ID], parts[SPAN_ID], parts[REQUEST_ID]) == (TRACEPARENT[3:35], IDS[:16], b"r")
    parts[SPAN_ID] = b"f" * 16
    continued = b"traceparent: 00-%b-%b-%b\r\ntracestate: a=1\r\n" % (TRACEPARENT[3:35], b"f" * 16, flags)
    assert b"".join(parts).endswith(continued + b"\r\n")


def test_of_two_traces_none_is_believed() -> None:
    for count in (2, 3):
        head = checked(HOST, *[(b"traceparent", TRACEPARENT)] * count, (b"tracestate", b"a=1"))
        assert values(head, b"traceparent") == [b"00-" + IDS + b"-" + IDS[:16] + b"-00"]
        assert values(head, b"tracestate") == []
