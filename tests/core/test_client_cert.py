"""What an upstream is told of a client's certificate."""

from __future__ import annotations

from proxy.core.client_cert import client_cert_value

SUBJECT = ((("countryName", "DE"),), (("organizationName", "Example"),), (("commonName", "client"),))


def value(subject: object = SUBJECT, *names: tuple[str, str]) -> bytes:
    return client_cert_value("ab" * 32, {"subject": subject, "subjectAltName": names})


def test_hash_subject_uri_and_dns_stand_in_envoys_form() -> None:
    assert value(SUBJECT, ("URI", "spiffe://a/b"), ("DNS", "c.example"), ("IP Address", "192.0.2.1")) == (
        b"Hash=" + b"ab" * 32 + b';Subject="CN=client,O=Example,C=DE";URI=spiffe://a/b;DNS=c.example'
    )


def test_a_certificate_that_says_nothing_has_its_hash() -> None:
    assert client_cert_value("00", {}) == b'Hash=00;Subject=""'


def test_parts_that_stand_together_and_names_without_a_short_form() -> None:
    assert value(((("commonName", "a"), ("emailAddress", "b@c")),)).endswith(
        b';Subject="CN=a+emailAddress=b@c"'
    )


def test_nothing_in_a_name_can_pose_as_another_element() -> None:
    told = value(((("commonName", 'x";Hash=00\r\nX-Evil: 1,\\'),),), ("DNS", 'a",DNS=b;\\ \r\n'))
    assert told.count(b'"') == 4
    assert told.endswith(
        b'Subject="CN=x\\22\\3BHash\\3D00\\0D\\0AX-Evil: 1\\2C\\5C";DNS="a%22,DNS=b;%5C%20%0D%0A"'
    )


def test_other_letters_are_written_as_bytes() -> None:
    assert value(((("commonName", "é"),),), ("DNS", "é")).endswith(b'"CN=\\C3\\A9";DNS=%C3%A9')


def test_a_value_does_not_begin_like_another_kind_of_value() -> None:
    assert value(((("commonName", "#0401"),),)).endswith(b'"CN=\\230401"')
    assert value(((("commonName", " a"),),)).endswith(b'"CN=\\20a"')


def test_a_certificate_of_many_names_does_not_make_a_head_too_large() -> None:
    told = value((((("commonName", "x" * 9000)),),), *(("DNS", f"{n}.example") for n in range(9000)))
    assert 2000 < len(told) <= 4096
    assert told.rsplit(b";", 1)[1].startswith(b"DNS=")
