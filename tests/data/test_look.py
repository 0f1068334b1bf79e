"""Small tables in; the counts that a plan is checked by out, whichever rows are looked at first."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.look import FEW, has_event_after, look_at_events
from retention_lab.data.source import Source
from retention_lab.experiment.spec import Data

DAY = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)


def source_of(folder: Path, zone: str = "UTC", **tables: str) -> Source:
    for name, rows in tables.items():
        duckdb.sql(f"copy ({rows}) to '{folder / name}.parquet' (format parquet)")
    return Source(Data(units="t.parquet", timezone=zone), folder, folder)


def after(source: Source, last: dt.datetime | None) -> bool:
    return has_event_after(source, "t.parquet", "u", "moment", "e.parquet", "moment", last)


UNITS = "select i as u, timestamp '2026-01-01' + to_days(i::int) as moment from range(10) r(i)"


@pytest.mark.parametrize(
    ("events", "found"),
    [
        # After everybody's exposure: the few answer.
        ("select 3 as u, timestamp '2026-01-20' as moment", True),
        # After its own unit's exposure, before the last one: only the whole table answers.
        ("select 3 as u, timestamp '2026-01-05' as moment", True),
        # The exposure itself, and before it.
        ("select 3 as u, timestamp '2026-01-04' as moment", False),
        # The few are all of strangers.
        (
            f"select 1000 + i as u, timestamp '2026-01-20' as moment from range({3 * FEW}) r(i) "
            "union all select 3, timestamp '2026-01-05'",
            True,
        ),
        (
            f"select 1000 + i as u, timestamp '2026-01-20' as moment from range({3 * FEW}) r(i)",
            False,
        ),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
@pytest.mark.parametrize("kind", ["timestamp", "timestamptz", "date"])
def test_the_few_events_looked_at_first_change_no_answer(
    tmp_path: Path, events: str, found: bool, zone: str, kind: str
) -> None:
    both = [f"select u, moment::{kind} as moment from ({rows})" for rows in (UNITS, events)]
    source = source_of(tmp_path, zone, t=both[0], e=both[1])
    assert after(source, None) is found
    for last in (DAY - dt.timedelta(days=30), DAY, DAY + dt.timedelta(days=30)):
        assert after(source, last) is found


@pytest.mark.parametrize(
    ("rows", "stray", "odd"),
    [
        ("(1, timestamp '2026-01-01', 1.0::double, 1)", 0, set()),
        ("(null, timestamp '2026-01-01', 1.0::double, 1), (1, null, 1.0, 1)", 2, set()),
        ("(null, null::timestamp, 1.0::double, 1)", 1, set()),
        ("(1, timestamp '2026-01-01', 'nan'::double, 1)", 0, {"x"}),
        ("(1, timestamp '2026-01-01', '-inf'::double, null::int)", 0, {"x", "n"}),
        ("(1, timestamp '2026-01-01', null::double, 1)", 0, {"x"}),
    ],
)
def test_events_without_unit_or_time_and_odd_values(
    tmp_path: Path, rows: str, stray: int, odd: set[str]
) -> None:
    source = source_of(tmp_path, t=UNITS, e=f"from (values {rows}) v(u, moment, x, n)")
    seen = look_at_events(source, "e.parquet", "u", "moment", ["x", "n"])
    assert (seen.stray, set(seen.odd)) == (stray, odd)


def test_values_are_counted_once(tmp_path: Path) -> None:
    source = source_of(tmp_path, t="from (values (1), (1), (2), (null)) v(u)")
    assert source.counts("t.parquet", "u") == (3, 2)
    (tmp_path / "t.parquet").unlink()
    assert source.counts("t.parquet", "u") == (3, 2)


@pytest.mark.parametrize("many", [3, 10, 10**9])
@given(ids=st.lists(st.one_of(st.none(), st.integers(0, 60)), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_repeats_are_found_in_parts_of_any_size(tmp_path_factory, many, ids):
    folder = tmp_path_factory.mktemp("ids")
    pq.write_table(pa.table({"u": pa.array(ids, pa.int64())}), folder / "t.parquet")
    known = [i for i in ids if i is not None]
    source = Source(Data(units="t.parquet"), folder, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retention_lab.data.source.MANY", many)
        assert source.repeats("t.parquet", "u") == (len(set(known)) < len(known))
