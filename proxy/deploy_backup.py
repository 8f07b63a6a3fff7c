"""The backup before a rollout begins: what it takes to see, and to go back to, how it was.

Owns the folder and what lies in it. Nothing that is there is ever overwritten, and all of it is for its owner
alone: a configuration may hold secrets. Must never change what it copies.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from proxy.config.plans import plans_of
from proxy.errors import DualpathError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.config.schema import Config

DEFAULT_FOLDER: Final = "dualpath-backup"
_SQLITE: Final = "sqlite:///"
_PAGES = 1024  # at a time; in between whoever writes has his turn


class BackupError(DualpathError):
    """The backup could not be made; nothing was started."""


def back_up(
    folder: Path, file: Path, config: Config, documents: Mapping[str, Any], store: Path | None
) -> list[str]:
    """Write the configuration's files, the API's `documents` and a copy of the `store`'s file, where there is
    one, into `folder`. Returns the names of what lies there then. Raises `BackupError`."""
    try:
        _create(folder)
        sources = (file, *(Path(plan) for plan in plans_of(config)))
        written = [_write(folder, source.name, source.read_bytes()) for source in sources]
        for name, document in documents.items():
            text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            written.append(_write(folder, f"{name}.json", text))
        if store is not None:
            written.append(_copy_store(store, folder))
    except OSError as error:
        raise BackupError(f"cannot back up into {folder}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise BackupError(f"cannot copy the store: {error}") from error
    return written


def store_file(url: str, file: Path) -> Path | None:
    """The store's file, if it is one and lies on this machine: a relative one in the working directory, as
    for the proxy, else beside the configuration."""
    if not url.startswith(_SQLITE):
        return None
    path = Path(url.removeprefix(_SQLITE))
    return next((one for one in (path, file.parent / path) if one.is_file()), None)


def _create(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty; nothing in it is overwritten")


def _write(folder: Path, name: str, content: bytes) -> str:
    stem, suffix = Path(name).stem, Path(name).suffix
    names = (name, *(f"{stem}-{number}{suffix}" for number in range(2, 100)))
    free = next(one for one in names if not (folder / one).exists())
    with os.fdopen(os.open(folder / free, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return free


def _copy_store(store: Path, folder: Path) -> str:
    """A copy by SQLite itself, sound whatever is written meanwhile (sqlite.org/backup.html)."""
    name = _write(folder, store.name, b"")
    source = f"file:{quote(str(store.absolute()))}?mode=ro"
    with (
        closing(sqlite3.connect(source, uri=True)) as original,
        closing(sqlite3.connect(folder / name)) as copy,
    ):
        original.backup(copy, pages=_PAGES)
        damage = [row[0] for row in copy.execute("PRAGMA quick_check(1)")]
    if damage != ["ok"]:
        raise BackupError(f"the copy of {store} is damaged: {damage[0]}")
    return name
