"""CSV files as programs and people write them: each column is what its writer meant."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import pytest

from retention_lab.data import delimited
from retention_lab.data.source import Source
from retention_lab.errors import DataError
from retention_lab.experiment.spec import Data
from retention_lab.experiment.text_columns import why_text


def source(folder: Path) -> Source:
    return Source(Data(units="x"), folder, folder)


def read(folder: Path, text: str, name: str = "t.csv") -> tuple[str, list[Any]]:
    """The kind of the column x, and its values in the order of the column i."""
    (folder / name).write_text(text, encoding="utf-8")
    src = source(folder)
    rows = src.query("select x from t order by i", t=name)
    return src.columns(name)["x"], [row["x"] for row in rows]


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        # R writes NA, SAS a point, databases \N or NULL.
        ("i,x\n1,2.5\n2,NA\n3,4\n", "number", [2.5, None, 4]),
        ("i,x\n1,7\n2,.\n3,\\N\n", "number", [7, None, None]),
        ("i,x\n1,TRUE\n2,NA\n3,FALSE\n", "truth", [True, None, False]),
        ("i,x\n1,yes\n2,null\n3,no\n", "truth", [True, None, False]),
        ("i,x\n1,2025-01-31\n2,NA\n", "date", [dt.date(2025, 1, 31), None]),
        ("i,x\n1,2025-01-31 10:00\n2,NULL\n", "time", [dt.datetime(2025, 1, 31, 10), None]),
        # NA among names is a name.
        ("i,x\n1,EU\n2,NA\n3,EU\n", "text", ["EU", "NA", "EU"]),
        ("i,x\n1,NA\n2,NA\n", "text", ["NA", "NA"]),
        # Digits that are a name.
        ("i,x\n1,07001\n2,NA\n", "text", ["07001", "NA"]),
        ("i,x\n1,12345678901234567890\n2,NA\n", "text", ["12345678901234567890", "NA"]),
        # Decimal commas, between semicolons alone.
        ("i;x\n1;0,5\n2;1\n3;-3,25\n", "number", [0.5, 1, -3.25]),
        ("i;x\n1;1,0\n2;\n3;NA\n", "number", [1, None, None]),
        ("i;x\n1;1.234,5\n2;1\n", "text", ["1.234,5", "1"]),
        ("i;x\n1;1.234\n2;7,5\n", "text", ["1.234", "7,5"]),
        ("i;x\n1;1,2,3\n2;4\n", "text", ["1,2,3", "4"]),
        ('i,x\n1,"0,5"\n2,NA\n', "text", ["0,5", "NA"]),
    ],
)
def test_a_column_is_what_its_writer_meant(
    tmp_path: Path, text: str, kind: str, values: list[Any]
) -> None:
    assert read(tmp_path, text) == (kind, values)


def test_times_with_a_zone_keep_it(tmp_path: Path) -> None:
    times = ["2013-01-01T10:00:00Z", "NA", "2013-01-01T10:00:00-05:00"]
    (tmp_path / "t.csv").write_text("i,x\n" + "".join(f"{i},{t}\n" for i, t in enumerate(times)))
    src = source(tmp_path)
    rows = src.query("select epoch(x) / 3600 % 24 as hour from t order by i", t="t.csv")
    assert src.columns("t.csv")["x"] == "time"
    assert [row["hour"] for row in rows] == [10, None, 15]


def test_one_late_word_keeps_a_column_text(tmp_path: Path) -> None:
    rows = [f"{i},{'NA' if i % 2 else i}" for i in range(3 * delimited.FIRST)]
    text = "i,x\n" + "\n".join(rows) + "\n"
    assert read(tmp_path, text)[0] == "number"
    assert read(tmp_path, text + "9999,late\n")[0] == "text"
    # A time of day among dates, a zone among times: neither is cut off.
    for early, late in (
        ("2025-01-31", "2025-01-31 10:00"),
        ("2025-01-31 10:00", "2025-01-31 10:00Z"),
    ):
        rows = [f"{i},{'NA' if i % 2 else early}" for i in range(2 * delimited.FIRST)]
        text = "i,x\n" + "\n".join(rows) + f"\n9999,{late}\n"
        assert read(tmp_path, text)[0] == "text"
    # Decimals that come only after the first rows.
    rows = [f"{i};{'' if i % 2 else i}" for i in range(3 * delimited.FIRST)]
    kind, values = read(tmp_path, "i;x\n" + "\n".join(rows) + "\n9999;0,5\n")
    assert (kind, values[-1], values[2]) == ("number", 0.5, 2)


@pytest.mark.parametrize(
    ("late", "kind"),
    [
        ("7", "number"),
        ("0.5", "number"),
        ("2025-01-31", "date"),
        ("2025-01-31 10:00", "time"),
        ("2025-01-31T10:00:00Z", "time"),
        ("no", "truth"),
        ("word", "text"),
    ],
)
def test_a_column_may_be_empty_for_long(tmp_path: Path, late: str, kind: str) -> None:
    rows = "".join(f"{i},NULL\n" for i in range(2 * delimited.FIRST))
    (tmp_path / "t.csv").write_text(f"i,x\n{rows}9999,{late}\n")
    assert source(tmp_path).columns("t.csv")["x"] == kind


@pytest.mark.parametrize("names", [["o'day.csv"], ["p1.csv", "p2.csv"], ["packed.csv.gz"]])
def test_also_in_several_files_packed_ones_and_odd_names(tmp_path: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        text = f"\ufeffi;x\n{2 * i};{i},5\n{2 * i + 1};NA\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    ref = names[0] if len(names) == 1 else "p*.csv"
    src = source(tmp_path)
    rows = src.query("select i, x from t order by i", t=ref)
    expected = [v for i in range(len(names)) for v in (i + 0.5, None)]
    assert [row["x"] for row in rows] == expected
    assert src.columns(ref) == {"i": "number", "x": "number"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        # As first months of a quarter, or first days of the year: nobody can know.
        (["01/02/2025", "04/05/2025"], "text"),
        (["1-2-2025 10:00:00", "4-5-2025 11:00:00"], "text"),
        (["01/02/2025", "13/05/2025"], "date"),
        (["01/02/2025", "05/13/2025"], "date"),
        (["01.02.2025", "04.05.2025"], "date"),
        (["2025/01/02", "2025/04/05"], "date"),
        (["2025-01-02", "2025-04-05"], "date"),
    ],
)
def test_a_date_that_may_be_two_days_is_none(tmp_path: Path, values: list[str], kind: str) -> None:
    (tmp_path / "t.csv").write_text("i,x\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    assert source(tmp_path).columns("t.csv")["x"] == kind


def test_ids_of_twenty_digits_stay_apart(tmp_path: Path) -> None:
    ids = [10**19 + i for i in range(5)]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{i},{i % 3}.5\n" for i in ids))
    src = source(tmp_path)
    assert src.columns("t.csv") == {"x": "text", "y": "number"}
    assert src.counts("t.csv", "x") == (5, 5)


def test_rows_of_other_lengths_than_the_header_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,arm,y\n1,a,2\n2,b,extra,3\n3,a,4\n")
    with pytest.raises(DataError, match=r"t\.csv reads as one column: some of its rows have more"):
        source(tmp_path).columns("t.csv")


@pytest.mark.parametrize(
    ("encoding", "word"), [("latin-1", "Zürich"), ("gb18030", "广州"), ("utf-16", "Zürich")]
)
def test_another_encoding_than_utf_8_says_what_to_do(
    tmp_path: Path, encoding: str, word: str
) -> None:
    (tmp_path / "t.csv").write_text(f"i,x\n1,{word}\n2,{word}\n", encoding=encoding)
    with pytest.raises(DataError, match=r"t\.csv is not written in UTF-8: save it .* iconv -f"):
        source(tmp_path).columns("t.csv")


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (['"1,234.50"', "$12.00"], "numbers with signs or separators"),
        (["12 %", "7 %", "9 %"], "numbers with signs or separators"),
        (["Y", "N", "Y"], "write yes and no, true and false, or 1 and 0"),
        ([*map(str, range(20)), "late"], "1 of its 21 values are no numbers"),
        (["red", "green", "blue"], ""),
    ],
)
def test_a_text_that_should_be_numbers_says_why(
    tmp_path: Path, values: list[str], hint: str
) -> None:
    (tmp_path / "t.csv").write_text("i,x\n" + "".join(f"{i},{v}\n" for i, v in enumerate(values)))
    found = why_text(source(tmp_path), "t.csv", "x")
    assert hint in found if hint else found == ""
