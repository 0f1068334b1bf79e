"""Simulated shops as datasets: made once, found again, made anew when what makes them changes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from retention_lab.data import datasets
from retention_lab.data.datasets import describe, locate
from retention_lab.twin import MADE


@pytest.fixture
def small_twin(home, monkeypatch):
    """The shop of `dataset:twin` with 300 customers."""
    from retention_lab import twin
    from retention_lab.twin import scenario

    few = dataclasses.replace(scenario.COMEBACK_COUPON, customers=300)
    monkeypatch.setattr(scenario, "COMEBACK_COUPON", few)
    monkeypatch.setattr(twin, "COMEBACK_COUPON", few)
    datasets._twin_key.cache_clear()
    yield few
    datasets._twin_key.cache_clear()


def test_the_twin_is_made_once(home, small_twin):
    path = locate("twin/assignments")
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall()[0] == (300,)
    truth = json.loads((path.parent / "truth.json").read_text(encoding="utf-8"))
    assert truth["scenario"]["customers"] == 300
    made = {p.name: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    assert set(made) == set(datasets.TWIN_FILES)
    assert locate("twin/orders").parent == path.parent
    assert {p.name: p.stat().st_mtime_ns for p in path.parent.iterdir()} == made
    assert describe("twin").path == path.with_name("customers.parquet")
    assert [p.name for p in path.parent.parent.iterdir()] == [path.parent.name]


def test_every_simulated_dataset_is_a_shop_of_its_own(home, small_twin, monkeypatch):
    from retention_lab.twin import scenario

    for attribute in MADE.values():
        few = dataclasses.replace(getattr(scenario, attribute), customers=300)
        monkeypatch.setattr(scenario, attribute, few)
    datasets._twin_key.cache_clear()
    folders = {name: locate(f"{name}/assignments").parent for name in MADE}
    assert len(set(folders.values())) == len(MADE)
    for name, folder in folders.items():
        truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
        assert truth["scenario"]["name"] == scenario.scenario_of(name).name
        assert describe(name).path == folder / "customers.parquet"


def test_a_lost_file_of_the_twin_is_made_again(home, small_twin):
    path = locate("twin/orders")
    before = path.read_bytes()
    path.unlink()
    assert locate("twin/customers").is_file()
    assert path.read_bytes() == before


def test_another_scenario_or_other_code_is_another_shop(small_twin, monkeypatch, tmp_path):
    key = datasets._twin_key()
    datasets._twin_key.cache_clear()
    assert datasets._twin_key() == key
    from retention_lab.twin import scenario

    code = tmp_path / "code"
    shutil.copytree(Path(scenario.__file__).parent, code)
    (code / "draw.py").write_text("# changed")
    monkeypatch.setattr(scenario, "__file__", str(code / "scenario.py"))
    datasets._twin_key.cache_clear()
    changed = datasets._twin_key()
    assert changed != key
    monkeypatch.setattr(scenario, "COMEBACK_COUPON", dataclasses.replace(small_twin, seed=1))
    datasets._twin_key.cache_clear()
    assert datasets._twin_key() not in (key, changed)


def test_several_processes_may_make_the_twin_at_once(home):
    code = "from retention_lab.data.datasets import locate; print(locate('twin/orders'))"
    run = [sys.executable, "-c", code]
    processes = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    (folder,) = (home / "cache" / "twin").iterdir()
    assert found == {str(folder / "orders.parquet")}
    assert {p.name for p in folder.iterdir()} == set(datasets.TWIN_FILES)
    count = duckdb.sql(f"select count(*) from '{folder / 'assignments.parquet'}'").fetchall()[0]
    assert count == (40_000,)


def test_the_twin_holds_what_it_says():
    tables = {t.name: t.rows for t in datasets.registry()["twin"].tables}
    for table in ("customers", "assignments"):
        path = locate(f"twin/{table}")
        assert duckdb.sql(f"select count(*) from '{path}'").fetchall()[0] == (tables[table],)
