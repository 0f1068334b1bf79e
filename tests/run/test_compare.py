"""Comparisons name what differs in inputs and results, and only that."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import project
import pytest
from run.incentive_sample import doses
from run.sample import write

from retention_lab.errors import RunError
from retention_lab.results import Results, Row
from retention_lab.run.compare import compare
from retention_lab.run.folder import close_run, read_run, update_run
from retention_lab.run.report import comparison_html
from retention_lab.terminal import _said_of, _verdict
from retention_lab.texts import say


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return project.make(tmp_path, "one")[0]


def test_two_equal_runs_do_not_differ(file: Path) -> None:
    found = compare(project.finished(file), project.finished(file))
    assert found.inputs == ()
    assert found.results == ()
    assert found.same == 2
    assert found.same_verdict


def test_every_kind_of_input_is_named(file: Path, tmp_path: Path) -> None:
    a = project.finished(file)
    data = tmp_path / "data" / "units.csv"
    data.write_text(data.read_text() + "a,9\n")
    project.write_notebook(tmp_path / "notebooks" / "one.ipynb", ["1"])
    b = project.finished(file, overrides={"inference.alpha": 0.1, "segments": ["spend"]})
    versions = {**read_run(b)["versions"], "duckdb": "2.0.0"}
    update_run(b, versions=versions, git={"commit": "abc", "dirty": True})
    found = {(i.kind, i.name): (i.a, i.b) for i in compare(a, b).inputs}
    assert found["set", "inference.alpha"] == ("0.05", "0.1")
    assert found["set", "segments"] == (None, "spend")
    assert found["version", "duckdb"][1] == "2.0.0"
    assert found["git", "commit"] == (None, "abc")
    assert {kind for kind, _ in found} == {"set", "data", "hash", "version", "git"}
    assert {name for kind, name in found if kind == "hash"} == {"notebook"}
    one, other = found["data", "units"]
    assert one != other
    assert str(one).startswith("data/units.csv ")


def test_results_are_matched_by_what_they_are_about(file: Path) -> None:
    a, b = project.finished(file), project.finished(file)
    rows = list(Results.load(b).rows)
    rows[0] = dataclasses.replace(rows[0], estimate=2.5, ci_low=1.5)
    extra = Row(analysis="ab", metric="visit", estimand="mean", arm="b", estimate=0.1)
    Results.of([extra, *reversed(rows)]).save(b)
    found = compare(a, b)
    assert found.same == 1
    changed, added = sorted(found.results, key=lambda r: str(r.row.metric))
    assert (changed.row.metric, changed.difference) == ("spend", 0.5)
    assert changed.a is not None
    assert changed.b is not None
    assert (changed.a.ci_low, changed.b.ci_low) == (1.0, 1.5)
    assert (added.a, added.b, added.difference) == (None, extra, None)


def test_rounding_is_no_difference(file: Path) -> None:
    a, b = project.finished(file), project.finished(file)
    rows = list(Results.load(b).rows)
    rows[0] = dataclasses.replace(rows[0], estimate=2.0 + 1e-14)
    Results.of(rows).save(b)
    assert compare(a, b).results == ()


def test_a_run_without_results_can_be_compared(file: Path) -> None:
    a, b = project.finished(file), project.finished(file)
    (b / "results.parquet").unlink()
    update_run(b, status="failed", verdict=None)
    found = compare(a, b)
    assert len(found.results) == 2
    assert not found.same_verdict
    assert ("run", "status") in {(i.kind, i.name) for i in found.inputs}


def test_a_broken_result_table_is_named(file: Path) -> None:
    a, b = project.finished(file), project.finished(file)
    (b / "results.parquet").write_bytes(b"half")
    with pytest.raises(RunError, match=r"results\.parquet cannot be read"):
        compare(a, b)


def test_a_file_that_is_not_valid_is_compared_as_written(file: Path) -> None:
    a, b = project.finished(file), project.finished(file)
    (b / "spec.yaml").write_text("name: one\nmetricks: x\n")
    found = {i.name: (i.a, i.b) for i in compare(a, b).inputs}
    assert found["metricks"] == (None, "x")


def test_what_is_no_run_is_an_error(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        compare(project.finished(file), tmp_path)


def test_a_changed_file_and_a_changed_value_are_told_apart(file: Path) -> None:
    a = project.finished(file)
    file.write_text(file.read_text() + "privacy: {min_cell: 5}\n")
    b = project.finished(file, overrides={"metrics.0.direction": "decrease"})
    found = {(i.kind, i.name): (i.a, i.b) for i in compare(a, b).inputs}
    assert found == {
        ("file", "privacy.min_cell"): ("20", "5"),
        ("set", "metrics.spend.direction"): ("increase", "decrease"),
    }


def test_a_verdict_on_an_incentive_has_the_words_of_its_report(tmp_path: Path) -> None:
    folder = write(doses(), tmp_path)
    update_run(folder, run_id="20260116-081500-a1b2")
    close_run(folder, "finished")
    found = compare(folder, folder)
    assert (found.a.verdict, found.a.offer) == ("ship", True)
    assert say("en", "decision.offer.ship") in comparison_html(found)
    assert say("zh", "decision.offer.ship") in comparison_html(found, "zh")
    assert say("en", "decision.offer.ship").lower() == _verdict(_said_of(found.a))
