"""Those who get alerts, as real servers on loopback: webhooks over HTTP, and mail over SMTP.

Owns listening and what came. A test says by `answer` what an HTTP receiver does: a status, or to hang.
"""

from __future__ import annotations

import asyncio
import hmac
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from email.message import EmailMessage

HANG = 0


@dataclass(frozen=True, slots=True)
class Got:
    """One POST, as it came."""

    path: str
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Whether the signature is that of Standard Webhooks, computed here anew."""
        stamp = f"{self.fields['webhook-id']}.{self.fields['webhook-timestamp']}.".encode()
        mac = hmac.digest(secret.encode(), stamp + self.body, "sha256")
        return self.fields.get("webhook-signature") == f"v1,{b64encode(mac).decode()}"


@dataclass
class Receiver:
    """An HTTP server that keeps what is POSTed to it, by path."""

    port: int = 0
    answer: int = 200
    got: list[Got] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def at(self, path: str) -> list[Got]:
        return [one for one in self.got if one.path == f"/{path}"]

    async def take(self, request: web.Request) -> web.Response:
        fields = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.path, fields, await request.read()))
        if self.answer == HANG:
            await self.released.wait()
        return web.Response(status=self.answer or 200)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver for a while."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()


@dataclass
class Mailbox:
    """What a mail server was given: envelope and mail. `refusals` are its answers to the next MAIL FROM."""

    port: int = 0
    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        mail: Any = message_from_bytes(envelope.content, policy=default)
        self.mails.append((list(envelope.rcpt_tos), mail))
        return "250 taken"


@asynccontextmanager
async def mail_server(
    starttls: ssl.SSLContext | None = None, mailbox: Mailbox | None = None
) -> AsyncIterator[Mailbox]:
    """aiosmtpd, which speaks SMTP to the letter, for a while; with a context it takes mail over TLS alone."""
    mailbox, loop = mailbox or Mailbox(), asyncio.get_running_loop()

    def meet() -> SMTP:
        has_tls = starttls is not None
        return SMTP(mailbox, hostname="mail.test", tls_context=starttls, require_starttls=has_tls)

    server = await loop.create_server(meet, "127.0.0.1", 0)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()
