"""Where rows live: Parquet, CSV, globs and DuckDB files, and references that lead nowhere."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retention_lab.data.source import Source
from retention_lab.errors import DataError
from retention_lab.experiment.spec import Data


def source(folder, **data):
    return Source(Data(**{"units": "x", **data}), folder, folder)


def count(src, ref):
    return src.query("select count(*) as n from t", t=ref)[0]["n"]


@pytest.fixture
def folder(tmp_path):
    """Two days of rows as Parquet and CSV, and a DuckDB file."""
    con = duckdb.connect(str(tmp_path / "shop.duckdb"))
    con.execute("create table units as select i as id, 'a' as arm from range(7) t(i)")
    con.execute("create schema s")
    con.execute("create table s.units as from units limit 3")
    for day in (1, 2):
        con.execute(f"copy (from units limit {day}) to '{tmp_path}/day{day}.parquet'")
        con.execute(f"copy (from units limit {day}) to '{tmp_path}/day{day}.csv' (header)")
    con.close()
    return tmp_path


@pytest.mark.parametrize(
    ("ref", "n"),
    [("day2.parquet", 2), ("day2.csv", 2), ("day*.parquet", 3), ("day?.csv", 3)],
)
def test_files_and_globs(folder, ref, n):
    src = source(folder)
    assert count(src, ref) == n
    assert src.columns(ref) == {"id": "number", "arm": "text"}
    assert src.rows(src.table(ref, {"key": "id"}).sort("key"))[0] == {"key": 0}
    assert len(src.files(ref)) == (2 if n == 3 else 1)
    assert count(src, str(folder / ref)) == n


def test_files_beside_the_experiment_come_before_the_projects(folder):
    inner = folder / "experiments"
    inner.mkdir()
    src = Source(Data(units="x"), inner, folder)
    assert count(src, "day1.parquet") == 1
    (inner / "day1.parquet").write_bytes((folder / "day2.parquet").read_bytes())
    assert count(Source(Data(units="x"), inner, folder), "day1.parquet") == 2


def test_tables_of_a_duckdb_file(folder):
    src = source(folder, engine={"duckdb": "shop.duckdb"})
    assert count(src, "table:units") == 7
    assert count(src, "table:s.units") == 3
    assert count(src, "day2.csv") == 2
    assert src.files("table:units") == (folder / "shop.duckdb",)
    with pytest.raises(DataError, match="no table 'unit' in the DuckDB file; did you mean 'units'"):
        src.columns("table:unit")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("day3.parquet", "no file 'day3.parquet' .*; did you mean 'day[12].parquet'"),
        ("none*.parquet", r"no file 'none\*.parquet'"),
        ("day*", "mixes Parquet and CSV"),
        ("shop.duckdb", "reads .parquet, .*DuckDB files as data.engine"),
        ("broken.parquet", "broken.parquet: "),
        ("table:units", "no table 'units' in the DuckDB file"),
        ("dataset:hilstrom", "did you mean 'hillstrom'"),
    ],
)
def test_what_cannot_be_read_is_named(folder, ref, message):
    (folder / "broken.parquet").write_text("not a Parquet file")
    with pytest.raises(DataError, match=message):
        source(folder).columns(ref)


def test_the_environment_is_read_and_never_shown(folder, monkeypatch):
    hidden = folder / "s3cr3t-folder"
    hidden.mkdir()
    (hidden / "day1.csv").write_bytes((folder / "day1.csv").read_bytes())
    (hidden / "bad.parquet").write_text("no")
    monkeypatch.setenv("SHOP_HOME", str(hidden))
    src = source(folder)
    assert count(src, "${SHOP_HOME}/day1.csv") == 1
    for ref in ("${SHOP_HOME}/gone.csv", "${SHOP_HOME}/bad.parquet"):
        with pytest.raises(DataError) as caught:
            src.columns(ref)
        assert "s3cr3t" not in str(caught.value)
        assert "${SHOP_HOME}" in str(caught.value)


def test_an_unset_variable_is_named(folder, monkeypatch):
    monkeypatch.delenv("SHOP_HOME", raising=False)
    with pytest.raises(DataError, match="environment variable SHOP_HOME, which is not set"):
        source(folder).columns("${SHOP_HOME}/day1.csv")


def test_a_quote_in_a_name_is_only_a_name(folder):
    (folder / "o'day.csv").write_bytes((folder / "day1.csv").read_bytes())
    assert count(source(folder), "o'day.csv") == 1
    (folder / "quoted.csv").write_text('id,o\'arm,say "x"\n1,a,2\n')
    assert list(source(folder).columns("quoted.csv"))[:2] == ["id", "o'arm"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("\ufeffarm,x\na,1\nb,2\n", {"arm": "text", "x": "number"}),
        ("arm;x\na;1.5\nb;2.5\n", {"arm": "text", "x": "number"}),
        ('arm,x\na,"1,5"\nb,2\n', {"arm": "text", "x": "text"}),
        ("arm,at\na,2026-01-02 10:00:00\nb,2026-01-03 11:00:00\n", {"arm": "text", "at": "time"}),
        ("arm,at\na,31/12/2025\nb,01/02/2026\n", {"arm": "text", "at": "date"}),
    ],
)
def test_dialects_of_csv(folder, text, kinds):
    (folder / "x.csv").write_text(text, encoding="utf-8")
    src = source(folder)
    assert src.columns("x.csv") == kinds
    assert len(src.rows(src.table("x.csv", {"a": "arm"}))) == 2


def test_the_type_of_a_csv_column_is_that_of_all_its_rows(folder):
    """Fractions after tens of thousands of whole numbers are not rounded."""
    rows = ["arm,x"] + ["a,0"] * 30_000 + ["a,0.4"] * 10
    (folder / "late.csv").write_text("\n".join(rows))
    (folder / "later.csv").write_text("\n".join(rows))
    for ref in ("late.csv", "late*.csv"):
        src = source(folder)
        found = src.query("select sum(x) as s from t", t=ref)[0]["s"]
        assert found == pytest.approx(4.0 * len(src.files(ref)))


def test_a_bracket_in_a_file_name_is_no_pattern(folder):
    (folder / "day[1].parquet").write_bytes((folder / "day2.parquet").read_bytes())
    src = source(folder)
    assert count(src, "day*.parquet") == 1 + 2 + 2
    assert count(src, "day[[]1[]].parquet") == 2


def test_an_error_does_not_quote_a_customers_row(folder):
    lines = ["id,x"] + [f"{i},1" for i in range(10)] + ["jane.doe@private.example,2,oops,3"]
    (folder / "bad.csv").write_text("\n".join(lines))
    con = duckdb.connect(str(folder / "bad.duckdb"))
    con.execute("create view cast_ as select cast('jane.doe@private.example' as int) as x")
    path = folder / "bad.csv"
    how = "auto_detect = false, header = true, delim = ',', columns = {'id': 'int', 'x': 'int'}"
    con.execute(f"create view line as from read_csv('{path}', {how})")
    con.close()
    src = source(folder, engine={"duckdb": "bad.duckdb"})
    for ref in ("table:cast_", "table:line"):
        with pytest.raises(DataError) as caught:
            src.query("select sum(x) from t", t=ref)
        assert "jane" not in str(caught.value)


def test_such_a_decimal_is_found_in_any_file_of_several(tmp_path):
    for i, digits in enumerate((20, 40)):
        values = pa.array([Decimal("1.5")], pa.decimal256(digits, 4))
        pq.write_table(pa.table({"y": values}), tmp_path / f"t{i}.parquet")
    assert source(tmp_path).columns("t*.parquet")["y"] == "decimals of more than 38 digits"


@pytest.mark.parametrize(("digits", "kind"), [(38, "number"), (40, "other"), (76, "number")])
def test_decimals_that_the_engine_misreads_are_no_numbers(tmp_path, digits, kind):
    values = pa.array([Decimal("1.5"), Decimal("-2.25")], pa.decimal256(digits, 4))
    pq.write_table(pa.table({"y": values}), tmp_path / "t.parquet")
    src = source(tmp_path)
    known = src.columns("t.parquet")["y"]
    if kind == "number":
        assert known == kind
        assert [float(r["y"]) for r in src.query("select y from t", t="t.parquet")] == [1.5, -2.25]
    else:
        assert known == "decimals of more than 38 digits"
