from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from proxy.config.loading import load
from proxy.deploy_backup import BackupError, back_up, store_file

TEXT = """
[backends.v1]
endpoints = ["http://127.0.0.1:9001"]
[backends.v2]
endpoints = ["http://127.0.0.1:9002"]
[[rollouts]]
name = "default"
plan = "plans/own.toml"
"""
PLAN = '[[phases]]\nname = "all"\npercentage = 100\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "proxy.toml"
    path.write_text(TEXT)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "own.toml").write_text(PLAN)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store in use: what was written last lies in its log."""
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE rollouts (name TEXT)")
        db.execute("INSERT INTO rollouts VALUES ('default')")
        db.commit()
    return path


def test_it_holds_all_that_it_takes_to_go_back(file: Path, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "1"
    with closing(sqlite3.connect(store)) as writer:
        writer.execute("INSERT INTO rollouts VALUES ('late')")
        writer.commit()
        written = back_up(folder, file, load(file, {}), {"rollouts": {"rollouts": []}}, store)
    assert written == ["proxy.toml", "own.toml", "rollouts.json", "state.db"]
    assert (folder / "proxy.toml").read_text() == TEXT
    assert (folder / "own.toml").read_text() == PLAN
    assert orjson.loads((folder / "rollouts.json").read_bytes()) == {"rollouts": []}
    with closing(sqlite3.connect(folder / "state.db")) as copy:
        assert copy.execute("SELECT name FROM rollouts").fetchall() == [("default",), ("late",)]


def test_it_is_for_its_owner_alone(file: Path, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    back_up(folder, file, load(file, {}), {}, store)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_nothing_is_overwritten(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    config = load(file, {})
    back_up(folder, file, config, {"proxy": {}}, None)
    with pytest.raises(BackupError, match="is not empty"):
        back_up(folder, file, config, {}, None)


def test_two_files_of_one_name_are_both_kept(file: Path, tmp_path: Path) -> None:
    (tmp_path / "plans" / "own.toml").rename(tmp_path / "plans" / "proxy.toml")
    file.write_text(TEXT.replace("own.toml", "proxy.toml"))
    written = back_up(tmp_path / "kept", file, load(file, {}), {}, None)
    assert written == ["proxy.toml", "proxy-2.toml"]


def test_a_folder_that_cannot_be_made_is_one_line(file: Path) -> None:
    with pytest.raises(BackupError, match=r"cannot back up into .*: Not a directory"):
        back_up(file / "within", file, load(file, {}), {}, None)


def test_a_store_that_cannot_be_copied_is_one_line(file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "state.db"
    broken.write_bytes(b"not a database, and longer than a header" * 100)
    with pytest.raises(BackupError, match="cannot copy the store: file is not a database"):
        back_up(tmp_path / "kept", file, load(file, {}), {}, broken)


def test_the_store_is_looked_for_where_the_proxy_has_it(
    file: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert store_file("sqlite:///state.db", file) == store
    assert store_file(f"sqlite:///{store}", Path("elsewhere.toml")) == store
    assert store_file("sqlite:///gone.db", file) is None
    assert store_file("memory://", file) is None
    monkeypatch.chdir(tmp_path)
    assert store_file("sqlite:///state.db", file) == Path("state.db")
