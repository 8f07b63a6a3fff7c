"""A restart without downtime: one process starts its successor, hands the sockets on, and leaves.

Owns what the two say to each other, and when the older may go. Must never know what serves or decides.

The successor inherits copies of all listening sockets, so that what connects finds somebody at any moment.
They talk over a socket pair, one JSON document a line:

    older       {"state": …}      a state in force: all at first, then each that comes into force
                {"override": …}   a change of an override that is in force and waits for the store
                {"complete": […]} the first ones are all told; the endpoints that the probes found ill
    successor   {"ready": 1}      it serves requests by those states, and decides nothing yet
    older       {"state": …}      lets go of deciding: the last states, and what still waits of overrides
                {"alert": …}      an alert that lasts
                {"silence": …}    a silence that a person has made
                {"yours": 1}
    successor   {"up": 1}         it decides, and answers people: the older may drain and leave

There is one who decides at any moment, or none for as long as it takes to hand over. If the successor ends or
is silent before it is up, it is killed and the older goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import orjson
from pydantic import TypeAdapter

from proxy.controlplane.overrides import OverrideChange
from proxy.core.alert_book import ActiveAlert, Handed, Silence
from proxy.errors import StartError
from proxy.model import Path
from proxy.stores.records import decode_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.listening import Listeners
    from proxy.model import RolloutState

log = logging.getLogger("dualpath")

READY_WITHIN_S: Final = 60.0  # lists of a million users and a large store take their time
UP_WITHIN_S: Final = 15.0
_LINE_BYTES: Final = 1 << 20
_ENDS_WITHIN_S: Final = 5.0

Document = dict[str, object]

_CHANGE = TypeAdapter(OverrideChange)
_ALERT = TypeAdapter(ActiveAlert)
_SILENCE = TypeAdapter(Silence)


class Link:
    """One end of the conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.overrides: list[OverrideChange] = []
        self.alerts = Handed()
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Link:
        """The end that `sock` is."""
        return cls(*await asyncio.open_unix_connection(sock=sock, limit=_LINE_BYTES))

    def say(self, document: Document) -> None:
        """Send; to one who has gone, nothing."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps(document) + b"\n")

    def tell(self, state: RolloutState) -> None:
        """Send a state."""
        self.say({"state": state})

    def tell_override(self, change: OverrideChange) -> None:
        """Send a change of an override."""
        self.say({"override": change})

    async def hears(self, word: str, tell: Callable[[RolloutState], None], within_s: float) -> object:
        """What comes with `word`, when it comes; `tell` gets the states before it, and `overrides` are the
        changes of overrides before it, and `alerts` what came of these.

        Raises EOFError if the other has gone and TimeoutError if it is silent.
        """
        self.overrides = []
        async with asyncio.timeout(within_s):
            while True:
                line = await self._reader.readline()
                if not line:
                    raise EOFError(f"gone before {word}")
                document = orjson.loads(line)
                if word in document:
                    return document[word]
                if "state" in document:
                    tell(decode_state(document["state"]))
                elif "override" in document:
                    self.overrides.append(_CHANGE.validate_json(orjson.dumps(document["override"])))
                else:
                    self._hear_alerts(document)

    def _hear_alerts(self, document: Document) -> None:
        """Another version of ours may tell more, or less: that is no reason not to take over."""
        heard = self.alerts
        try:
            if "alert" in document:
                alert = _ALERT.validate_json(orjson.dumps(document["alert"]))
                self.alerts = replace(heard, active=(*heard.active, alert))
            elif "silence" in document:
                silence = _SILENCE.validate_json(orjson.dumps(document["silence"]))
                self.alerts = replace(heard, silences=(*heard.silences, silence))
        except ValueError:
            log.warning("restart: an alert of the process before cannot be read")

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


# ... the successor's side


class Predecessor:
    """The process that this one takes over from; `unhealthy` are endpoints that its probes found ill,
    `overrides` the changes that could not be stored there when it was last heard, `alerts` what lasts of
    its alerts."""

    def __init__(self, link: Link) -> None:
        self.unhealthy: list[tuple[Path, str]] = []
        self.overrides: list[OverrideChange] = []
        self.alerts = Handed()
        self._link = link
        self._last: dict[str, RolloutState] = {}

    async def states(self) -> list[RolloutState]:
        """What is in force there. Raises `StartError` if it does not tell."""
        ill = await self._hears("complete", lambda state: self._last.update({state.name: state}))
        if isinstance(ill, list):
            self.unhealthy = [(Path(path), str(url)) for path, url in ill]
        return list(self._last.values())

    async def relieve(self, follow: Callable[[RolloutState], None]) -> list[RolloutState]:
        """Say that requests are served here; `follow` gets what is decided there until it lets go. Returns
        the last states of all that were told. If it has died, so be it. Raises `StartError`."""

        def heard(state: RolloutState) -> None:
            self._last[state.name] = state
            follow(state)

        self._link.say({"ready": 1})
        await self._hears("yours", heard)
        return list(self._last.values())

    def dismiss(self) -> None:
        """Say that everything is taken over."""
        self._link.say({"up": 1})

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    async def _hears(self, word: str, tell: Callable[[RolloutState], None]) -> object:
        try:
            answer = await self._link.hears(word, tell, UP_WITHIN_S)
        except TimeoutError:  # an OSError too, and the one that does not mean that it is dead
            raise StartError(f"the process before has not handed over within {UP_WITHIN_S:g} s") from None
        except (EOFError, OSError):
            log.warning("restart: the process before has gone without a word; this one goes on alone")
            return None
        self.overrides, self.alerts = self._link.overrides, self._link.alerts
        return answer


# ... the older side


class Office(Protocol):
    """What is handed over: deciding."""

    def states(self) -> Sequence[RolloutState]:
        """What is in force."""

    def overrides(self) -> Sequence[OverrideChange]:
        """The changes of overrides that are in force and wait for the store."""

    def alerts(self) -> Handed:
        """What lasts of alerts, and people's silences, once deciding is let go."""

    def unhealthy(self) -> Sequence[tuple[Path, str]]:
        """The endpoints that the probes found ill."""

    def relay(self, listener: Callable[[RolloutState], None] | None) -> None:
        """From now on `listener` is told of what comes into force."""

    async def let_go(self) -> Sequence[RolloutState]:
        """Decide nothing more; the last states."""

    async def take_up(self) -> None:
        """There is no successor after all: decide again, if that was let go."""


