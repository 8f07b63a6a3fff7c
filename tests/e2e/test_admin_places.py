"""Where else a running proxy can be administered: a UNIX socket, and over TLS."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import stat
from typing import TYPE_CHECKING

from proxy.admin_client import AdminApiError, TlsFiles, open_admin
from tests.certificates import Authority
from tests.e2e.proxy_process import config, run, running_proxy, start_proxy
from tests.e2e.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.proxy_process import ProxyProcess

NOWHERE = "http://127.0.0.1:1"
TOKEN = "operator-token"


async def answers(proxy: ProxyProcess) -> bool:
    try:
        async with open_admin(proxy.admin_url, None, TlsFiles()) as api:
            return bool((await api.status())["workers"] == 1)
    except AdminApiError:
        return False


async def test_a_unix_socket_is_for_its_owner_and_outlives_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    document = config(NOWHERE, NOWHERE, admin={"address": f"unix:{path}"})
    proxy = await start_proxy(document, tmp_path)
    assert proxy.admin_url == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await answers(proxy)
    paused = await run("rollout", "pause", directory=tmp_path, DUALPATH_ADMIN=f"unix:{path}")
    assert paused.code == 0, paused

    await proxy.kill()
    assert path.exists()
    assert not await answers(proxy)
    async with running_proxy(document, tmp_path) as proxy:
        assert await answers(proxy)


async def test_over_tls_the_client_verifies_whom_it_gives_its_token(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    mine = authority.signs(subject="operator")
    both = tmp_path / "mine.pem"
    both.write_bytes(mine.certificate.read_bytes() + mine.key.read_bytes())
    ca, cert = str(authority.file), str(both)
    admin = {
        "tokens": [{"name": "bob", "role": "operator", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
        "tls": {
            "certificates": [authority.signs(["127.0.0.1"]).table],
            "client_ca": ca,
            "client_auth": "required",
        },
    }
    async with running_proxy(config(NOWHERE, NOWHERE, admin=admin), tmp_path) as proxy:
        url = proxy.admin_url.replace("http:", "https:")

        async def ask(url: str, tls: TlsFiles) -> str:
            try:
                async with open_admin(url, TOKEN, tls) as api:
                    return str((await api.status())["workers"])
            except AdminApiError as error:
                return str(error)

        assert await ask(url, TlsFiles(ca, cert)) == "1"
        assert "cannot show that it is the admin API" in await ask(url, TlsFiles(None, cert))
        assert "none.pem" in await ask(url, TlsFiles(str(tmp_path / "none.pem"), cert))
        assert url in await ask(url, TlsFiles(ca))
        assert proxy.admin_url in await ask(proxy.admin_url, TlsFiles(ca, cert))


async def test_a_restart_without_downtime_hands_the_unix_socket_on(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    document = config(
        NOWHERE, NOWHERE, admin={"address": f"unix:{path}"}, store={"url": f"sqlite:///{tmp_path}/state.db"}
    )
    proxy = await start_proxy(document, tmp_path)
    inode = path.stat().st_ino
    children = proxy.tree()
    proxy.process.send_signal(signal.SIGUSR2)

    def replaced() -> bool:
        return proxy.process.returncode is not None

    await eventually(lambda: len(proxy.tree()) > len(children))
    (successor,) = (one for one in proxy.tree() if one not in children)
    try:
        await eventually(replaced)
        assert path.stat().st_ino == inode
        assert await answers(proxy)
    finally:
        successor.terminate()
        await asyncio.to_thread(successor.wait, 10)
