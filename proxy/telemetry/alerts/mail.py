"""Alerts by electronic mail: one mail for each, handed to a mail server by SMTP.

Owns the mail's form, and when the server is asked again. Must never know a queue.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

import aiosmtplib
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

from proxy.config.fields import split_host_port
from proxy.errors import DualpathError
from proxy.telemetry.alerts.sinks import Chosen

if TYPE_CHECKING:
    from proxy.config.alerts import Sink
    from proxy.telemetry.alerts.message import Message

_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 5.0
_GOODBYE_S: Final = 1.0


class MailError(DualpathError):
    """The mail server has not taken it; the message says why."""


class MailSink(Chosen):
    """A mail server."""

    def __init__(self, table: Sink, password: str | None) -> None:
        super().__init__(table)
        self._table = table
        self._password = password

    async def send(self, message: Message) -> None:
        """As `Sink.send`. What the server refuses for good (5xx) is not tried again."""
        mail = written(message, str(self._table.sender), self._table.to or ())
        within_s = min(self._table.timeout_s, message.within_s)
        trouble = f"did not take it within {within_s:g} s"
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_exponential(_FIRST_WAIT_S, max=_LONGEST_WAIT_S) + wait_random(0, _FIRST_WAIT_S),
            # The time-out's cancellation is lost where it comes together with an answer: the library waits by
            # asyncio.wait_for, which in Python 3.11 then prefers the answer.
            stop=stop_after_delay(within_s),
            reraise=True,
        )
        try:
            async with asyncio.timeout(within_s):
                async for attempt in retrying:
                    with attempt:
                        try:
                            await self._send_once(mail)
                        except (aiosmtplib.SMTPException, OSError) as error:
                            trouble = _words(error)
                            raise
        except TimeoutError:
            raise MailError(trouble) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise MailError(trouble) from error

    async def _send_once(self, mail: EmailMessage) -> None:
        table = self._table
        host, port = split_host_port(str(table.server))
        client = aiosmtplib.SMTP(
            hostname=host,
            port=port,
            username=table.username,
            password=self._password,
            use_tls=table.tls == "tls",
            start_tls=table.tls == "starttls",
            timeout=table.timeout_s,
        )
        try:
            await client.connect()
            refused, _ = await client.send_message(mail)
            with suppress(aiosmtplib.SMTPException, TimeoutError):  # it is taken, whatever comes now
                async with asyncio.timeout(_GOODBYE_S):
                    await client.quit()
        finally:  # without a goodbye to one that hangs: nobody waits for it a second time
            client.close()
        if refused:  # the others have it: it is not sent to them again
            raise MailError(f"refuses {', '.join(refused)}")


def written(message: Message, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The mail: plain text, told from a person's by Auto-Submitted (RFC 3834)."""
    notice = message.notice
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = ", ".join(to)
    mail["Subject"] = f"[dualpath] {notice.severity}: {message.title}"[:200]
    mail["Date"] = format_datetime(datetime.fromtimestamp(notice.at, UTC))
    mail["Message-ID"] = f"<{message.id}@dualpath>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{message.text}\n")
    return mail


def _may_pass(error: BaseException) -> bool:
    """Whether it may be otherwise in a moment: no answer, or one that says "later" (4xx)."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(_may_pass(one) for one in error.recipients)
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return 400 <= error.code < 500
    passing = (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPConnectError, aiosmtplib.SMTPTimeoutError)
    return isinstance(error, (*passing, OSError))


def _words(error: Exception) -> str:
    """Why, without what the server has said, which may hold anything."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return f"refuses {', '.join(one.recipient for one in error.recipients)}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return f"does not know us: {error.code}"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"answered {error.code}"
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return "does not answer"
    if isinstance(error, OSError):
        return "cannot be reached"
    return "cannot be spoken to: " + type(error).__name__
