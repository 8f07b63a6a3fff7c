"""Alerts of a real proxy at real receivers: who is told what, and that nobody waits for a sink that hangs."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest

from proxy.config.alerts import Sink
from proxy.telemetry.alerts.mail import MailError, MailSink
from tests.certificates import Authority
from tests.e2e import answers
from tests.e2e.alert_receivers import HANG, Mailbox, mail_server, receiving
from tests.e2e.proxy_process import ProxyProcess, Table, config, run, running_proxy, start_proxy, toml
from tests.e2e.raw_client import fetch
from tests.e2e.succession import dynasty
from tests.e2e.waiting import eventually, stopwatch
from tests.telemetry.alerts.notices import message

if TYPE_CHECKING:
    from pathlib import Path

    import psutil

    from tests.e2e.alert_receivers import Receiver
    from tests.e2e.raw_backend import RawBackend
    from tests.e2e.raw_client import Response

SECRET = "a secret of people"
GUARD = {"metric": "error_rate", "above": 0.2, "window": "5s", "min_requests": 20, "mode": "window"}
RULE = {"name": "errors", "metric": "client_error_rate", "above": 0.2, "window": "1s", "min_requests": 10}
BROKEN = {"name": "own", "kind": "callback", "call": "no.such.module:told"}
CALLBACK = """import json
def told(fields):
    with open("told.jsonl", "a") as file:
        file.write(json.dumps(fields) + "\\n")
