"""What a user types in; what the command line answers, and its exit status, out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from asking import FILE, UNITS, Ask

from retention_lab import __main__

HEAVY = {"pandas", "numpy", "pyarrow", "papermill", "mlflow", "nbformat", "scipy", "matplotlib"}


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
        "from retention_lab import __main__\n"
        f"sys.argv = ['retention-lab', *{list(words)!r}]\n"
        "__main__._end = sys.exit\n"
        "try: __main__.main()\n"
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
    assert "_duckdb" in found
    assert found & (HEAVY | {"narwhals", "rich", "jinja2", "duckdb", "email", "tempfile"}) == set()


def test_validate_ends_with_all_said_and_its_status(project: Path) -> None:
    """It ends without taking its modules apart: nothing may be lost, nothing left open."""
    words = [sys.executable, "-m", "retention_lab", "validate", "shop"]
    done = subprocess.run(words, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.endswith("customer_id' stands in one row and one arm\n"), done.stdout
    change(project, "control: none", "control: nobody")
    done = subprocess.run(words, cwd=project, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no unit has 'nobody' in its arm" in done.stderr


def test_a_reader_who_has_seen_enough_leaves_no_traceback(project: Path) -> None:
    words = [sys.executable, "-u", "-m", "retention_lab", "validate", *["shop"] * 3]
    asked = subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert asked.stdout is not None
    asked.stdout.close()
    _, said = asked.communicate(timeout=60)
    assert (asked.returncode, said) == (1, b"")


def test_validate_onto_a_full_disk_fails_as_python_does(project: Path) -> None:
    words = f"{sys.executable} -m retention_lab validate shop shop shop > /dev/full"
    done = subprocess.run(words, shell=True, cwd=project, capture_output=True, text=True)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


def test_pydantic_looks_for_no_plugins_and_has_the_rest_of_its_loader(project: Path) -> None:
    code = (
        "from retention_lab import __main__\n"
        "__main__._look_for_no_plugins()\n"
        "from pydantic.plugin import _loader\n"
        "assert tuple(_loader.get_plugins()) == ()\n"
        "from retention_lab.experiment.spec import Privacy\n"
        "assert Privacy.model_validate({'min_cell': 5}).min_cell == 5\n"
        "import sys; assert 'importlib.metadata' not in sys.modules\n"
        "assert _loader.PYDANTIC_ENTRY_POINT_GROUP == 'pydantic'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "retention_lab", "--version"],
        capture_output=True,
        text=True,
        check=True,
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
    assert "✓ arm 'none' (control): 4 units, 50.0 % of all; planned 50.0 %" in answer.out
    assert "✓ arm 'coupon': 4 units, 50.0 % of all; planned 50.0 %" in answer.out
    assert answer.err == ""


def test_validate_shows_planned_and_real_shares_side_by_side(ask: Ask, project: Path) -> None:
    change(project, "control: none\n", "control: none\n  expected_split: {none: 1, coupon: 3}\n")
    answer = ask("validate", "shop")
    assert "arm 'none' (control): 4 units, 50.0 % of all; planned 25.0 %" in answer.out
    assert "arm 'coupon': 4 units, 50.0 % of all; planned 75.0 %" in answer.out


def test_validate_does_not_count_a_small_arm(ask: Ask, project: Path) -> None:
    change(project, "min_cell: 1}", "min_cell: 5}")
    answer = ask("validate", "shop")
    assert "arm 'none' (control): not counted here: an arm has fewer than 5 units" in answer.out
    assert "4 units" not in answer.out


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
        "line 11: metric 1: unknown key 'rolle'; did you mean 'role'?",
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
        "1 unit of units.csv in two arms or more",
    ),
    "duplicate units": (
        "8,coupon,US",
        "7,coupon,US",
        "1 unit of units.csv in more than one row",
    ),
    "units without id": ("8,coupon,US", ",coupon,US", "1 row of units.csv without 'customer_id'"),
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
    from retention_lab import validate

    def broken(path: Path) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(validate, "make_plan", broken)
    monkeypatch.setattr(sys, "argv", ["retention-lab", "validate", "shop"])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        __main__.answer()


# list, data


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


# plan


def test_plan_says_what_the_next_test_needs(ask: Ask, project: Path) -> None:
    rows = ["customer_id,arm,region,bought,spend,note"]
    rows += [f"{i},{('none', 'coupon')[i % 2]},EU,{i % 3 == 0:d},{i % 7}.5,x" for i in range(1000)]
    (project / "units.csv").write_text("\n".join(rows), encoding="utf-8")
    answer = ask("plan", "shop", "--set", "planning.traffic=100", "--set", "planning.effect=0.2")
    assert answer.status == 0, answer.err
    assert "New units a day: 100" in answer.out
    assert "The primary metrics need" in answer.out


def test_plan_on_too_little_says_so(ask: Ask) -> None:
    answer = ask("plan", "shop")
    assert answer.status == 0, answer.err
    assert "fewer than 100 units" in " ".join(answer.out.split())


def test_validate_holds_the_file_against_its_notebook(ask: Ask, project: Path) -> None:
    change(project, "segments: [region]", "segments: [region]\nnotebook: ab_tset")
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert "ab_test" in answer.err
