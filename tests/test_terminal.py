"""Outcomes and runs in; what the user sees of them out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from asking import Ask

from retention_lab import terminal
from retention_lab.run import execute
from retention_lab.run.outcome import Event, Outcome
from retention_lab.texts import say

ABSENT = "dataset 'x' is not at hand; put x.csv.gz into the folder that RETENTION_LAB_DATA names"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, project: Path) -> dict[str, Any]:
    """What the runner was asked for; it answers with the outcomes under "answer"."""
    asked: dict[str, Any] = {"answer": []}

    def run_experiments(files: Sequence[Path], **options: Any) -> list[Outcome]:
        asked.update(options, files=[f.stem for f in files])
        return asked["answer"]

    monkeypatch.setattr(execute, "run_experiments", run_experiments)
    return asked


def outcome(project: Path, status: str = "finished", **values: Any) -> Outcome:
    folder = project / "reports" / "shop" / "20260115-101112-abcd"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.en.html").touch()
    (project / "reports" / "index.html").touch()
    given = {"experiment": "shop", "folder": folder, "seconds": 3.25, **values}
    return Outcome(status=status, **given)


def test_run_prints_the_verdict_and_where_everything_is(
    ask: Ask, project: Path, ran: dict[str, Any]
) -> None:
    ran["answer"] = [outcome(project, verdict="ship", arm="coupon")]
    answer = ask("run", "shop")
    assert answer.status == 0
    (row,) = [line for line in answer.out.splitlines() if line.startswith(" shop")]
    page = "reports/shop/20260115-101112-abcd/report.en.html"
    assert row.split() == ["shop", "ship", "coupon", page, "3.2"]
    assert "All reports:  reports/index.html" in answer.out
    assert re.search(r"All records:  .*retention-lab ui  \(MLflow\)", answer.out)
    assert answer.err == ""


def test_run_passes_on_what_was_asked(ask: Ask, ran: dict[str, Any]) -> None:
    words = ["--jobs", "3", "--force", "--timeout", "10m", "--reports", "elsewhere"]
    words += ["--set", "inference.alpha=0.1", "--set", "title=a=b"]
    assert ask("run", "shop", *words).status == 0
    del ran["answer"], ran["on_event"]
    assert ran == {
        "files": ["shop"],
        "jobs": 3,
        "force": True,
        "timeout": 600.0,
        "reports": Path("elsewhere"),
        "overrides": {"inference.alpha": "0.1", "title": "a=b"},
    }


def test_run_all_runs_every_file(ask: Ask, project: Path, ran: dict[str, Any]) -> None:
    (project / "experiments" / "another.yaml").touch()
    assert ask("run", "--all").status == 0
    assert ran["files"] == ["another", "shop"]


def test_what_was_skipped_is_told_and_ends_with_0(
    ask: Ask, project: Path, ran: dict[str, Any]
) -> None:
    ran["answer"] = [
        outcome(project, "skipped_unchanged", verdict="stop"),
        outcome(project, "skipped_no_data", experiment="real", message=ABSENT, folder=None),
    ]
    answer = ask("run", "--all")
    assert answer.status == 0
    assert "unchanged" in answer.out
    (line,) = [line for line in answer.out.splitlines() if line.startswith("real")]
    assert line.startswith("real was skipped: dataset 'x' is not at hand; `")
    assert line.endswith("data x` says how to get it")
    assert "All in all" not in answer.out


@pytest.mark.parametrize("decision", ["ship", "stop", "keep_running"])
def test_of_an_incentive_the_words_are_those_of_its_page(
    ask: Ask, project: Path, ran: dict[str, Any], decision: str
) -> None:
    ran["answer"] = [outcome(project, verdict=decision, reason="incentive_above", offer=True)]
    (row,) = [line for line in ask("run", "shop").out.splitlines() if line.startswith(" shop")]
    assert say("en", f"decision.offer.{decision}").lower() in row
    assert decision.replace("_", " ") not in row.replace("stop it", "")


def test_why_a_test_is_invalid_stands_in_the_table(
    ask: Ask, project: Path, ran: dict[str, Any]
) -> None:
    mismatch = {"verdict": "invalid", "reason": "sample_ratio_mismatch"}
    ran["answer"] = [
        outcome(project, **mismatch),
        outcome(project, verdict="invalid", reason="a_new_rule", experiment="other"),
        outcome(project, verdict="keep_running", reason="cohorts_described", experiment="study"),
    ]
    answer = ask("run", "--all")
    assert answer.status == 0
    assert "invalid: the split is not the planned one" in answer.out
    assert "invalid: a new rule" in answer.out
    (study,) = [line for line in answer.out.splitlines() if "study" in line]
    assert "findings" in study
    assert "keep_running" not in study
    assert re.search(r"All in all it took \d+\.\d seconds", answer.out)


@pytest.mark.parametrize(
    ("status", "values", "ends", "message"),
    [
        ("failed", {"message": "cell 5: KeyError: 'x'"}, 1, "shop failed: cell 5: KeyError: 'x'"),
        ("finished", {"recorded": False, "message": "no server"}, 1, "no server"),
        ("interrupted", {"message": "at cell 3"}, 130, "shop was interrupted: at cell 3"),
    ],
)
def test_what_failed_is_told_and_is_the_exit_status(
    ask: Ask,
    project: Path,
    ran: dict[str, Any],
    status: str,
    values: dict[str, Any],
    ends: int,
    message: str,
) -> None:
    ran["answer"] = [
        outcome(project, verdict="ship", experiment="good"),
        outcome(project, status, **values),
    ]
    answer = ask("run", "--all")
    assert answer.status == ends
    assert message in answer.err
    assert "good" in answer.out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["shop", "--all"],
        ["shop", "--set", "alpha"],
        ["shop", "--timeout", "soon"],
        ["shop", "--timeout", "0"],
        ["shop", "--jobs", "0"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    ask: Ask, ran: dict[str, Any], words: list[str]
) -> None:
    assert ask("run", *words).status == 2
    assert "files" not in ran


def test_progress_is_shown_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def some_events() -> None:
        with terminal.run_progress(1) as tell:
            tell(Event(kind="planned", index=0, experiment="shop"))
            tell(Event(kind="started", index=0, experiment="shop"))
            tell(Event(kind="cell", index=0, experiment="shop", cell=2, cells=9))
            tell(Event(kind="note", index=0, experiment="shop", text="[a remark]"))
            tell(Event(kind="finished", index=0, experiment="shop"))

    monkeypatch.delenv("FORCE_COLOR", raising=False)
    some_events()
    assert capsys.readouterr().err == "[a remark]\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    some_events()
    said = capsys.readouterr()
    assert "shop" in said.err
    assert "[a remark]" in said.err
    assert said.out == ""


@pytest.fixture
def two_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of two runs of one experiment with different alpha, without a kernel."""
    import retention_lab as rl

    names = []
    for alpha in ("0.05", "0.2"):
        plan = rl.plan("experiments/shop.yaml", overrides={"inference.alpha": alpha})
        moments = rl.reduce(plan)
        results = rl.analyse(plan, moments)
        folder = rl.finish(plan, moments, results, rl.decide(plan, results), "")
        names.append(folder.name)
    return names


