"""Secrets: found in every spelling, in text, binary and Parquet files; the rest is left alone."""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.errors import RunError
from retention_lab.run import redact
from retention_lab.run.redact import SHORTEST, Cleaning, Redactor, address, without_credentials

SECRET = "s3cr\"et's <&> pä/ss wörd\\"


def redactor(value: str, name: str = "DB_PASSWORD") -> Redactor:
    return Redactor(f"units: postgres://${{{name}}}@host", {name: value, "OTHER": "not named"})


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps(SECRET)),
        repr(SECRET),
        json.dumps(repr(SECRET)),
        html.escape(SECRET),
        quote_plus(SECRET),
    ],
)
def test_every_usual_spelling_is_replaced(spelled: str) -> None:
    clean = redactor(SECRET).text(f"before {spelled} after")
    assert "${DB_PASSWORD}" in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    assert "s3cr" not in clean


@settings(deadline=None)
@given(st.text(min_size=SHORTEST, max_size=30), st.text(max_size=20))
def test_no_value_survives_in_text_or_json(value: str, around: str) -> None:
    made = Redactor("${KEY}", {"KEY": value})
    for text in (around + value + around, json.dumps({"k": value})):
        clean = made.text(text)
        assert value not in clean.replace("${KEY}", "\0")


def test_a_value_within_another_is_replaced_after_it() -> None:
    made = Redactor("${LONG} ${SHORT}", {"LONG": "abcdefgh", "SHORT": "cdef"})
    assert made.text("abcdefgh cdef") == "${LONG} ${SHORT}"


def test_the_password_in_a_url_is_a_secret_of_its_own() -> None:
    made = redactor("postgresql://shop:p%40ssw0rd@db.example.org/x", "DB_URL")
    assert made.text("password p@ssw0rd or p%40ssw0rd was refused") == (
        "password ${DB_URL} or ${DB_URL} was refused"
    )


def test_a_short_or_absent_value_is_left() -> None:
    assert not redactor("1")
    assert redactor("abc").text("abc") == "abc"
    assert not Redactor("${ABSENT} and $HOME and {x}", {"HOME": "/root"})


def test_only_named_variables_are_secrets() -> None:
    assert redactor("12345678").text("not named") == "not named"


def test_a_folder_is_cleaned_and_says_where(tmp_path: Path) -> None:
    value = "hunter2-hunter2"
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "notebook.ipynb").write_text(json.dumps({"text": [f"see {value}"]}))
    (tmp_path / "figure.png").write_bytes(b"\x89PNG\xff" + value.encode() + b"\xfe")
    untouched = tmp_path / "report.html"
    untouched.write_text("nothing here")
    before = untouched.stat().st_mtime_ns
    cleaned = redactor(value).folder(tmp_path)
    assert [p.name for p in cleaned.changed] == ["notebook.ipynb", "figure.png"]
    assert cleaned.faults == []
    for path in tmp_path.rglob("*.*"):
        assert value.encode() not in path.read_bytes()
    text = json.loads((tmp_path / "deep" / "notebook.ipynb").read_text())
    assert text == {"text": ["see ${DB_PASSWORD}"]}
    assert len((tmp_path / "figure.png").read_bytes()) == 5 + len(value) + 1
    assert untouched.stat().st_mtime_ns == before
    assert redactor(value).folder(tmp_path) == Cleaning()


def test_text_columns_of_parquet_are_cleaned(tmp_path: Path) -> None:
    value, path = "hunter2-hunter2", tmp_path / "results.parquet"
    notes = [f"failed at {value}", None, "fine"] * 50
    pq.write_table(pa.table({"note": notes, "n": list(range(150))}), path)
    assert redactor(value).folder(tmp_path).changed == (path,)
    table = pq.read_table(path)
    assert table["note"].to_pylist() == ["failed at ${DB_PASSWORD}", None, "fine"] * 50
    assert table["n"].to_pylist() == list(range(150))


VALUE = "hunter2-hunter2"
TEXT = f"see {VALUE}"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.string(), TEXT),
        (pa.large_string(), TEXT),
        (pa.binary(), TEXT.encode()),
        (pa.dictionary(pa.int8(), pa.string()), TEXT),
        (pa.list_(pa.string()), [None, TEXT]),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), [TEXT]),
        (pa.struct([("a", pa.list_(pa.string())), ("n", pa.int64())]), {"a": [TEXT], "n": 1}),
        (pa.map_(pa.string(), pa.string()), [(TEXT, TEXT)]),
    ],
    ids=str,
)
def test_text_of_every_type_is_cleaned(tmp_path: Path, kind: pa.DataType, value: object) -> None:
    path = tmp_path / "table.pq"
    pq.write_table(pa.table({"a": pa.array([value, None] * 40, kind), "n": range(80)}), path)
    assert redactor(VALUE).folder(tmp_path).deleted == {}
    table = pq.read_table(path)
    assert table.schema.field("a").type == kind
    assert VALUE not in str(table["a"].to_pylist())
    assert str(table["a"].to_pylist()).count("see ${DB_PASSWORD}") >= 40
    assert table["n"].to_pylist() == list(range(80))


