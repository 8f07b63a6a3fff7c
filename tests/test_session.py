from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from proxy import running, session
from proxy.admin_client import TlsFiles
from proxy.cli import main
from proxy.config.source import ConfigSource
from proxy.demo import running as demo_running
from proxy.demo.play import DemoOptions
from proxy.session import Outside, Session
from tests.certificates import Authority
from tests.fake_admin import FakeOutside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEFAULT = "http://127.0.0.1:9900"
Captured = pytest.CaptureFixture[str]


def connected(*arguments: str, **environ: str) -> tuple[str, str | None]:
    """Where the command line went, and with which token."""
    outside = FakeOutside()
    outside.environ.update(environ)
    main(arguments, outside=outside.build())
    return outside.connected[0]


def test_by_default_it_is_the_local_admin_without_a_token() -> None:
    assert connected("status") == (DEFAULT, None)


def test_address_and_token_may_come_from_the_environment() -> None:
    assert connected("status", DUALPATH_ADMIN="http://a:1", DUALPATH_TOKEN="t") == ("http://a:1", "t")
    assert connected("status", DUALPATH_ADMIN="", DUALPATH_TOKEN="") == (DEFAULT, None)


@pytest.mark.parametrize(
    "verb", [["status"], ["history"], ["health"], ["explain", "--key", "a"], ["rollout", "pause"]]
)
def test_the_options_may_stand_before_the_verb_and_after_it(verb: list[str]) -> None:
    options = ["--admin", "http://a:1/", "--token", "t"]
    assert connected(*options, *verb) == ("http://a:1", "t")
    assert connected(*verb, *options) == ("http://a:1", "t")


def test_the_options_may_stand_between_group_and_verb() -> None:
    assert connected("rollout", "--admin", "a:1", "pause") == ("http://a:1", None)


def test_options_beat_the_environment_and_the_last_counts() -> None:
    assert connected("--admin", "a:1", "status", DUALPATH_ADMIN="b:2")[0] == "http://a:1"
    assert connected("--admin", "a:1", "status", "--admin", "c:3", DUALPATH_ADMIN="b:2")[0] == "http://c:3"


def test_files_for_tls_come_from_options_or_the_environment() -> None:
    def files(*arguments: str, **environ: str) -> TlsFiles | None:
        outside = FakeOutside()
        outside.environ.update(environ)
        main(arguments, outside=outside.build())
        return outside.tls

    assert files("status") == files("status", DUALPATH_CACERT="", DUALPATH_CERT="") == TlsFiles()
    assert files("status", DUALPATH_CACERT="a.pem", DUALPATH_CERT="b.pem") == TlsFiles("a.pem", "b.pem")
    assert files("--cacert", "c.pem", "status", "--cert", "d.pem", DUALPATH_CERT="b.pem") == TlsFiles(
        "c.pem", "d.pem"
    )


def test_the_admin_may_be_at_a_path() -> None:
    assert connected("--admin", "unix:/run/a.sock", "status") == ("unix:/run/a.sock", None)


@pytest.mark.parametrize(
    ("arguments", "environ", "option"),
    [
        (["status", "--admin", "ftp://x"], {}, "--admin"),
        (["status", "--admin", "unix:relative"], {}, "--admin"),
        (["status"], {"DUALPATH_ADMIN": "http://user:secret@x"}, "DUALPATH_ADMIN"),
        (["status", "--token", "sec ret"], {}, "--token"),
        (["status"], {"DUALPATH_TOKEN": "sec\nret"}, "DUALPATH_TOKEN"),
    ],
)
def test_what_cannot_be_an_address_or_a_token_is_a_usage_error(
    arguments: list[str], environ: dict[str, str], option: str, capsys: Captured
) -> None:
    outside = FakeOutside()
    outside.environ.update(environ)
    assert main(arguments, outside=outside.build()) == 2
    err = capsys.readouterr().err
    assert option in err
    assert "sec" not in err
    assert err.count("\n") == 1
    assert outside.connected == []


def test_a_question_does_not_wait_for_what_it_does_not_use() -> None:
    """A pipeline asks often; all of it takes three times as long to import."""
    asks = "from proxy.cli import main; main(['status', '--help'])"
    asks += "; import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert "--json" in done.stdout
    loaded = set(done.stderr.split())
    parts = (
        "dataplane",
        "controlplane",
        "admin",
        "stores",
        "simulation",
        "demo",
        "app",
        "config.schema",
        "tls",
    )
    unused = {"uvloop", "httptools", "aiosqlite", "cryptography", *(f"proxy.{name}" for name in parts)}
    assert loaded & unused == set()
    assert "proxy.verbs" in loaded


def test_what_serves_for_months_does_not_hold_what_it_does_not_use() -> None:
    """A process of `serve` by a plain configuration, up to where it would begin."""
    serves = """
import asyncio, sys
from proxy import later
from proxy.cli import main
from proxy.session import Outside
later.import_aiohttp()
running, source = later.later("proxy.running:serve"), later.later("proxy.config.source:ConfigSource")
main(["serve", sys.argv[1]], outside=Outside(serve=lambda file: len(file.read().rollouts)))
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", serves, "proxy.toml"], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    unused = {"typer", "rich", "cryptography", "google.protobuf", "opentelemetry", "pydantic.v1"}
    unused |= {"proxy.commands", "proxy.demo", "proxy.simulation", "proxy.report", "proxy.rendering"}
    assert loaded & unused == set()
    assert {"proxy.serving", "proxy.config.loading"} <= loaded


def test_aiohttp_is_imported_without_the_authorities_of_the_system(tmp_path: Path) -> None:
    file = Authority(tmp_path).file
    imports = """
import os, ssl
from proxy.later import import_aiohttp
import_aiohttp()
from aiohttp import connector
verified = connector._SSL_CONTEXT_VERIFIED
print(verified.cert_store_stats()["x509"], verified.verify_mode.name)
print(ssl.create_default_context().cert_store_stats()["x509"], "SSL_CERT_DIR" in os.environ)
"""
    environ = {**os.environ, "SSL_CERT_FILE": str(file)}
    environ.pop("SSL_CERT_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", imports], capture_output=True, text=True, check=True, env=environ
    )
    assert done.stdout.split("\n")[:2] == ["0 CERT_REQUIRED", "1 False"]


@pytest.fixture
def usual_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("usual_signals")
def test_a_signal_that_log_files_were_moved_ends_no_process_that_is_about_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def imported(place: str) -> Callable[[object], int]:
        os.kill(os.getpid(), signal.SIGUSR1)
        return lambda _: len(place)

    monkeypatch.setattr(session, "later", imported)
    assert Outside().serve(ConfigSource("proxy.toml", {})) > 0


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("name", ["serve", "run_demo"])
def test_what_runs_the_proxy_runs_on_an_event_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    async def run(what: object) -> int:
        given.append(what)
        return 7

    monkeypatch.setattr(running if name == "serve" else demo_running, name, run)
    outside, options = Outside(), DemoOptions()
    file = ConfigSource("proxy.toml", {})
    assert (outside.serve(file) if name == "serve" else outside.demo(options)) == 7
    assert given == [file if name == "serve" else options]


def test_the_token_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Session(FakeOutside().build(), token="secret"))