def test_runs_are_listed_compared_and_reported_again(
    ask: Ask, project: Path, two_runs: list[str]
) -> None:
    answer = ask("list")
    assert max(two_runs) in answer.out
    assert "shop with inference.alpha = 0." in answer.out
    answer = ask("compare", *two_runs, "--html", "differences.html")
    assert answer.status == 0
    assert re.search(r"--set +inference.alpha +0.05 +0.2", answer.out)
    assert "mean_difference" in answer.out
    assert re.search(r"\d+ results differ, \d+ are the same", answer.out)
    assert "inference.alpha" in (project / "differences.html").read_text(encoding="utf-8")
    page = project / "reports" / "shop" / two_runs[0] / "report.en.html"
    page.unlink()
    answer = ask("report", two_runs[0])
    assert answer.status == 0
    assert page.is_file()
    assert answer.out.splitlines()[0] == str(page.relative_to(project))
    assert (project / "reports" / "index.html").is_file()


def test_a_run_that_is_not_there_is_named(ask: Ask) -> None:
    for words in (["report", "shpo"], ["record", "shpo"], ["compare", "shpo", "shop"]):
        answer = ask(*words)
        assert answer.status == 1
        assert "there is no run 'shpo'" in answer.err


def test_record_says_which_mlflow_run_it_became(
    ask: Ask, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retention_lab.run import record

    folder = project / "reports" / "shop" / "20260115-101112-abcd"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(record, "record", lambda found: f"id-of-{found.name}")
    answer = ask("record", "shop")
    assert answer.status == 0
    assert "MLflow run id-of-20260115-101112-abcd" in answer.out


def test_list_shows_the_run_of_the_file_as_written_and_what_was_skipped(
    ask: Ask, project: Path
) -> None:
    from retention_lab.run.folder import note_skip

    def ran(run_id: str, decision: str, overrides: dict[str, object]) -> None:
        folder = project / "reports" / "shop" / run_id
        folder.mkdir(parents=True)
        run = {"run_id": run_id, "status": "finished", "started": "2026-01-15T10:00:00+00:00"}
        run |= {"overrides": overrides, "verdict": {"verdict": decision, "arm": None}}
        (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")

    ran("20260115-101112-abcd", "stop", {})
    ran("20260116-101112-abcd", "ship", {"inference.alpha": 0.4})
    note_skip(project / "reports", "real", "dataset 'x' is not at hand")
    answer = ask("list")
    (row,) = [line for line in answer.out.splitlines() if line.startswith(" shop")]
    assert row.split() == ["shop", "stop", "finished", "20260115-101112-abcd"]
    assert "shop with inference.alpha = 0.4: ship, run 20260116-101112-abcd" in answer.out
    assert "real was skipped: dataset 'x' is not at hand" in answer.out
