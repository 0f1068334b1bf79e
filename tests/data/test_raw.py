from __future__ import annotations

import builtins
import hashlib
import os

import duckdb
import pytest

from retention_lab.data import raw
from retention_lab.data.registry import Form, Text
from retention_lab.errors import DataError

COLUMNS = (("id", "text"), ("day", "date"), ("n", "integer"), ("value", "number"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(folder))
    return folder


def form(content: bytes, **more):
    return Form(files=("x.txt",), sha256=hashlib.sha256(content).hexdigest(), **more)


def test_small_files_are_hashed_each_time(tmp_path, cache):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert raw.digest(path) == hashlib.sha256(b"one").hexdigest()
    assert not cache.exists()


def test_the_digest_of_a_large_file_is_remembered_until_it_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "SMALL", 2)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    calls = []
    original = raw._sha256
    monkeypatch.setattr(raw, "_sha256", lambda p: calls.append(p) or original(p))
    assert raw.digest(path) == raw.digest(path) == hashlib.sha256(b"one").hexdigest()
    assert len(calls) == 1
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))  # another time, the same size
    assert raw.digest(path) == hashlib.sha256(b"two").hexdigest()
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff", b"3 1", b"3 1 " + b"0" * 64])
def test_a_damaged_memory_is_no_memory(tmp_path, cache, monkeypatch, damage):
    monkeypatch.setattr(raw, "SMALL", 2)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    raw.digest(path)
    (memory,) = (cache / "digests").iterdir()
    memory.write_bytes(damage)
    assert raw.digest(path) == hashlib.sha256(b"one").hexdigest()


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    monkeypatch.setattr(raw, "SMALL", 2)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RETENTION_LAB_CACHE", str(tmp_path / "file" / "below"))
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert raw.digest(path) == hashlib.sha256(b"one").hexdigest()


def test_a_wrong_file_is_named_with_both_digests(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"wrong")
    right, wrong = (hashlib.sha256(b).hexdigest() for b in (b"right", b"wrong"))
    with pytest.raises(DataError, match=rf"x\.txt .*expected sha256 {right}, found {wrong}"):
        raw.check(path, form(b"right"))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt cannot be read: No such file"):
        raw.check(tmp_path / "gone.txt", form(b""))


def test_text_becomes_typed_columns(tmp_path, cache):
    path = tmp_path / "x.txt"
    path.write_bytes(b" id day n value\r\n 00012 19970104  2   29.33\r\n\r\n 3 19980630 1 .5\r\n")
    target = cache / "x.parquet"
    raw.to_parquet(path, form(b"", text=Text(1, COLUMNS)), target)
    found = duckdb.sql(f"select id, day::varchar, n, value from '{target}'").fetchall()
    assert found == [("00012", "1997-01-04", 2, 29.33), ("3", "1998-06-30", 1, 0.5)]
    assert [p.name for p in cache.iterdir()] == ["x.parquet"]


@pytest.mark.parametrize(
    "line", [b"1 19970104 2", b"1 19970104 2 3 4", b"1 4 2 3", b"1 19970104 x 3"]
)
def test_text_that_does_not_fit_leaves_nothing_behind(tmp_path, cache, line):
    path = tmp_path / "x.txt"
    path.write_bytes(line)
    with pytest.raises(ValueError, match=r"."):
        raw.to_parquet(path, form(b"", text=Text(0, COLUMNS)), cache / "x.parquet")
    assert list(cache.iterdir()) == []


def test_what_was_there_stays_until_the_new_is_whole(tmp_path):
    target = tmp_path / "x"
    target.write_text("old")
    with pytest.raises(TypeError), raw.replacing(target) as temporary:
        temporary.write_text(b"not text")
    assert target.read_text() == "old"
    with raw.replacing(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="name a folder that can be in RETENTION_LAB_CACHE"),
        raw.writing(tmp_path / "file" / "below"),
    ):
        raise AssertionError("not reached")


def test_a_missing_reader_says_what_to_install(tmp_path, cache, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pyreadr":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="pip install pyreadr"):
        raw.to_parquet(tmp_path / "a.rda", form(b"", rda="a"), cache / "x.parquet")


def test_r_data_becomes_parquet(tmp_path, cache):
    pd = pytest.importorskip("pandas")
    pyreadr = pytest.importorskip("pyreadr", reason="pip install pyreadr")
    frame = pd.DataFrame({"a": [1.5, None], "b": ["x", None]})
    pyreadr.write_rdata(str(tmp_path / "a.rda"), frame, df_name="a")
    raw.to_parquet(tmp_path / "a.rda", form(b"", rda="a"), cache / "x.parquet")
    found = duckdb.sql(f"select a, b from '{cache / 'x.parquet'}'").fetchall()
    assert found[0] == (1.5, "x")
    assert found[1][0] is None
