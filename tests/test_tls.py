"""TLS contexts: which certificate a name gets, and what contexts for others believe."""

from __future__ import annotations

import ssl
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.tls import ClientTls, ServerTls
from proxy.errors import ConfigError
from proxy.tls import client_context, overlook_impossible_names, server_context
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> tuple[ssl.SSLObject, Any]:
    """A handshake in memory: the client's end, and the common name that it was shown."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=name)
    theirs = server.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for side in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    certificate: Any = ours.getpeercert()
    return ours, certificate["subject"][0][0][1] if certificate else None


def believing(authority: Authority) -> ssl.SSLContext:
    context = client_context(ClientTls.read({"ca_file": str(authority.file)}))
    context.check_hostname = False
    return context


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("one.example", "first"),
        ("two.example", "second"),
        ("Two.Example", "second"),
        ("a.two.example", "wild"),
        ("b.two.example", "exact"),
        ("a.b.two.example", "first"),
        ("nobody", "first"),
        (None, "first"),
    ],
)
def test_a_name_gets_its_certificate(authority: Authority, name: str | None, shown: str) -> None:
    pairs = [
        authority.signs(["one.example"], subject="first"),
        authority.signs(["TWO.example"], subject="second"),
        authority.signs(["*.two.example"], subject="wild"),
        authority.signs(["b.two.example"], subject="exact"),
        authority.signs(["two.example", "late.example"], subject="later"),
        authority.signs(subject="nameless"),
    ]
    server = server_context(ServerTls.read({"certificates": [pair.table for pair in pairs]}))
    assert shake(server, believing(authority), name)[1] == shown


def test_of_two_certificates_with_the_same_names_and_kind_of_key_the_first_is_shown(
    authority: Authority,
) -> None:
    pairs = [authority.signs(["a.example"], subject=subject) for subject in ("first", "second")]
    server = server_context(ServerTls.read({"certificates": [pair.table for pair in pairs]}))
    assert shake(server, believing(authority), "a.example")[1] == "first"


def test_an_expired_certificate_is_still_shown_for_whoever_takes_it(authority: Authority) -> None:
    pair = authority.signs(["a.example"], expired=True)
    server = server_context(ServerTls.read({"certificates": [pair.table]}))
    session, _ = shake(server, client_context(ClientTls.read({"verify": False})), "a.example")
    assert session.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake(server, believing(authority), "a.example")


def test_a_context_for_others_verifies_unless_told_otherwise(authority: Authority, tmp_path: Path) -> None:
    server = server_context(ServerTls.read({"certificates": [authority.signs(["a.example"]).table]}))
    assert shake(server, client_context(ClientTls.read({"ca_file": str(authority.file)})), "a.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(server, client_context(ClientTls.read({"ca_file": str(authority.file)})), "b.example")
    for table in ({}, {"ca_file": str(Authority(tmp_path, "other").file)}):
        with pytest.raises(ssl.SSLCertVerificationError):
            shake(server, client_context(ClientTls.read(table)), "a.example")


def test_a_context_for_others_shows_its_certificate(authority: Authority) -> None:
    table = {
        "certificates": [authority.signs(["a.example"]).table],
        "client_ca": str(authority.file),
        "client_auth": "required",
    }
    own = authority.signs(subject="us")
    known = client_context(ClientTls.read({"ca_file": str(authority.file), **own.table}))
    assert shake(server_context(ServerTls.read(table)), known, "a.example")[0].version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        shake(server_context(ServerTls.read(table)), believing(authority), "a.example")


def test_the_oldest_version_is_as_configured(authority: Authority) -> None:
    pair = authority.signs(["a.example"])
    server = server_context(ServerTls.read({"certificates": [pair.table], "min_version": "1.3"}))
    old = believing(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(server, old, "a.example")


@pytest.mark.parametrize("make", [server_context, client_context])
def test_what_cannot_be_used_is_told_with_its_path(make: Any, tmp_path: Path) -> None:
    gone = {"certificate": str(tmp_path / "c"), "key": str(tmp_path / "k")}
    table = ServerTls.read({"certificates": [gone]}) if make is server_context else ClientTls.read(gone)
    with pytest.raises(ConfigError) as raised:
        make(table, "here.tls")
    at = "here.tls.certificates.0" if make is server_context else "here.tls"
    assert [path for path, _ in raised.value.problems] == [f"{at}.certificate", f"{at}.key"]


def test_only_impossible_names_are_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    overlook_impossible_names()
    name = SimpleNamespace(exc_type=UnicodeDecodeError, object=b"\xff")
    others = [
        SimpleNamespace(exc_type=UnicodeDecodeError, object=test_only_impossible_names_are_overlooked),
        SimpleNamespace(exc_type=ValueError, object=b"\xff"),
    ]
    for each in (name, *others):
        sys.unraisablehook(each)
    assert told == others