async def successor(office: Office, listeners: Listeners, environ: Mapping[str, str]) -> int | None:
    """Start a successor of this process and hand over. Returns its process id; None if that failed, and then
    all is as it was."""
    if os.getpid() == 1:
        log.error("restart: this is the first process of its container, which would end with it")
        return None
    command = again(sys.executable, sys.orig_argv)
    try:
        ours, process = _started(command, listeners, environ)
    except OSError as error:
        log.error("restart: cannot start %s: %s", command[0], error.strerror or error)
        return None
    log.info("restart: process %d is to take over", process.pid)
    conversation = _HandOver(office, await Link.over(ours))
    try:
        trouble = await conversation.trouble()
        if not trouble:
            log.info("restart: process %d has taken over", process.pid)
            return process.pid
        log.error("restart: process %d %s; this one goes on", process.pid, trouble)
        return None
    finally:
        await conversation.end(process)


class _HandOver:
    """One attempt, from the older process's side."""

    def __init__(self, office: Office, link: Link) -> None:
        self._office = office
        self._link = link
        self._is_over = False

    async def trouble(self) -> str:
        """Why it came to nothing; empty if the successor is up."""
        try:
            await self._begin()
            await self._link.hears("ready", _ignore, READY_WITHIN_S)
            for state in await self._office.let_go():
                self._link.tell(state)
            self._tell_overrides()
            self._tell_alerts()
            self._link.say({"yours": 1})
            await self._link.hears("up", _ignore, UP_WITHIN_S)
        except TimeoutError:
            return "is not done in time"
        except (EOFError, OSError):
            return "has ended before it was done, its own last lines say why"
        self._is_over = True
        return ""

    async def _begin(self) -> None:
        self._office.relay(self._link.tell)
        for state in self._office.states():
            self._link.tell(state)
        self._tell_overrides()
        self._link.say({"complete": self._office.unhealthy()})

    def _tell_overrides(self) -> None:
        for change in self._office.overrides():
            self._link.tell_override(change)

    def _tell_alerts(self) -> None:
        handed = self._office.alerts()
        for alert in handed.active:
            self._link.say({"alert": alert})
        for silence in handed.silences:
            self._link.say({"silence": silence})

    async def end(self, process: subprocess.Popen[bytes]) -> None:
        """Unless the successor is up, end it, and only then hang up and decide again: as long as the line is
        open it does not take us for dead."""
        self._office.relay(None)
        if not self._is_over:
            await asyncio.to_thread(_ended, process)
        self._link.close()
        if not self._is_over:
            await self._office.take_up()


def again(executable: str, typed: Sequence[str]) -> list[str]:
    """The command that was `typed`, by which interpreter it may run.

    A script (`dualpath`) is started by itself: its first line names its own interpreter, which after an
    upgrade behind a link is another one than ours.
    """
    if len(typed) > 1 and os.sep in typed[1] and _is_script(typed[1]):
        return list(typed[1:])
    return [executable, *typed[1:]]


def _is_script(file: str) -> bool:
    try:
        with open(file, "rb") as opened:
            return opened.read(2) == b"#!" and os.access(file, os.X_OK)
    except OSError:
        return False


def _started(
    command: Sequence[str], listeners: Listeners, environ: Mapping[str, str]
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """That command once more, and our end of the line to it."""
    ours, theirs = socket.socketpair()
    try:
        passed = [sock.fileno() for sock in (*listeners.serving, *listeners.administering, theirs)]
        process = subprocess.Popen(  # noqa: S603 - our own command, once more
            command,
            env={**environ, **listeners.told(theirs, os.getpid())},
            pass_fds=passed,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return ours, process


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ignore(state: RolloutState) -> None:
    """A successor that tells states has nothing to say."""
