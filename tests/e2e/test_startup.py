"""What cannot work says so in one clear line, exits non-zero, and changes nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from tests.e2e.proxy_process import Finished, ProxyProcess, Table, config, run, toml
from tests.e2e.raw_client import LIMIT_S, fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.raw_backend import RawBackend

ANYWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def settings() -> dict[str, Table]:
    return {"rollout": {"percentage": 30}}


async def test_impossible_percentages_are_refused_and_change_nothing(
    proxy: ProxyProcess, tmp_path: Path
) -> None:
    before = await proxy.status()
    refused = await asyncio.gather(
        *(
            run("rollout", "set", "--admin", proxy.admin_url, "--", percentage, directory=tmp_path)
            for percentage in ("101", "-1", "nan", "12.3456", "many")
        )
    )
    for done in refused:
        in_one_line(done)
    in_one_line(refused[0], "101", "100")
    after = await proxy.status()
    assert (after["percentage"], after["revision"]) == (before["percentage"], before["revision"])


async def test_the_admin_api_refuses_101_too(proxy: ProxyProcess) -> None:
    answer = await proxy.command("set", percentage=101)
    assert answer.status in {400, 422}
    assert (answer.get(b"content-type") or b"").startswith(b"application/problem+json")
    assert (await proxy.status())["percentage"] == 30


async def test_an_unreachable_admin_is_told_in_one_line(tmp_path: Path) -> None:
    done = await run("status", "--admin", ANYWHERE, directory=tmp_path)
    in_one_line(done, "127.0.0.1:9")


async def test_a_taken_port_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        for table in ("listen", "admin"):
            in_one_line(
                await serve(config(ANYWHERE, ANYWHERE, **{table: {"address": address}}), tmp_path), address
            )


async def test_a_proxys_own_port_is_not_shared_with_a_second_one(
    proxy: ProxyProcess, v1: RawBackend, tmp_path: Path
) -> None:
    """SO_REUSEPORT among workers must not let a stranger steal half of the connections."""
    address = "{}:{}".format(*proxy.listen)
    in_one_line(await serve(config(ANYWHERE, ANYWHERE, listen={"address": address}), tmp_path), address)
    for _ in range(10):
        assert (await fetch(proxy.listen)).status == 200


async def test_a_store_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "such" / "state.db"
    done = await serve(config(ANYWHERE, ANYWHERE, store={"url": f"sqlite:///{missing}"}), tmp_path)
    in_one_line(done, str(missing))


async def test_a_store_that_is_none_is_told_in_one_line_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    content = b"this is somebody's letter, not a database\n" * 200
    file.write_bytes(content)
    done = await serve(config(ANYWHERE, ANYWHERE, store={"url": f"sqlite:///{file}"}), tmp_path)
    in_one_line(done, str(file))
    assert file.read_bytes() == content


async def test_a_file_that_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    done = await run("serve", "-c", "nowhere.toml", directory=tmp_path)
    in_one_line(done, "nowhere.toml", code=2)


async def test_a_file_that_is_no_toml_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[listen\naddress = 1\n")
    done = await run("serve", "-c", "bad.toml", directory=tmp_path)
    in_one_line(done, "bad.toml", code=2)


async def test_every_wrong_value_is_told_at_once_with_its_path(tmp_path: Path) -> None:
    document = config(ANYWHERE, "ftp://127.0.0.1:1", rollout={"percentage": 101, "colour": "red"})
    document["listen"]["header_timeout"] = 10
    (tmp_path / "bad.toml").write_text(toml(document))
    for done in await asyncio.gather(
        run("serve", "-c", "bad.toml", directory=tmp_path), run("check", "bad.toml", directory=tmp_path)
    ):
        assert done.code == 2, done
        assert "Traceback" not in done.stderr
        for path in ("backends.v2.endpoints", "percentage", "colour", "listen.header_timeout"):
            assert path in done.stderr + done.stdout, path


async def test_an_environment_override_takes_effect_and_is_checked(tmp_path: Path) -> None:
    document = config(ANYWHERE, ANYWHERE)
    done = await serve(document, tmp_path, DUALPATH__LISTEN__ADDRESS="nowhere")
    in_one_line(done, "listen.address", code=2)


async def serve(document: Table, directory: Path, **environment: str) -> Finished:
    """`serve` on a configuration that cannot work, to its end."""
    (directory / "proxy.toml").write_text(toml(document))
    return await run("serve", "-c", "proxy.toml", directory=directory, within_s=LIMIT_S, **environment)


def in_one_line(done: Finished, *says: str, code: int | None = None) -> None:
    """One line on standard error that names the trouble, a non-zero exit, and no ready line."""
    assert done.code != 0 if code is None else done.code == code, done
    assert len(done.complaint) == 1, done.stderr
    assert "ready" not in done.stdout
    for word in says:
        assert word in done.complaint[0], done.stderr
