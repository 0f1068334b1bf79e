"""Secrets: found in every spelling, in text, binary and Parquet files; the rest is left alone."""

from __future__ import annotations

import html
import json
from pathlib import Path
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.run.redact import SHORTEST, Redactor, without_credentials

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
    changed = redactor(value).folder(tmp_path)
    assert [p.name for p in changed] == ["notebook.ipynb", "figure.png"]
    for path in tmp_path.rglob("*.*"):
        assert value.encode() not in path.read_bytes()
    text = json.loads((tmp_path / "deep" / "notebook.ipynb").read_text())
    assert text == {"text": ["see ${DB_PASSWORD}"]}
    assert len((tmp_path / "figure.png").read_bytes()) == 5 + len(value) + 1
    assert untouched.stat().st_mtime_ns == before
    assert redactor(value).folder(tmp_path) == []


def test_text_columns_of_parquet_are_cleaned(tmp_path: Path) -> None:
    value, path = "hunter2-hunter2", tmp_path / "results.parquet"
    notes = [f"failed at {value}", None, "fine"] * 50
    pq.write_table(pa.table({"note": notes, "n": list(range(150))}), path)
    assert redactor(value).folder(tmp_path) == [path]
    table = pq.read_table(path)
    assert table["note"].to_pylist() == ["failed at ${DB_PASSWORD}", None, "fine"] * 50
    assert table["n"].to_pylist() == list(range(150))


def test_half_a_parquet_file_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes(b"PAR1 half")
    assert redactor("hunter2-hunter2").folder(tmp_path) == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:pw@host:5000/x", "http://host:5000/x"),
        ("https://token@host", "https://host"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("cannot reach http://me:pw@host/ now", "cannot reach http://host/ now"),
    ],
)
def test_credentials_are_not_shown(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown
