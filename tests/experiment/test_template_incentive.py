"""A strategy, and perhaps a table, in; an experiment file on an incentive, valid as it is, out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from asking import ROOT, Ask

from retention_lab.experiment.doubts import by_number
from retention_lab.experiment.load import load
from retention_lab.experiment.plan import make_plan
from retention_lab.experiment.template_incentive import SHIPPED

STRATEGIES = ("randomised", "encouragement", "observational", "dose", "rollout", "threshold")
TABLE = ("--units", "own.csv", "--arm", "arm", "--control", "none")


@pytest.fixture
def own(project: Path) -> Path:
    """A table of 400 customers with three arms, in the project."""
    arms = ("none", "c5", "c10", "c20")
    rows = "".join(
        f"{i},{arms[i % 4]},{('web', 'app')[i % 3 == 0]},{i % 50},{(i * 7) % 90}.5,"
        f"{int(i % 4 > 0 and i % 3 == 0)}\n"
        for i in range(400)
    )
    head = "id,arm,channel,visits,spend,redeemed\n"
    (project / "own.csv").write_text(head + rows, encoding="utf-8")
    shutil.copy(ROOT / "notebooks" / "incentive_effect.ipynb", project / "notebooks")
    return project


@pytest.mark.parametrize("strategy", STRATEGIES[:4])
def test_new_for_a_table_writes_a_file_that_is_valid(ask: Ask, own: Path, strategy: str) -> None:
    answer = ask("new", "mine", "--incentive", strategy, *TABLE)
    assert answer.status == 0
    assert "'redeemed' is taken for the column of who redeemed it" in answer.err
    text = (own / "experiments" / "mine.yaml").read_text(encoding="utf-8")
    assert "notebook: incentive_effect\n" in text
    assert "name: redeemed" not in text  # no metric is made of it
    assert ask("validate", "mine").status == 0
    said = load(own / "experiments" / "mine.yaml").incentive
    assert said is not None
    assert said.strategy == strategy
    assert said.redeemed == "redeemed"
    if strategy == "dose":
        assert said.dose == {"none": 0, "c5": 5, "c10": 10, "c20": 20}
    if strategy == "observational":
        assert said.columns == ("channel", "spend")


@pytest.mark.parametrize("strategy", STRATEGIES[:4])
def test_the_ledger_of_the_file_is_valid_once_it_is_wanted(
    ask: Ask, own: Path, strategy: str
) -> None:
    assert ask("new", "mine", "--incentive", strategy, *TABLE).status == 0
    path = own / "experiments" / "mine.yaml"
    text = re.sub(r"# (revenue|margin|cost|min_roi):", r"\1:", path.read_text(encoding="utf-8"))
    text = text.replace("METRIC", "visits")
    if strategy == "observational":
        text = text.replace("redemption: dose", "redemption: 2")
    path.write_text(text, encoding="utf-8")
    assert ask("validate", "mine").status == 0
    said = load(path).incentive
    assert said is not None
    assert said.keeps_a_ledger


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_a_table_it_is_the_one_that_comes_with_the_lab(
    ask: Ask, own: Path, strategy: str
) -> None:
    shipped = ROOT / "experiments" / f"{SHIPPED[strategy]}.yaml"
    shutil.copy(shipped, own / "experiments")
    assert ask("new", "mine", "--incentive", strategy).status == 0
    mine, theirs = load(own / "experiments" / "mine.yaml"), load(shipped)
    assert mine.incentive == theirs.incentive
    assert mine.incentive is not None
    assert mine.incentive.strategy == strategy
    assert mine.family is None  # the learning log would count a copy as an experiment of its own


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["dosis"], "did you mean 'dose'?"),
        (["dose"], "coupon-dose.yaml is not there to be copied"),
        (["dose", "--units", "own.csv"], "needs --units, --arm and --control, or none"),
        (["rollout", *TABLE], "has no arms: write its file without --units"),
        (["encouragement", *TABLE], "an encouragement needs to know who redeemed"),
        (["dose", "--events", "own.csv", "--at", "x", "--unit", "id"], "no other option"),
    ],
)
def test_what_cannot_be_written_is_told(ask: Ask, own: Path, options: list[str], said: str) -> None:
    text = (own / "own.csv").read_text(encoding="utf-8")
    (own / "own.csv").write_text(text.replace("redeemed", "complained"), encoding="utf-8")
    answer = ask("new", "mine", "--incentive", *options)
    assert answer.status in (1, 2)
    assert said in " ".join(answer.err.split())
    assert not (own / "experiments" / "mine.yaml").exists()


def test_arms_that_do_not_tell_their_dose_are_asked_for_it(ask: Ask, own: Path) -> None:
    text = (own / "own.csv").read_text(encoding="utf-8")
    for old, new in (("c5", "small"), ("c10", "medium"), ("c20", "large")):
        text = text.replace(f",{old},", f",{new},")
    (own / "own.csv").write_text(text, encoding="utf-8")
    answer = ask("new", "mine", "--incentive", "dose", *TABLE)
    assert answer.status == 0
    assert "the arms do not tell their value" in answer.err
    assert ask("validate", "mine").status == 0


def test_arms_come_in_the_order_of_their_numbers(own: Path) -> None:
    path = own / "experiments" / "mine.yaml"
    path.write_text(
        "schema: 1\nname: mine\ntitle: T\ndata: {units: own.csv}\n"
        "design: {unit: id, arm: arm, control: none}\n"
        "metrics: [{name: spend, kind: mean}]\n",
        encoding="utf-8",
    )
    assert make_plan(path).arms == ("none", "c5", "c10", "c20")
    assert sorted(["b10", "a", "b9", "b", "05", "5"], key=by_number) == [
        "05", "5", "a", "b", "b9", "b10",
    ]  # fmt: skip
