"""How many values a column has: the same in one look as in shares by value."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from retention_lab.data import passes
from retention_lab.data.followed import different
from retention_lab.data.source import Source
from retention_lab.experiment.spec import Data


def test_values_are_counted_alike_in_any_number_of_shares(tmp_path, monkeypatch):
    bills = [f"b{i % 137}" for i in range(1000)] + [None] * 5
    pq.write_table(pa.table({"bill": bills}), tmp_path / "lines.parquet")
    source, asked = Source(Data(units="x"), tmp_path, tmp_path), []
    assert different(source, "lines.parquet", "bill", 1005) == 137
    monkeypatch.setattr(passes, "EVENTS", 100)
    whole = source.query
    monkeypatch.setattr(source, "query", lambda *a, **k: asked.append(a) or whole(*a, **k))
    assert different(source, "lines.parquet", "bill", 1005) == 137
    assert len(asked) == 11
