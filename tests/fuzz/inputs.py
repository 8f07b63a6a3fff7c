"""Targets: what files, our own processes and people at the admin say: one sort of error, or a sound value.

Each takes one input and raises if a rule is broken. A library's own exception is a broken rule.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from proxy.admin.inputs import read_command, read_event_query, read_explain_query
from proxy.admin.problems import RefusedError
from proxy.channel import Channel
from proxy.config.export import redacted, whole
from proxy.config.loading import parse
from proxy.config.schema import Config
from proxy.core import delta
from proxy.core.field_line import FieldLine, FieldName
from proxy.core.keys import KeyReader, client_address
from proxy.core.minute import Minute
from proxy.core.override import plain, sign, verify
from proxy.core.proxy_protocol import Header, HeaderError, read_header
from proxy.core.tally import Tally
from proxy.errors import ConfigError, RevisionConflict, StoreCorrupt, WireError
from proxy.judgment import Verdict
from proxy.model import BUCKETS, State, Verb
from proxy.model import Path as Version
from proxy.orders import read_state, read_unhealthy
from proxy.stores.minute_records import encode_minute
from proxy.stores.sqlite import SqliteStore
from proxy.stores.sqlite_minutes import SqliteMinutes
from tests.fuzz.documents import Choices, document, environment
from tests.fuzz.plane import play, split
from tests.stores.states import NEW, step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.model import RolloutState

SECRET = "sixteen letters!"
_TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
_KEYS = KeyReader(["header:X-User", "cookie:uid", "client_ip"])
_VERBS = list(Verb)
_EXPIRES = 1_700_000_000
SIGNED = sign(SECRET, "a", Version.V2, _EXPIRES).encode()
"""The only override that is believed."""


# ... files


def configuration_text(data: bytes) -> None:
    """Any text is a configuration or a list of what is wrong with it."""
    _config(data.decode("utf-8", "replace"), {})


def configuration(data: bytes) -> None:
    """The same with tables and keys that exist, and with overrides from the environment."""
    choices = Choices(data)
    text = document(choices)
    _config(text, environment(choices))


def _config(text: str, environ: Mapping[str, str]) -> None:
    try:
        config = parse(text, environ)
    except ConfigError as error:
        _is_said(error)
        return
    assert Config.read(whole(config)) == config, "a worker would be told something else"
    json.dumps(redacted(config), allow_nan=False)


def _is_said(error: ConfigError) -> None:
    assert error.problems, "refused, and nothing said"
    assert all("\n" not in f"{place}{what}" for place, what in error.problems), error.problems


_MINUTE = Minute("a", 60.0, 60.0, State.RUNNING, 5, None, Verdict.PASS, Tally())
_ROWS = (
    (
        "rollouts",
        "name, state, weight, phase, revision, since, reason",
        ("a", "running", 5, None, 1, 1.0, "r"),
    ),
    ("events", "seq, rollout, record", (1, "a", "{}")),
    ("chain", "id, seq, hash, adopted, adopting", (1, 1, "0" * 64, 0, 0)),
    ("overrides", "rollout, key, path, actor, at, expires_at, reason", ("a", "u", "v2", "p", 1.0, None, "r")),
    ("minutes", "rollout, at, record", ("a", 60.0, encode_minute(_MINUTE))),
)
COLUMNS = tuple(len(sound) for _, _, sound in _ROWS)
"""Of each table that is spoilt, in their order."""


def store_content(data: bytes) -> None:
    """Whatever stands in the rows of our file: it is read, or it is StoreCorrupt; and what is written next is
    written, or refused with an error of ours."""
    choices = Choices(data)
    with tempfile.TemporaryDirectory(prefix="dualpath-fuzz-") as directory:
        path = Path(directory) / "s.db"
        path.write_bytes(_sound_file())
        with closing(sqlite3.connect(path)) as db:
            for table, names, sound in _ROWS:
                row = [value if choices.byte() % 3 else _cell(choices) for value in sound]
                places = ", ".join("CAST(? AS TEXT)" if choices.byte() % 8 == 7 else "?" for _ in row)
                with suppress(sqlite3.IntegrityError):
                    db.execute(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({places})", row)  # noqa: S608
            db.commit()
        play(_read(path))


def _cell(choices: Choices) -> object:
    kind, value = choices.byte() % 9, choices.byte()
    text = bytes(choices.byte() for _ in range(value % 24))
    record = step(NEW, weight=value)
    return (
        *(
            None,
            value - 128,
            (value - 128) << 55,
            (value - 128) / 7,
            float("inf"),
            text,
            text.decode("latin-1"),
        ),
        *(["running", "rolled_back", "paused", "a" * 9000][value % 4], json.dumps({"before": str(record)})),
    )[kind]


@functools.cache
def _sound_file() -> bytes:
    with tempfile.TemporaryDirectory(prefix="dualpath-fuzz-") as directory:
        play(_create(Path(directory) / "s.db"))
        return (Path(directory) / "s.db").read_bytes()


async def _create(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit(step(NEW, weight=1))
    await store.close()


async def _read(path: Path) -> None:
    store = SqliteStore(path)
    minutes = SqliteMinutes(store)
    try:
        await store.open()
        states: Mapping[str, RolloutState] = {}
        with suppress(StoreCorrupt):
            states = await store.load()
        assert all(
            0 <= state.weight <= BUCKETS and isinstance(state.reason, str) for state in states.values()
        )
        with suppress(StoreCorrupt):
            await store.events(after=-1)
        with suppress(StoreCorrupt):
            assert all(isinstance(override.path, Version) for override in await store.overrides())
        with suppress(StoreCorrupt):
            assert all(minute.rollout == "a" for minute in await minutes.between("a", 0.0, 3600.0, 9))
        page = await store.records()
        assert all(isinstance(record.text, str) for record in page.records)
        with suppress(StoreCorrupt, RevisionConflict):
            await store.commit(step(NEW, weight=2))
        with suppress(StoreCorrupt):
            await minutes.prune(3600.0, 9)
    finally:
        await store.close()


# ... processes of our own


def report(data: bytes) -> None:
    """A worker's report is taken in whole or refused; what is taken in is written as it was."""
    found = _json(data)
    try:
        taken = delta.read(found)
    except WireError as error:
        _is_short(error)
        return
    assert delta.read(delta.written(taken)) == taken
    sides = [side for rollout in taken.rollouts for side in (rollout.tally.v1, rollout.tally.v2)]
    assert all(side.latency.count == side.requests >= sum(side.errors) for side in sides)