"""


def document(v1: RawBackend, v2: RawBackend, *sinks: Table, **more: Any) -> Table:
    rollout = {"percentage": 50, "fallback": {"enabled": False}, **more.pop("rollout", {})}
    made = config(v1.url, v2.url, rollout=rollout, **more.pop("changes", {}))
    return {**made, "alerts": {"sinks": list(sinks), **more.pop("alerts", {})}, **more}


def webhook(receiver: Receiver, path: str = "ops", **more: Any) -> Table:
    return {"name": path, "kind": "webhook", "url": receiver.url(path), **more}


async def requests(proxy: ProxyProcess, count: int = 60) -> None:
    for number in range(count):
        await fetch(proxy.listen, "GET", "/", ((b"X-User-Id", b"%d" % number),))


async def change(proxy: ProxyProcess, method: str, target: str, **body: object) -> Response:
    host, port = proxy.admin
    fields: tuple[tuple[bytes, bytes], ...] = ((b"Host", f"{host}:{port}".encode()),)
    fields += ((b"Content-Type", b"application/json"),) if body else ()
    return await fetch(proxy.admin, method, target, fields, json.dumps(body).encode() if body else b"")


async def test_a_rollback_reaches_every_kind_of_sink_with_its_figures(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    (tmp_path / "told.py").write_text(CALLBACK)
    async with receiving() as receiver, mail_server() as mailbox:
        mailbox.refusals = ["451 later"]  # that is tried again
        sinks = [
            webhook(receiver, secret=SECRET),
            {"name": "chat", "kind": "slack", "url": receiver.url("chat")},
            {
                "name": "pager",
                "kind": "pagerduty",
                "secret": "0123456789abcdef",
                "url": receiver.url("pager"),
            },
            {
                "name": "mail",
                "kind": "email",
                "server": f"127.0.0.1:{mailbox.port}",
                "tls": "none",
                "from": "dualpath@example.com",
                "to": ["ops@example.com", "two@example.com"],
            },
            {"name": "own", "kind": "callback", "call": "told:told"},
            {"name": "log", "kind": "log"},
        ]
        hook = {"name": "after", "on": ["rollback"], "url": receiver.url("hook"), "secret": SECRET}
        made = document(v1, v2, *sinks, rollout={"guards": [GUARD]}, hooks=[hook])
        async with running_proxy(made, tmp_path) as proxy:
            v2.answer = answers.status("500 Internal Server Error")
            await requests(proxy)
            await eventually(lambda: len(receiver.got) >= 4 and bool(mailbox.mails))
            await eventually((tmp_path / "told.jsonl").exists)
    (alert,) = receiver.at("ops")
    assert alert.is_signed_with(SECRET)
    assert not alert.is_signed_with("another")
    told = alert.json
    assert (told["kind"], told["severity"], told["rollout"]) == ("rollback", "critical", "default")
    assert (told["metric"], told["limit"], told["percentage"]["after"]) == ("error_rate", 0.2, 0.0)
    assert told["value"] > 0.2
    assert told["sample"] >= 20
    (chat,) = receiver.at("chat")
    facts = {one["title"]: one["value"] for one in chat.json["attachments"][0]["fields"]}
    assert facts["limit"] == "0.2"
    assert facts["done"] == "rollback by controller"
    (pager,) = receiver.at("pager")
    assert (pager.json["event_action"], pager.json["routing_key"]) == ("trigger", "0123456789abcdef")
    ((to, mail),) = mailbox.mails
    assert to == ["ops@example.com", "two@example.com"]
    assert mail["Subject"] == "[dualpath] critical: default was rolled back from 50 % to 0 %"
    assert "metric: error_rate" in mail.get_content()
    own = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    assert [one["kind"] for one in own] == ["rollback"]
    (after,) = receiver.at("hook")
    assert (after.json["event"], after.is_signed_with(SECRET)) == ("rollback", True)
    log = (tmp_path / "stderr.log").read_text()
    assert "alert critical event: default was rolled back from 50 % to 0 %" in log


async def test_sinks_that_hang_delay_no_rollback_and_no_request(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with receiving() as receiver, receiving() as dead:
        dead.answer = HANG
        hook = {"name": "after", "on": ["rollback"], "url": dead.url("hook")}
        sinks = [
            webhook(dead),
            {"name": "chat", "kind": "slack", "url": dead.url("chat")},
            webhook(receiver, "well"),
        ]
        async with running_proxy(document(v1, v2, *sinks, hooks=[hook]), tmp_path) as proxy:
            for _ in range(10):
                await proxy.set(40)
                async with stopwatch(proxy.tree()) as watch:
                    assert (await proxy.command("rollback")).status == 200
                assert watch.own_s < 0.5, watch
            async with stopwatch(proxy.tree()) as watch:
                await requests(proxy, 20)
            assert watch.own_s < 2.0, watch
            await eventually(lambda: len(receiver.got) == 20)
            assert [len(dead.at(path)) for path in ("ops", "chat", "hook")] == [1, 1, 1]
            sinks_now = {one["name"]: one for one in (await proxy.get("/api/v1/alerts"))["sinks"]}
            assert sinks_now["ops"]["waiting"] == 19
            assert sinks_now["well"]["sent"] == 20
            async with stopwatch(proxy.tree()) as watch:
                await proxy.stop()
        assert watch.own_s < 5.0, "the end waits for a moment and no longer"


async def test_a_rule_fires_is_silenced_and_is_resolved(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with receiving() as receiver:
        made = document(v1, v2, webhook(receiver, on=["rule"]), alerts={"rules": [RULE]})
        async with running_proxy(made, tmp_path) as proxy:
            admin = ("--admin", proxy.admin_url)
            quiet = await change(proxy, "POST", "/api/v1/silences", expires_in="1h", alerts=["err*"])
            assert quiet.status == 200, quiet.body
            v1.answer = v2.answer = answers.status("500 Internal Server Error")
            await requests(proxy, 30)

            async def active() -> list[Any]:
                found: list[Any] = (await proxy.get("/api/v1/alerts"))["active"]
                return found

            async def fires() -> bool:
                await requests(proxy, 10)
                return bool(await active())

            await eventually(fires)
            ((silence),) = [one["silence"] for one in await active()]
            assert receiver.got == []
            ended = await change(proxy, "DELETE", f"/api/v1/silences/{silence}")
            assert ended.status == 200, ended.body

            async def told() -> bool:
                await requests(proxy, 10)  # its window is short: it goes on
                return len(receiver.got) == 1

            await eventually(told)
            fired = receiver.got[0].json
            assert (fired["status"], fired["subject"], fired["metric"]) == (
                "firing",
                "errors",
                "client_error_rate",
            )
            assert (fired["value"], fired["limit"]) == (1.0, 0.2)
            await eventually(lambda: len(receiver.got) == 2)  # once the window has forgotten it
            assert receiver.got[1].json["status"] == "resolved"
            receiver.answer = 404
            tried = await run("alerts", "test", *admin, directory=tmp_path)
            assert (tried.code, tried.stdout) == (1, "ops (webhook): answered 404\n")
            await refuses_a_sink_that_cannot_be_had(proxy, document(v1, v2, BROKEN), tmp_path)
            assert [one["name"] for one in (await proxy.get("/api/v1/alerts"))["sinks"]] == ["ops"]


async def refuses_a_sink_that_cannot_be_had(proxy: ProxyProcess, wanted: Table, tmp_path: Path) -> None:
    (tmp_path / "proxy.toml").write_text(toml(wanted))
    proxy.process.send_signal(signal.SIGHUP)

    async def refused() -> bool:
        loaded = (await proxy.get("/api/v1/status"))["config"]
        return "no.such.module" in str(loaded["error"])

    await eventually(refused)


async def test_a_worker_that_does_not_stay_up_alerts(v1: RawBackend, v2: RawBackend, tmp_path: Path) -> None:
    async with receiving() as receiver:
        made = document(v1, v2, webhook(receiver), changes={"listen": {"workers": 2}})
        async with running_proxy(made, tmp_path) as proxy:
            for _ in range(2):
                worker = next(one for one in proxy.tree() if "proxy.worker" in " ".join(one.cmdline()))
                worker.kill()

                async def is_back(gone: psutil.Process = worker) -> bool:
                    return not gone.is_running() and (await proxy.ask_admin("/readyz")).status == 200

                await eventually(is_back)
                if receiver.got:
                    break
            # The two deaths may have struck two places: then a third is the second of one of them.
            if not receiver.got:
                worker = next(one for one in proxy.tree() if "proxy.worker" in " ".join(one.cmdline()))
                worker.kill()
            await eventually(lambda: bool(receiver.got))
    told = receiver.got[0].json
    assert (told["kind"], told["severity"], told["status"]) == ("worker", "critical", "firing")
    assert "SIGKILL" in told["reason"]


async def test_hooks_are_asked_before_a_start_and_before_a_phase(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    phases = [{"name": "canary", "percentage": 40}, {"name": "half", "percentage": 50}]
    async with receiving() as receiver:
        hook = {
            "name": "ask",
            "on": ["before_start", "before_phase"],
            "url": receiver.url("ask"),
            "secret": SECRET,
            "required": True,
            "timeout": "10s",
        }
        rollout = {"percentage": 0, "phases": phases, "judge": {"tick": "100ms", "promotion": "criteria"}}
        made = document(v1, v2, hooks=[hook], rollout=rollout)
        async with running_proxy(made, tmp_path) as proxy:
            answer = await proxy.command("start")
            assert answer.status == 200
            (asked,) = receiver.at("ask")
            assert asked.is_signed_with(SECRET)
            assert (asked.json["event"], asked.json["to"]["phase"]) == ("before_start", "canary")
            receiver.answer = 403

            async def asks_again() -> bool:
                await requests(proxy, 10)
                return len(receiver.got) == 2

            await eventually(asks_again)
            assert receiver.got[1].json["event"] == "before_phase"

            async def waits() -> bool:
                status = await proxy.status()
                return "hook ask answered 403" in str(status["judgment"]) and status["phase"] == "canary"

            await eventually(waits)
            answer = await proxy.command("promote")  # a person goes past it, and the audit says so
            assert answer.status == 200
            assert "past: hook ask answered 403" in (await proxy.status())["reason"]


async def test_a_process_that_takes_over_repeats_nothing_and_ends_what_is_over(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    rule = {**RULE, "window": "1m"}
    async with receiving() as receiver:
        made = document(v1, v2, webhook(receiver, on=["rule"]), alerts={"rules": [rule]})
        async with dynasty(await start_proxy(made, tmp_path)) as line:
            v1.answer = v2.answer = answers.status("500 Internal Server Error")
            await requests(line.proxy, 30)
            await eventually(lambda: len(receiver.got) == 1)
            silence = await change(line.proxy, "POST", "/api/v1/silences", expires_in="1h", alerts=["phase"])
            assert silence.status == 200
            await line.succeed()
            here = await line.proxy.get("/api/v1/alerts")
            assert [one["subject"] for one in here["active"]] == ["errors"]
            assert [one["alerts"] for one in here["silences"]] == [["phase"]]
            await requests(line.proxy, 30)  # it fires here too
            v1.answer = v2.answer = answers.status("200 OK")
            await requests(line.proxy, 300)
            await eventually(lambda: len(receiver.got) > 1)
    fired, ended = [one.json for one in receiver.got]
    assert (fired["status"], ended["status"], ended["key"]) == ("firing", "resolved", fired["key"])


# ... mail that is not taken


def mail_sink(mailbox: Mailbox, **more: Any) -> MailSink:
    table = {"name": "mail", "kind": "email", "tls": "none", "from": "a@example.com", "to": ["b@example.com"]}
    made = {**table, "server": f"127.0.0.1:{mailbox.port}", "timeout": "5s", **more}
    return MailSink(Sink.read(made), None)


async def test_what_a_mail_server_refuses_for_good_is_not_tried_again() -> None:
    async with mail_server() as mailbox:
        mailbox.refusals = ["550 never"]
        with pytest.raises(MailError, match="answered 550"):
            await mail_sink(mailbox).send(message())
        assert (mailbox.refusals, mailbox.mails) == ([], [])
        await mail_sink(mailbox).send(message())
        assert len(mailbox.mails) == 1


async def test_a_mail_server_that_is_gone_or_says_later_is_given_up_in_time() -> None:
    async with mail_server() as mailbox:
        mailbox.refusals = ["451 later"] * 50
        with pytest.raises(MailError, match="answered 451"):
            await mail_sink(mailbox, timeout="1s").send(message())
        with pytest.raises(MailError, match=r"cannot be (spoken to|reached)|does not answer|did not take"):
            await mail_sink(mailbox, tls="tls", timeout="300ms").send(message())
    async with stopwatch() as watch:
        with pytest.raises(MailError, match="cannot be reached"):
            await mail_sink(mailbox, timeout="1s").send(message())
    assert watch.own_s < 3.0, watch


async def test_an_answer_that_comes_with_the_end_of_the_time_does_not_undo_the_end() -> None:
    """A cancellation that arrives with what is waited for may be lost (Python 3.11's `wait_for`)."""

    class Late(Mailbox):
        async def handle_MAIL(self, *_: Any) -> str:  # noqa: N802 - aiosmtpd's name
            end = time.perf_counter() + 1.0
            while time.perf_counter() < end:  # nobody in this process gets on: the two fall into one round
                pass
            return await super().handle_MAIL(*_)

    mailbox = Late(refusals=["451 later"] * 50)
    async with mail_server(mailbox=mailbox):
        with pytest.raises(MailError, match="answered 451"):
            await mail_sink(mailbox, timeout="1s").send(message())
    assert len(mailbox.refusals) == 49


async def test_a_mail_server_that_hangs_is_left_without_a_goodbye() -> None:
    asked = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await reader.readline()
        asked.set()
        await reader.read()  # to the end
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        table = {
            "name": "mail",
            "kind": "email",
            "tls": "none",
            "from": "a@example.com",
            "to": ["b@example.com"],
        }
        port = server.sockets[0].getsockname()[1]
        sink = MailSink(Sink.read({**table, "server": f"127.0.0.1:{port}", "timeout": "30s"}), None)
        sending = asyncio.create_task(sink.send(message()))
        await asked.wait()
        async with stopwatch() as watch:
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert watch.own_s < 2.0, watch


async def test_a_mail_server_without_starttls_gets_nothing() -> None:
    async with mail_server() as mailbox:
        with pytest.raises(MailError, match="cannot be spoken to"):
            await mail_sink(mailbox, tls="starttls").send(message())
        assert mailbox.mails == []


async def test_mail_goes_by_starttls_to_a_server_that_is_believed_and_to_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    believed, stranger = Authority(tmp_path, "believed"), Authority(tmp_path, "stranger")
    monkeypatch.setenv("SSL_CERT_FILE", str(believed.file))
    for authority in (believed, stranger):
        pair = authority.signs(["127.0.0.1"])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        async with mail_server(context) as mailbox:
            within = "30s" if authority is believed else "500ms"
            sending = mail_sink(mailbox, tls="starttls", timeout=within).send(message())
            if authority is believed:
                await sending
                assert len(mailbox.mails) == 1
            else:
                with pytest.raises(MailError):
                    await sending
                assert mailbox.mails == []
