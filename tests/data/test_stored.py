"""Files of reductions: what was written is read, and any other file is refused with the reason."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retention_lab import __version__
from retention_lab.data import stored
from retention_lab.errors import DataError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.parquet"


def test_columns_and_content_come_back(path):
    stored.write(path, "sort", {"x": np.array([1.5, np.nan])}, {"keys": ["a"], "n": 2})
    table, content = stored.read(path, "sort", "thing", n=2)
    np.testing.assert_array_equal(table["x"].to_numpy(), [1.5, np.nan])
    known = {"format": stored.FORMAT, "version": __version__}
    assert content == {"keys": ["a"], "n": 2, **known}


def test_levels_come_back_by_cell(path):
    levels = {"where": np.array(["N", "S", None], object), "age": np.array([2.5, -0.0, np.nan])}
    cell = np.array([0, 0, 1, 2, 2])
    columns = stored.columns_of(("where", "age"), levels, cell)
    stored.write(path, "sort", columns, {})
    table, _ = stored.read(path, "sort", "thing")
    found = stored.levels_of(table, ("where", "age"), cell)
    assert found["where"].tolist() == ["N", "S", None]
    assert found["where"].dtype == object
    np.testing.assert_array_equal(found["age"], levels["age"])
    assert np.signbit(found["age"][1])


def test_other_files_are_refused(path):
    with pytest.raises(DataError, match="is not a saved thing: "):
        stored.read(path, "sort", "thing")
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(DataError, match="is not a saved thing of format 1"):
        stored.read(path, "sort", "thing")
    stored.write(path, "sort", {"x": np.zeros(1)}, {"kinds": ["a"]})
    for kind, kinds in (("sort", ["b"]), ("other", ["a"])):
        with pytest.raises(DataError, match="is not a saved thing of format 1"):
            stored.read(path, kind, "thing", kinds=kinds)
    with pytest.raises(DataError, match="is a broken thing: KeyError"), stored.whole(path, "thing"):
        {}["x"]