def _is_short(error: WireError) -> None:
    assert len(str(error)) < 500, "the error repeats what was sent"


def frames(data: bytes) -> None:
    """Frames in any reads: objects, the end, or WireError; each order's parts are read or refused."""
    reads, payload = split(data)
    assert play(_frames(reads)) == play(_frames([payload])), "where a read ends makes a difference"


async def _frames(reads: list[bytes]) -> list[object]:
    reader = asyncio.StreamReader()
    channel = Channel(reader, None, most_bytes=1 << 16)  # type: ignore[arg-type]
    found: list[object] = []

    async def receive() -> None:
        try:
            while (frame := await channel.receive()) is not None:
                found.append(json.dumps(frame))
                _order(frame)
        except WireError:
            found.append("no frame")

    receiving = asyncio.ensure_future(receive())
    for read in reads:
        reader.feed_data(read)
        await asyncio.sleep(0)
    reader.feed_eof()
    await receiving
    return found


def _order(frame: dict[str, Any]) -> None:
    with suppress(WireError):
        state = read_state(frame.get("state"))
        assert 0 <= state.weight <= BUCKETS
    with suppress(WireError):
        assert all(isinstance(path, Version) for path, _ in read_unhealthy(frame.get("unhealthy")))


# ... clients and people


def proxy_header(data: bytes) -> None:
    """A balancer's header is the same however much of it is there, or none; it names an address or nobody."""
    found = [_header(data[:size]) for size in range(len(data) + 1)]
    settled = [header for header in found if header is not None]
    assert found == [None] * (len(found) - len(settled)) + settled, "undecided after a decision"
    assert len(set(settled)) <= 1, f"another header with more of it: {settled}"
    if settled and not isinstance(settled[0], str):
        assert 0 < settled[0].size <= 16 + 0xFFFF
        assert not settled[0].client or ipaddress.ip_address(settled[0].client).version in {4, 6}


def _header(data: bytes) -> Header | str | None:
    try:
        return read_header(data)
    except HeaderError:
        return "none"


def override_value(data: bytes) -> None:
    """Only what was signed is believed."""
    plain(data)
    assert verify(SECRET, "a", data, _EXPIRES - 1) is (Version.V2 if data == SIGNED else None)
    assert verify(SECRET, "a", data, _EXPIRES) is None, "believed although it has expired"


def keys_and_addresses(data: bytes) -> None:
    """Any fields give a key that stands in them, or the client's address; any hops give an address."""
    name, _, value = data.partition(b"\0")
    fields = [
        FieldLine(FieldName(one, one.lower(), 0), content, 0)
        for one, content in ((name or b"cookie", value), (b"Cookie", data))
    ]
    key = _KEYS.read(fields, "192.0.2.1")
    assert key, "no key, although there is an address"
    assert key == b"192.0.2.1" or any(key in field.value for field in fields)
    address = client_address("10.0.0.1", data.split(b"\n"), _TRUSTED)
    assert str(ipaddress.ip_address(address)) == address
    assert "%" not in address, "a zone means something to its own machine alone"


def admin_inputs(data: bytes) -> None:
    """Any body is a command or refused with a problem; so is any query."""
    verb = _VERBS[(data[0] if data else 0) % len(_VERBS)]
    with suppress(RefusedError):
        command = read_command(data[1:], "application/json", rollout="a", verb=verb, actor="b")
        assert command.weight is None or 0 <= command.weight <= BUCKETS
        assert command.reason.isprintable()
    query = parse_qsl(data[1:].decode("utf-8", "replace"), keep_blank_values=True)
    with suppress(RefusedError):
        assert 1 <= read_event_query(query).limit <= 1000
    with suppress(RefusedError):
        assert read_explain_query(query).path.startswith("/")


def _json(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
