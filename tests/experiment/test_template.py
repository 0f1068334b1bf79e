"""A name, and perhaps a table, in; an experiment file that is valid as it is out."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import FILE, Ask


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
