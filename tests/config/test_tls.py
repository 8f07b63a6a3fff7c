"""The tables of TLS, and the files that they name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.loading import load, parse
from proxy.config.tls_files import stamps
from proxy.errors import ConfigError
from tests.certificates import Authority
from tests.config.documents import BACKENDS
from tests.e2e.proxy_process import toml

if TYPE_CHECKING:
    from pathlib import Path


def text(listen_tls: dict[str, Any]) -> str:
    return toml({"listen": {"tls": listen_tls}}) + BACKENDS


def problems(raised: pytest.ExceptionInfo[ConfigError]) -> dict[str, str]:
    return dict(raised.value.problems)


def test_every_bad_value_and_every_contradiction_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        parse(
            text(
                {
                    "certificates": [{"certificate": "", "key": 7}],
                    "min_version": "1.1",
                    "client_auth": "required",
                }
            ),
            {},
        )
    assert problems(raised) == {
        "listen.tls.certificates.0.certificate": "must be the name of a file, not ''",
        "listen.tls.certificates.0.key": "must be text",
        "listen.tls.min_version": "must be one of '1.2' or '1.3', not '1.1'",
        "listen.tls.client_ca": 'is required with client_auth = "required"',
    }


def test_a_table_without_a_certificate_is_none() -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text({"certificates": []}), {})
    assert problems(raised) == {"listen.tls.certificates": "needs at least one entry"}


def test_an_authority_that_nobody_is_asked_about_is_an_oversight() -> None:
    named = [{"certificate": "a", "key": "b"}]
    with pytest.raises(ConfigError) as raised:
        parse(text({"certificates": named, "client_ca": "c"}), {})
    assert list(problems(raised)) == ["listen.tls.client_auth"]


def test_every_file_that_cannot_be_used_is_reported_with_the_other_problems(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    good, other = authority.signs(["a.example"]), authority.signs(["b.example"])
    hollow = tmp_path / "hollow.pem"
    hollow.write_text("nothing")
    none, locked = tmp_path / "none.pem", _locked(tmp_path, authority)
    pairs = [
        good.table,
        {"certificate": str(good.certificate), "key": str(other.key)},
        {"certificate": str(none), "key": str(tmp_path)},
        {"certificate": str(hollow), "key": str(good.key)},
        {"certificate": str(good.certificate), "key": str(hollow)},
        {"certificate": str(good.certificate), "key": str(locked)},
    ]
    file = tmp_path / "proxy.toml"
    document = text({"certificates": pairs, "client_ca": str(hollow), "client_auth": "optional"})
    file.write_text(document + '[log]\nlevel = "loud"\n')
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    found = problems(raised)
    assert found.pop("log.level").startswith("must be one of")
    assert found == {
        "listen.tls.certificates.1.key": f"{other.key} does not belong to {good.certificate}",
        "listen.tls.certificates.2.certificate": f"{none} cannot be read: No such file or directory",
        "listen.tls.certificates.2.key": f"{tmp_path} cannot be read: Is a directory",
        "listen.tls.certificates.3.certificate": f"{hollow} holds no certificate in PEM",
        "listen.tls.certificates.4.key": f"{hollow} holds no private key in PEM without a passphrase",
        "listen.tls.certificates.5.key": f"{locked} holds no private key in PEM without a passphrase",
        "listen.tls.client_ca": f"{hollow} holds no certificates in PEM",
    }


def test_files_of_a_table_with_faults_are_looked_into_as_far_as_they_are_known(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text(text({"certificates": [{"certificate": 1, "key": 2}], "client_ca": str(tmp_path / "no")}))
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    assert "listen.tls.certificates.0.key" in problems(raised)


def test_a_stamp_changes_with_its_file_and_with_nothing_else(tmp_path: Path) -> None:
    pair = Authority(tmp_path).signs(["a.example"])
    config = parse(text({"certificates": [pair.table]}), {})
    before = stamps(config)
    assert len(before) == 2
    assert stamps(config) == before
    os.utime(pair.key, ns=(1, 1))
    assert stamps(config) != before
    pair.key.unlink()
    assert stamps(config)[1] is None
    assert stamps(parse(BACKENDS, {})) == ()


def _locked(directory: Path, authority: Authority) -> Path:
    """A key with a passphrase."""
    key = directory / "locked.key"
    key.write_bytes(authority.signs(["c.example"]).with_passphrase(b"secret"))
    return key
