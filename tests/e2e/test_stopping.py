"""`dualpath emergency-stop` on its short road: it asks as the long one does, and waits for no import."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.stopping import Stop, StopInDoubtError, ask, plainly_stopped
from tests.e2e.proxy_process import PYTHON, REPOSITORY, config, run, running_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.proxy_process import Table
    from tests.e2e.raw_backend import RawBackend

TOKEN = "a-token-of-an-operator"
OPERATOR = {"name": "tess", "role": "operator", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
WATCHED = """
import sys
from proxy.cli import main
code = main(sys.argv[1:])
slow = {"aiohttp", "asyncio", "pydantic", "typer"} & set(sys.modules)
sys.exit(f"it has waited for {slow}" if slow else code)
"""


def document(v1: RawBackend, v2: RawBackend, **tables: Table) -> Table:
    return config(v1.url, v2.url, rollout={"percentage": 50}, **tables)


async def stopped(stop: Stop | None) -> list[str]:
    """The rollouts that were stopped, as another thread asks."""
    assert stop is not None
    answer = await asyncio.to_thread(ask, stop)
    assert answer is not None
    return [one["name"] for one in answer["stopped"]]


async def test_it_stops_everything_and_waits_for_no_import(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    async with running_proxy(document(v1, v2), tmp_path) as proxy:
        process = await asyncio.create_subprocess_exec(
            *(PYTHON, "-c", WATCHED, "emergency-stop", "--reason", "smoke", f"--admin={proxy.admin_url}"),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
        assert out == b"default: rolled_back at 0%, revision 2\n"
        status = await proxy.status()
        assert (status["state"], status["reason"]) == ("rolled_back", "smoke")


async def test_it_comes_over_a_unix_socket_and_with_a_token(
    v1: RawBackend, v2: RawBackend, tmp_path: Path
) -> None:
    admin = {"address": f"unix:{tmp_path}/admin.sock", "tokens": [OPERATOR]}
    async with running_proxy(document(v1, v2, admin=admin), tmp_path) as proxy:
        said = ["emergency-stop", "--admin", proxy.admin_url]
        refused = plainly_stopped(said, {"DUALPATH_TOKEN": "wrong"})
        assert refused is not None
        assert await asyncio.to_thread(ask, refused) is None
        assert await stopped(plainly_stopped([*said, "--token", TOKEN], {})) == ["default"]
        assert TOKEN not in repr(plainly_stopped([*said, "--token", TOKEN], {}))


async def test_what_it_cannot_do_the_long_road_says(tmp_path: Path) -> None:
    finished = await run("emergency-stop", "--admin", "http://127.0.0.1:1", directory=tmp_path)
    assert finished.code == 1
    assert finished.complaint == [
        "dualpath: error: cannot reach the admin API at http://127.0.0.1:1: Connection refused"
    ]


@asynccontextmanager
async def answering(*pieces: bytes, every_s: float = 0.0) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Where somebody answers in these pieces and hangs up, and whether it has been asked."""
    asked = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(every_s)
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


def at(url: str) -> Stop:
    stop = plainly_stopped(["emergency-stop"], {"DUALPATH_ADMIN": url})
    assert stop is not None
    return stop


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n", b'{"stopped": []}'),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1%s\r\n\r\n{}" % (b"0" * 15),),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1%s\r\n\r\n{}" % (b"0" * 40),),
        (b"SSH-2.0-OpenSSH\r\n",),
    ],
)
async def test_an_answer_that_does_not_come_leaves_it_in_doubt(pieces: tuple[bytes, ...]) -> None:
    async with answering(*pieces) as (url, _):
        with pytest.raises(StopInDoubtError, match="it may have been carried out, see `dualpath status`"):
            await asyncio.to_thread(ask, at(url))


async def test_an_answer_in_small_pieces_has_to_end_in_time_all_the_same() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
    async with answering(head, *[b" "] * 900, every_s=0.05) as (url, _):
        with pytest.raises(StopInDoubtError, match="timed out"):
            await asyncio.wait_for(asyncio.to_thread(ask, at(url), answer_s=0.3), 20)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"stopped": 5}', b"\x80", b'{"title": "t"}'])
async def test_what_is_no_answer_of_the_admin_is_left_to_the_long_road(body: bytes) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body) as (url, _):
        assert await asyncio.to_thread(ask, at(url)) is None


async def test_ctrl_c_leaves_it_in_doubt_and_ends_as_ctrl_c_does() -> None:
    async with answering(b"HTTP/1.1", *[b""] * 600, every_s=0.1) as (url, asked):
        process = await asyncio.create_subprocess_exec(
            *(PYTHON, "-m", "proxy", "emergency-stop", "--admin", url),
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        await asyncio.wait_for(asked.wait(), 60)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (130, b"")
        assert err.decode() == (
            f"dualpath: error: the admin API at {url} has not answered: KeyboardInterrupt; "
            "it may have been carried out, see `dualpath status`\n"
        )


async def test_a_name_that_cannot_be_one_is_told_as_such(tmp_path: Path) -> None:
    finished = await run("emergency-stop", "--admin", "http://a..b:9900", directory=tmp_path)
    assert finished.code == 2
    assert "must be an address such as http://127.0.0.1:9900" in finished.complaint[0]


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["status"], {}),
        (["emergency-stop", "--help"], {}),
        (["emergency-stop", "--reason"], {}),
        (["--reason", "emergency-stop", "pause"], {}),
        (["emergency-stop", "emergency-stop"], {}),
        (["--reason", "x", "emergency-stop"], {}),
        (["--admin", "http://127.0.0.1:1", "emergency-stop", "--admin", ""], {}),
        (["emergency-stop", "--token="], {}),
        (["emergency-stop", "--reason", "\udcff"], {}),
        (["emergency-stop", "--admin", "https://127.0.0.1:9900"], {}),
        (["emergency-stop", "--admin", "http://you@127.0.0.1:9900"], {}),
        (["emergency-stop", "--admin", "http://127.0.0.1:x"], {}),
        (["emergency-stop", "--admin", "unix:relative"], {}),
        (["emergency-stop", "--token", "two words"], {}),
        (["emergency-stop"], {"DUALPATH_CERT": "me.pem"}),
    ],
)
def test_what_is_not_plain_is_left_to_the_long_road(arguments: list[str], environ: dict[str, str]) -> None:
    assert plainly_stopped(arguments, environ) is None


def test_a_port_is_the_one_that_was_said() -> None:
    assert at("http://127.0.0.1:0").port == 0
    assert at("http://127.0.0.1").port == 80


def test_what_is_plain_is_read_as_the_long_road_reads_it() -> None:
    environ = {"DUALPATH_ADMIN": "http://[::1]:9901/", "DUALPATH_TOKEN": "t"}
    assert plainly_stopped(["emergency-stop"], {}) == Stop(
        "http://127.0.0.1:9900", "127.0.0.1", 9900, "", "", ""
    )
    assert plainly_stopped(["--token=u", "emergency-stop", "--reason=x=y"], environ) == Stop(
        "http://[::1]:9901/", "::1", 9901, "", "x=y", "u"
    )