def test_names_of_columns_are_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pd.DataFrame({f"of {VALUE}": [1]}).to_parquet(path)
    assert redactor(VALUE).folder(tmp_path).changed == (path,)
    table = pq.read_table(path)
    assert table.column_names == ["of ${DB_PASSWORD}"]
    assert VALUE not in str(table.schema.metadata)
    assert list(pd.read_parquet(path).columns) == ["of ${DB_PASSWORD}"]


def test_what_cannot_be_cleaned_is_deleted_and_the_rest_is_cleaned(tmp_path: Path) -> None:
    """Half a file, a bad footer, text that is not UTF-8, a name deep in a column: one by one."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 40 + (40).to_bytes(4, "little") + b"PAR1")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 half")
    odd = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    pq.write_table(pa.table({"a": odd}), tmp_path / "c.parquet")
    pq.write_table(pa.table({"a": [{VALUE: 1}]}), tmp_path / "d.parquet")
    (tmp_path / "z.txt").write_text(VALUE)
    cleaned = redactor(VALUE).folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["z.txt"]
    assert (tmp_path / "z.txt").read_text() == "${DB_PASSWORD}"
    assert set(cleaned.deleted) == {"a.parquet", "b.parquet", "c.parquet", "d.parquet"}
    assert cleaned.faults[2] == (
        "c.parquet was deleted: a secret in it could not be replaced (UnicodeDecodeError)"
    )


def test_nothing_is_deleted_where_nothing_is_secret(tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"PAR1 half")
    assert redactor("").folder(tmp_path) == Cleaning()
    assert (tmp_path / "b.parquet").is_file()


def test_names_of_files_and_folders_are_cleaned(tmp_path: Path) -> None:
    (tmp_path / f"of {VALUE}" / "deep").mkdir(parents=True)
    (tmp_path / f"of {VALUE}" / "deep" / "a.txt").write_text("a")
    (tmp_path / f"{VALUE}.txt").write_text("b")
    (tmp_path / "${DB_PASSWORD}.txt").write_text("c")
    cleaned = redactor(VALUE).folder(tmp_path)
    assert cleaned.deleted == {}
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")}
    assert not [n for n in names if VALUE in n]
    kept = {p.name: p.read_text() for p in tmp_path.rglob("*.txt")}
    assert kept == {"a.txt": "a", "2-${DB_PASSWORD}.txt": "b", "${DB_PASSWORD}.txt": "c"}


def test_a_file_that_cannot_be_deleted_either_is_told_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: object) -> None:
        raise OSError(13, "Permission denied")

    (tmp_path / "a.parquet").write_bytes(b"PAR1 half")
    (tmp_path / "z.txt").write_text(VALUE)
    with monkeypatch.context() as patch:
        patch.setattr(redact, "_draft", _plain)
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(RunError, match=r"a\.parquet: Permission denied"):
            redactor(VALUE).folder(tmp_path)
    assert (tmp_path / "z.txt").read_text() == "${DB_PASSWORD}"


@contextlib.contextmanager
def _plain(path: Path) -> Iterator[Path]:
    yield path


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:pw@host:5000/x", "http://host:5000/x"),
        ("https://token@host", "https://host"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
        ("postgresql://host/db?user=u&password=pw", "postgresql://host/db"),
        ("postgresql://host/db?user=u@corp&password=p@w", "postgresql://***"),
        ("http://me:p@w@host/x", "http://host/x"),
        ("http://me:p/w@host", "http://host"),
        ("http://me:p?w@host", "http://***"),
        ("http://me:p#w@host/x?y", "http://***"),
        ("http://me:pw", "http://***"),
        ("mysql+pymysql://me:pw@[::1]:3306/db", "mysql+pymysql://[::1]:3306/db"),
        ("jdbc:sqlserver://host:1433;user=me;password=pw", "jdbc:sqlserver://host:1433"),
        ("./mlruns", "./mlruns"),
        ("cannot reach http://me:pw@host/ now", "cannot reach http://host/ now"),
    ],
)
def test_credentials_are_not_shown(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown


def test_an_address_may_hold_anything() -> None:
    assert address("http://me:p w@host/x") == "http://host/x"
    assert address("http://me:p w") == "http://***"


@settings(deadline=None)
@given(st.text(st.characters(categories=("L", "N", "P", "S", "Z")), min_size=1, max_size=12))
def test_no_password_survives_in_an_address(odd: str) -> None:
    password = f"hunter{odd}"
    assert "hunter" not in address(f"https://me:{password}@host:5000/x")
    assert "hunter" not in address(f"https://host/x?user=me&password={password}")


def test_the_password_in_a_query_is_a_secret_of_its_own() -> None:
    made = redactor("postgresql://host/x?user=shop&password=p%40ssw0rd", "DB_URL")
    assert made.text("p@ssw0rd, p%40ssw0rd, shop") == "${DB_URL}, ${DB_URL}, shop"
