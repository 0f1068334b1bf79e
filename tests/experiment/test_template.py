"""A name, and perhaps a table, in; an experiment file that is valid as it is out."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import FILE, ROOT, Ask


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


@pytest.mark.parametrize("name", ["cid", "customer id", "nr"])
def test_new_makes_no_metric_of_the_id(ask: Ask, project: Path, name: str) -> None:
    rows = "".join(f"{i + 1000},{'ab'[i % 2]},{i % 7}\n" for i in range(60))
    (project / "own.csv").write_text(f"{name},arm,spend\n{rows}", encoding="utf-8")
    assert ask("new", "own", "--units", "own.csv", "--arm", "arm", "--control", "a").status == 0
    text = (project / "experiments" / "own.yaml").read_text(encoding="utf-8")
    assert f'unit: "{name}"' in text or f"unit: {name}" in text
    assert "{name: spend, kind: mean, role: primary}" in text
    assert f"name: {name.replace(' ', '_')}," not in text
    assert ask("validate", "own").status == 0


def test_new_sees_the_id_of_a_table_with_rows_twice(ask: Ask, project: Path) -> None:
    rows = [f"{i},{'ab'[i % 2]},{i % 7}\n" for i in range(100)]
    (project / "own.csv").write_text("cid,arm,spend\n" + "".join([*rows, *rows[:3]]))
    answer = ask("new", "own", "--units", "own.csv", "--arm", "arm", "--control", "a")
    assert "! 'cid' is taken for the unit's id" in answer.err
    text = (project / "experiments" / "own.yaml").read_text(encoding="utf-8")
    assert "unit: cid" in text
    assert "name: cid" not in text
    answer = ask("validate", "own")
    assert answer.status == 1
    assert "3 units of own.csv in more than one row" in answer.err


def test_new_does_not_take_other_numbers_for_ids(ask: Ask, project: Path) -> None:
    rows = "".join(f"u{i},{'ab'[i % 2]},{i * 7},{i / 3},{i % 2}\n" for i in range(60))
    (project / "own.csv").write_text(f"user,arm,points,spend,paid\n{rows}", encoding="utf-8")
    answer = ask("new", "own", "--units", "own.csv", "--arm", "arm", "--control", "a")
    assert "! 'points' has its own value in nearly every row" in answer.err
    text = (project / "experiments" / "own.yaml").read_text(encoding="utf-8")
    assert "unit: user" in text
    assert "{name: spend, kind: mean, role: primary}" in text
    assert "# - {name: paid, kind: proportion}" in text
    assert "# - {name: points, kind: mean}" in text


def test_new_names_metrics_of_columns_in_any_script(ask: Ask, project: Path) -> None:
    rows = "".join(f"{i},{'ab'[i % 2]},{i % 3},{i % 5},{i % 7}\n" for i in range(60))
    (project / "表.csv").write_text(f"编号,组,金额,a b,a.b\n{rows}", encoding="utf-8")
    assert ask("new", "own", "--units", "表.csv", "--arm", "组", "--control", "a").status == 0
    path = project / "experiments" / "own.yaml"
    text = path.read_text(encoding="utf-8")
    assert 'labels: {metric_1: "金额"}' in text
    assert '# - {name: a_b, kind: mean, value: "a b"}' in text
    assert "# - {name: a_b_3, kind: mean, value: a.b}" in text
    # With every metric that is proposed, as it is proposed.
    path.write_text(text.replace("  # - {name", "  - {name"), encoding="utf-8")
    assert ask("validate", "own").status == 0


def test_new_sees_an_id_that_was_written_as_7_0(ask: Ask, project: Path) -> None:
    rows = "".join(f"{i}.0,{'ab'[i % 2]},{i % 7}\n" for i in range(600))
    (project / "own.csv").write_text("pidnum,arm,spend\n" + rows)
    assert ask("new", "own", "--units", "own.csv", "--arm", "arm", "--control", "a").status == 0
    text = (project / "experiments" / "own.yaml").read_text(encoding="utf-8")
    assert "unit: pidnum" in text
    assert "{name: spend, kind: mean, role: primary}" in text


def test_new_says_which_numbers_are_written_as_text(ask: Ask, project: Path) -> None:
    rows = "".join(f"u{i},{'ab'[i % 2]},${i}.50,{'YN'[i % 3 > 0]},{i % 7}\n" for i in range(60))
    (project / "own.csv").write_text("user,arm,spend,paid,visits\n" + rows)
    words = ("--units", "own.csv", "--arm", "arm", "--control", "a")
    answer = ask("new", "own", *words)
    assert "! 'spend' is text, and no metric is made of it; its values are numbers" in answer.err
    path = project / "experiments" / "own.yaml"
    text = path.read_text(encoding="utf-8").replace("name: visits", "name: paid")
    path.write_text(text, encoding="utf-8")
    answer = ask("validate", "own")
    assert answer.status == 1
    assert "holds text, not numbers; write yes and no, true and false, or 1 and 0" in answer.err
    (project / "own.csv").write_text("user,arm,paid\nu1,a,Y\nu2,b,N\n")
    answer = ask("new", "other", *words)
    assert answer.status == 1
    assert "no column of numbers or yes/no to make a metric of" in answer.err
    assert "'paid' holds text; write yes and no" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arm", "amr", "--control", "none"], "did you mean 'arm'?"),
        (["--arm", "xyzzy", "--control", "none"], "; it has "),
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


def test_new_for_a_table_of_events_writes_a_study_that_is_valid(ask: Ask, project: Path) -> None:
    notebook = ROOT / "notebooks" / "cohort_survival.ipynb"
    (project / "notebooks" / notebook.name).write_bytes(notebook.read_bytes())
    rows = "".join(f"{i % 30},2026-0{i % 4 + 1}-0{i % 9 + 1} 10:00,{i}\n" for i in range(200))
    (project / "orders.csv").write_text("customer,order date,amount\n" + rows)
    words = ["--events", "orders.csv", "--at", "order date", "--unit", "customer"]
    assert ask("new", "back", *words).status == 0
    text = (project / "experiments" / "back.yaml").read_text(encoding="utf-8")
    assert "as_of: 2026-04-08" in text
    assert 'at: "order date"' in text
    answer = ask("validate", "back")
    assert answer.status == 0, answer.out + answer.err
    answer = ask("new", "other", *words[:3], "order dat", *words[4:])
    assert "did you mean 'order date'?" in answer.err
    answer = ask("new", "other", *words[:3], "amount", *words[4:])
    assert "holds number, not times or dates" in answer.err
    assert ask("new", "other", "--events", "orders.csv").status == 2
    assert ask("new", "other", "--at", "x").status == 2
