"""What a user types in; what the command line answers, and its exit status, out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retention_lab import cli, servers, terminal
from retention_lab.run import execute
from retention_lab.run.outcome import Event, Outcome

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"pandas", "numpy", "pyarrow", "papermill", "mlflow", "nbformat", "scipy", "matplotlib"}

UNITS = """\
customer_id,arm,region,bought,spend,note
1,none,EU,0,0.0,a
2,none,EU,1,12.5,b
3,none,US,0,0.0,c
4,none,US,1,20.0,d
5,coupon,EU,1,14.0,e
6,coupon,EU,1,11.0,f
7,coupon,US,0,0.0,g
8,coupon,US,1,30.0,h
"""
FILE = """\
schema: 1
name: shop
title: Does the coupon pay?
data:
  units: units.csv
design:
  unit: customer_id
  arm: arm
  control: none
metrics:
  - {name: spend, kind: mean, role: primary}
  - {name: bought, kind: proportion}
segments: [region]
privacy: {min_cell: 1}
"""


@dataclass(frozen=True)
class Answer:
    """What the command line printed, and its exit status."""

    status: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project, in which the command line is called."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "units.csv").write_text(UNITS, encoding="utf-8")
    (tmp_path / "experiments" / "shop.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def ask(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Call the command line with some words."""

    def ask(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["retention-lab", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return ask


def change(project: Path, old: str, new: str, name: str = "experiments/shop.yaml") -> None:
    path = project / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# Start


def modules_after(*words: str, cwd: Path) -> set[str]:
    """Top-level modules that a fresh process has imported after a command."""
    code = (
        "import sys, json\n"
        "from retention_lab import cli\n"
        f"sys.argv = ['retention-lab', *{list(words)!r}]\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy(project: Path) -> None:
    found = modules_after("--help", cwd=project)
    assert found & (HEAVY | {"duckdb", "narwhals", "pydantic", "yaml"}) == set()


def test_validate_imports_nothing_heavy(project: Path) -> None:
    found = modules_after("validate", "shop", cwd=project)
    assert "duckdb" in found
    assert found & (HEAVY | {"narwhals", "rich", "jinja2"}) == set()


@pytest.mark.parametrize("module", ["retention_lab", "retention_lab.cli"])
def test_the_package_and_the_module_are_programs(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "retention-lab 0.1.0\n"


def test_help_lists_every_command(ask: Ask) -> None:
    answer = ask("--help")
    assert answer.status == 0
    for name in ("new", "validate", "run", "list", "compare", "report", "record", "data", "ui"):
        assert f" {name} " in answer.out


# validate


def test_validate_prints_what_was_checked(ask: Ask) -> None:
    answer = ask("validate", "shop")
    assert answer.status == 0
    assert answer.out.startswith("experiments/shop.yaml: valid\n")
    assert "✓ 8 units in units.csv" in answer.out
    assert answer.err == ""


def test_validate_takes_paths_names_and_globs(ask: Ask, project: Path) -> None:
    text = FILE.replace("name: shop", "name: other")
    (project / "experiments" / "other.yaml").write_text(text, encoding="utf-8")
    for words in (["shop", "other"], ["experiments/*.yaml"], ["experiments/shop.yaml", "other"]):
        answer = ask("validate", *words)
        assert answer.status == 0
        assert answer.out.count(": valid\n") == 2


FAULTS = {
    "unknown key": (
        "role: primary",
        "rolle: primary",
        "line 11: unknown key 'metrics.0.rolle'; did you mean 'role'?",
    ),
    "missing table": ("units: units.csv", "units: unitz.csv", "no file 'unitz.csv'"),
    "missing column": (
        "unit: customer_id",
        "unit: custmer_id",
        "column 'custmer_id' is not in units.csv; did you mean 'customer_id'?",
    ),
    "missing segment": (
        "segments: [region]",
        "segments: [regoin]",
        "column 'regoin' is not in units.csv; did you mean 'region'?",
    ),
    "wrong type in the file": (
        "segments: [region]",
        "inference: {alpha: many}",
        "line 13: inference.alpha",
    ),
    "wrong type in the table": (
        "{name: spend,",
        "{name: spend, value: note,",
        "column 'note' of units.csv holds text, not numbers",
    ),
    "absent control": ("control: none", "control: nobody", "no unit has 'nobody' in its arm"),
    "absent arm": (
        "control: none\n",
        "control: none\n  expected_split: {none: 1, copon: 1}\n",
        "arm 'coupon' (4 units) is not in expected_split; did you mean 'copon'?",
    ),
    "later analysis": ("segments: [region]", "survival: {origin: a, event: b}", "survival"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_place_and_ends_with_1(
    ask: Ask, project: Path, fault: str
) -> None:
    old, new, message = FAULTS[fault]
    change(project, old, new)
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert ": valid" not in answer.out


ROWS = {
    "two arms for a unit": (
        "8,coupon,US",
        "4,coupon,US",
        "1 units of units.csv stand in two arms or more",
    ),
    "duplicate units": (
        "8,coupon,US",
        "7,coupon,US",
        "1 units of units.csv stand in more than one row",
    ),
    "units without id": ("8,coupon,US", ",coupon,US", "1 rows of units.csv have no 'customer_id'"),
}


@pytest.mark.parametrize("fault", ROWS)
def test_a_fault_of_the_rows_is_named(ask: Ask, project: Path, fault: str) -> None:
    old, new, message = ROWS[fault]
    change(project, old, new, "units.csv")
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert message in answer.err


def test_an_empty_table_is_named(ask: Ask, project: Path) -> None:
    (project / "units.csv").write_text(UNITS.splitlines()[0] + "\n", encoding="utf-8")
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert "units.csv has no rows" in answer.err


def test_all_faults_of_all_files_are_printed(ask: Ask, project: Path) -> None:
    change(project, "segments: [region]", "segments: [regoin]")
    change(project, "arm: arm", "arm: amr")
    text = FILE.replace("name: shop", "name: good")
    (project / "experiments" / "good.yaml").write_text(text, encoding="utf-8")
    answer = ask("validate", "shop", "good")
    assert answer.status == 1
    assert "'regoin'" in answer.err
    assert "'amr'" in answer.err
    assert "good.yaml: valid" in answer.out


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("shpo", "there is no experiment 'shpo'"),
        ("experiments/shpo.yaml", "there is no experiment file at "),
    ],
)
def test_a_missing_file_is_named_with_the_nearest(ask: Ask, typed: str, message: str) -> None:
    answer = ask("validate", typed)
    assert answer.status == 1
    assert message in answer.err
    assert "did you mean 'shop'?" in answer.err


def test_an_unexpected_error_keeps_its_traceback(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    from retention_lab.experiment import plan

    def broken(path: Path) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(plan, "make_plan", broken)
    monkeypatch.setattr(sys, "argv", ["retention-lab", "validate", "shop"])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main()


# new


def test_new_writes_a_file_that_is_valid(ask: Ask, project: Path) -> None:
    answer = ask("new", "my-test")
    assert answer.status == 0
    assert "experiments/my-test.yaml is written" in answer.out
    assert "validate my-test" in answer.out
    assert ask("validate", "my-test").status == 0


def test_new_does_not_overwrite(ask: Ask, project: Path) -> None:
    answer = ask("new", "shop")
    assert answer.status == 1
    assert "is there already" in answer.err
    assert (project / "experiments" / "shop.yaml").read_text(encoding="utf-8") == FILE


def test_new_refuses_a_name_that_cannot_be_a_file(ask: Ask) -> None:
    answer = ask("new", "../x")
    assert answer.status == 1
    assert "cannot be a name" in answer.err


def test_new_for_a_table_writes_a_file_that_is_valid(ask: Ask, project: Path) -> None:
    answer = ask("new", "mine", "--units", "units.csv", "--arm", "arm", "--control", "none")
    assert answer.status == 0
    text = (project / "experiments" / "mine.yaml").read_text(encoding="utf-8")
    assert "unit: customer_id" in text
    assert "- {name: bought, kind: proportion, role: primary}" in text
    assert "# - {name: spend, kind: mean}" in text
    assert "e.g. [region]" in text
    assert ask("validate", "mine").status == 0


def test_new_for_a_table_survives_odd_names_and_missing_values(ask: Ask, project: Path) -> None:
    header = 'arm,"order value (€)",no\n'
    rows = "".join(f"{arm},{i if i else ''},{i}.5\n" for arm in ("a", "no") for i in range(9))
    (project / "odd.csv").write_text(header + rows, encoding="utf-8")
    answer = ask("new", "odd", "--units", "odd.csv", "--arm", "arm", "--control", "no")
    assert answer.status == 0
    text = (project / "experiments" / "odd.yaml").read_text(encoding="utf-8")
    assert 'value: "order value (€)", missing: drop' in text
    assert ask("validate", "odd").status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arm", "amr", "--control", "none"], "did you mean 'arm'?"),
        (["--arm", "arm", "--control", "nothing"], "holds no 'nothing'"),
    ],
)
def test_new_names_what_is_not_in_the_table(ask: Ask, words: list[str], message: str) -> None:
    answer = ask("new", "mine", "--units", "units.csv", *words)
    assert answer.status == 1
    assert message in answer.err


def test_new_needs_all_three_options_together(ask: Ask) -> None:
    assert ask("new", "mine", "--arm", "arm").status == 2
    assert ask("new", "mine", "--units", "units.csv").status == 2


# run


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
        outcome(project, "skipped_no_data", experiment="real", message="put it there", folder=None),
    ]
    answer = ask("run", "--all")
    assert answer.status == 0
    assert "unchanged" in answer.out
    assert "real was skipped, its data is not at hand: put it there" in answer.out


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


# runs that are there


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
    answer = ask("compare", *two_runs, "--html", "differences.html")
    assert answer.status == 0
    assert "inference.alpha" in answer.out
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


# list, data, ui, lab


def test_list_shows_what_was_not_run_yet(ask: Ask) -> None:
    answer = ask("list")
    assert answer.status == 0
    assert "shop" in answer.out
    assert "not run yet" in answer.out


def test_list_of_nothing_says_how_to_begin(ask: Ask, project: Path) -> None:
    (project / "experiments" / "shop.yaml").unlink()
    assert "new my-test" in ask("list").out


def test_data_lists_every_dataset(ask: Ask) -> None:
    answer = ask("data")
    assert answer.status == 0
    for name in ("hillstrom", "online-retail", "cdnow", "complete-journey", "twin"):
        assert name in answer.out
    assert "CC0" in answer.out


def test_data_describes_one_dataset_and_where_it_is(ask: Ask, project: Path) -> None:
    answer = ask("data", "twin/orders")
    assert answer.status == 0
    assert os.environ["RETENTION_LAB_CACHE"] in answer.out
    assert "Licence: Apache-2.0" in answer.out


def test_data_names_the_nearest_dataset(ask: Ask) -> None:
    answer = ask("data", "hilstrom")
    assert answer.status == 1
    assert "did you mean 'hillstrom'?" in answer.err


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that this process would have become."""
    command: list[str] = []

    def execv(program: str, words: list[str]) -> None:
        command[:] = words
        raise SystemExit(0)

    monkeypatch.setattr(servers.os, "execv", execv)
    return command


def test_ui_is_a_light_server_for_this_machine_alone(
    ask: Ask, became: list[str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    assert ask("ui", "--port", "5999").status == 0
    said = " ".join(became)
    assert "-m mlflow server --host 127.0.0.1 --port 5999 --workers 1" in said
    assert f"--backend-store-uri sqlite:///{project / 'mlflow.db'}" in said
    assert servers.os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_ui_says_where_the_records_are_if_they_are_elsewhere(
    ask: Ask, became: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example.com")
    answer = ask("ui")
    assert answer.status == 1
    assert "mlflow.example.com" in answer.err
    assert "secret" not in answer.err
    assert became == []


def test_lab_is_for_this_machine_alone(ask: Ask, became: list[str], project: Path) -> None:
    assert ask("lab").status == 0
    assert "-m jupyter lab --ServerApp.ip=127.0.0.1" in " ".join(became)
    assert f"--ServerApp.root_dir={project}" in became
