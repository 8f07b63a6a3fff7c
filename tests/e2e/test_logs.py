"""The logs of a running proxy: what stands in them, and that nothing they do is noticed by requests."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import psutil

from tests.e2e import answers
from tests.e2e.proxy_process import ProxyProcess, Table, config, running_proxy, toml
from tests.e2e.raw_client import connected, fetch
from tests.e2e.waiting import eventually, stopwatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend

USER = (b"X-User-Id", b"u1")


def documents(*files: Path) -> list[dict[str, Any]]:
    """All lines of these files, each of which must be a JSON document."""
    texts = [file.read_text() for file in files if file.exists()]
    assert all(text.endswith("\n") for text in texts if text)
    return [json.loads(line) for text in texts for line in text.splitlines()]


def logs(**changes: Any) -> Table:
    """`[log]` with an access log in a file."""
    return {"level": "info", "access": {"enabled": True, "file": "access.log", **changes}}


async def test_each_request_has_a_line_that_says_what_became_of_it(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    log = {**logs(headers=["User-Agent", "Authorization"]), "format": "json", "redact": ["card"]}
    access = tmp_path / "access.log"
    async with running_proxy(config(v1.url, v2.url, log=log), tmp_path) as proxy:
        async with connected(proxy.listen) as client:
            fields = (USER, (b"Authorization", b"Bearer abc"), (b"User-Agent", b"caf\xc3\xa9 \x80"))
            assert (await client.ask("POST", "/a?b=1&card=4111", fields, b"hello")).status == 200
            v2.reset_on_accept = True
            v2.answer = answers.status("500 Down")
            assert (await client.ask("GET", "/fallback", (USER,))).backend == b"v1"
            v1.answer = answers.status("503 Down")
            assert (await client.ask("GET", "/both", (USER,))).status >= 500
        await eventually(lambda: len(documents(access)) == 3)
    first, second, third = documents(access)
    assert (first["method"], first["target"], first["status"]) == ("POST", "/a?b=1&card=***", 200)
    assert (first["rollout"], first["assigned"], first["answered_by"]) == ("default", "v2", "v2")
    assert first["headers"] == {"authorization": "***", "user-agent": "cafÃ© \x80"}
    assert (first["received_bytes"], first["client"]) == (5, "127.0.0.1")
    assert first["sent_bytes"] == len(b"v2 POST /a?b=1&card=4111")
    assert first["host"] == "example.test"
    sent = v2.received[0]
    assert first["request_id"] == (sent.get(b"x-request-id") or b"").decode()
    trace = (sent.get(b"traceparent") or b"").decode()
    assert trace.split("-")[1:3] == [first["trace_id"], first["attempts"][0]["span_id"]]
    assert (second["answered_by"], second["status"]) == ("v1-fallback", 200)
    assert [attempt["path"] for attempt in second["attempts"]] == ["v2", "v1"]
    assert second["attempts"][0]["error"] == "status"
    assert (third["failed"], second["failed"]) == (True, False)
    process = documents(tmp_path / "stderr.log")
    assert {"dualpath"} <= {line["logger"] for line in process}
    assert all({"time", "level", "message"} <= set(line) for line in process)


async def test_of_those_that_are_sampled_a_share_and_of_errors_each_one(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, log=logs(sample=1, keep=["error"]), rollout={"percentage": 0})
    access = tmp_path / "access.log"
    async with running_proxy(document, tmp_path) as proxy:
        async with connected(proxy.listen) as client:
            for number in range(400):
                v1.answer = answers.status("503 Down") if number % 40 == 7 else answers.status("200 OK")
                await client.ask("GET", f"/{number}")
        await eventually(lambda: sum(line["failed"] for line in documents(access)) == 10)
    found = documents(access)
    assert sorted(int(line["target"][1:]) % 40 for line in found if line["failed"]) == [7] * 10
    assert len(found) - 10 < 25  # of 390, 4 are expected: more than 24 happen once in 10 ** 11 runs


async def test_a_moved_file_is_left_and_no_line_is_lost_whichever_worker_writes(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    log = {**logs(), "file": "proxy.log", "format": "json"}
    document = config(v1.url, v2.url, listen={"workers": 2}, log=log, rollout={"percentage": 0})
    current, before = tmp_path / "access.log", tmp_path / "access.log.1"
    async with running_proxy(document, tmp_path) as proxy, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(proxy.listen)) for _ in range(16)]

        async def ask_all() -> None:
            for client in clients:
                assert (await client.ask()).status == 200

        await ask_all()
        await eventually(lambda: len(documents(current)) == 16)
        current.rename(before)
        (tmp_path / "proxy.log").rename(tmp_path / "proxy.log.1")
        await ask_all()
        proxy.process.send_signal(signal.SIGUSR1)
        await eventually(lambda: not open_in(proxy, before) and len(documents(before, current)) == 32)
        moved = before.read_bytes()
        await ask_all()
        await eventually(lambda: len(documents(before, current)) == 48)
        assert before.read_bytes() == moved
    assert len(documents(current)) >= 16
    assert any("opened anew" in line["message"] for line in documents(tmp_path / "proxy.log"))
    assert not [line for line in documents(tmp_path / "proxy.log.1") if line["level"] == "error"]
    assert (tmp_path / "stderr.log").read_bytes() == b""


async def test_a_log_that_nobody_reads_holds_up_no_request(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    """A pipe holds 64 KiB; what is behind that waits in the process, and no request does."""
    os.mkfifo(tmp_path / "access.log")
    reader = os.open(tmp_path / "access.log", os.O_RDONLY | os.O_NONBLOCK)
    log = logs(headers=["X-Long"])
    async with running_proxy(config(v1.url, v2.url, log=log), tmp_path) as proxy:
        async with connected(proxy.listen) as client:
            async with stopwatch(proxy.tree()) as watch:
                for _ in range(100):
                    assert (await client.ask("GET", "/", ((b"X-Long", b"x" * 2000),))).status == 200
            assert watch.own_s < 2.0, watch
        read = b""

        def all_read() -> bool:
            nonlocal read
            with contextlib.suppress(BlockingIOError):
                read += os.read(reader, 1 << 16)
            return read.count(b"\n") == 100

        await eventually(all_read)
        assert len([json.loads(line) for line in read.splitlines()]) == 100
        os.close(reader)  # and then its reader is gone
        assert (await fetch(proxy.listen)).status == 200
        await eventually(lambda: "cannot be written" in (tmp_path / "stderr.log").read_text())


async def test_a_reload_changes_where_and_what_is_logged_or_nothing_at_all(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, log=logs())
    async with running_proxy(document, tmp_path) as proxy, connected(proxy.listen) as client:
        assert (await client.ask("GET", "/first")).status == 200
        changed = copy.deepcopy(document)
        changed["log"]["access"] |= {"file": "other.log", "format": "combined", "headers": ["X-None"]}
        await reload(proxy, changed, "reloaded: log")
        assert (await client.ask("GET", "/second", ((b"User-Agent", b"a \x1b[2J"),))).status == 400
        assert (await fetch(proxy.listen, "GET", '/second"', ((b"User-Agent", b'a "b"'),))).status == 200
        await eventually(lambda: (tmp_path / "other.log").exists() and '"GET /second' in text(proxy, "other"))
        assert '"GET /second\\x22 HTTP/1.1" 200 ' in text(proxy, "other")
        assert text(proxy, "other").endswith('"a \\x22b\\x22"\n')
        broken = copy.deepcopy(changed)
        broken["log"]["file"] = "nowhere/proxy.log"
        await reload(proxy, broken, "not reloaded: log.file: nowhere is no directory")
        off = copy.deepcopy(changed)
        off["log"]["access"]["enabled"] = False
        await reload(proxy, off, "reloaded: log\n", times=2)
        before = text(proxy, "other")
        assert (await fetch(proxy.listen, "GET", "/third")).status == 200
    assert text(proxy, "other") == before
    assert [line["target"] for line in documents(tmp_path / "access.log")] == ["/first"]


async def test_a_summary_comes_as_often_as_it_is_asked_for(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    document = config(v1.url, v2.url, log={"level": "info", "summary_every": "100ms"})
    async with running_proxy(document, tmp_path) as proxy:
        for _ in range(3):
            assert (await fetch(proxy.listen, "GET", "/", (USER,))).backend == b"v2"
        await eventually(lambda: "dualpath.summary 3 requests, 0.0/s; 0 failed" in text(proxy, "stderr"))
        lines = [line for line in text(proxy, "stderr").splitlines() if "dualpath.summary" in line]
        assert "; v2 3, 0 errors; default running at 99.999 %" in lines[-1]
        assert lines[-1].endswith(" MiB, 1 worker")
        silent = {**document, "log": {"level": "info", "summary_every": "0s"}}
        await reload(proxy, silent, "reloaded: log")
        told = text(proxy, "stderr").partition("reloaded: log")[2]
    assert told.count("dualpath.summary") == 0


async def reload(proxy: ProxyProcess, document: Table, line: str, *, times: int = 1) -> None:
    """Have another configuration read, and wait until this is in the log."""
    (proxy.log.parent / "proxy.toml").write_text(toml(document))
    proxy.process.send_signal(signal.SIGHUP)
    await eventually(lambda: text(proxy, "stderr").count(line) >= times)


def text(proxy: ProxyProcess, name: str) -> str:
    """What stands in a log beside the configuration."""
    return (proxy.log.parent / f"{name}.log").read_text()


def open_in(proxy: ProxyProcess, file: Path) -> bool:
    """Whether any process of the proxy has this file open."""
    held = False
    for process in proxy.tree():
        with contextlib.suppress(psutil.Error):
            held |= any(one.path == str(file) for one in process.open_files())
    return held
