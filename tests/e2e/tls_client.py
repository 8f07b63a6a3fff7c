"""TLS towards the proxy: connections of the harness over TLS, and `openssl s_client` as a stranger's tool.

Owns how a handshake is asked for. What is then said is `raw_client`'s.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.e2e.raw_client import LIMIT_S, RawClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.certificates import Pair
    from tests.e2e.raw_client import Address

OPENSSL = shutil.which("openssl")


def trusting(authority: Path | None, identity: Pair | None = None) -> ssl.SSLContext:
    """A client's context that believes this authority, or anybody, and may show a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(authority)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


@asynccontextmanager
async def secured(
    address: Address, context: ssl.SSLContext, name: str | None = "localhost", *, source: str | None = None
) -> AsyncIterator[RawClient]:
    """A connection over TLS, from the address `source`, that is closed at the end."""
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(
            *address,
            ssl=context,
            server_hostname=name or "",
            limit=1 << 18,
            local_addr=None if source is None else (source, 0),
        ),
        LIMIT_S,
    )
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


def shown(client: RawClient) -> ssl.SSLObject:
    """The session of such a connection."""
    session: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    return session


def subject_of(session: ssl.SSLObject) -> str:
    """The common name in the certificate that the other side has shown."""
    certificate: Any = session.getpeercert()
    [[(_, name)]] = certificate["subject"]
    return str(name)


async def s_client(address: Address, *arguments: str, says: bytes = b"") -> tuple[int, str]:
    """`openssl s_client` to its end: exit code and all that it prints."""
    assert OPENSSL is not None
    process = await asyncio.create_subprocess_exec(
        OPENSSL,
        "s_client",
        "-connect",
        f"{address[0]}:{address[1]}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(says), LIMIT_S)
    return process.returncode or 0, output.decode("utf-8", "replace")
