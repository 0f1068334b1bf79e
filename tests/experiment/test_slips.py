"""Slips that a newcomer makes in a file, or has in a table; what the lab says of each, out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ROOT, Ask
from scipy.stats import chi2

from retention_lab.errors import DataError, PlanError, SpecError
from retention_lab.experiment.doubts import _tail
from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.plan import make_plan

Write = Callable[..., Path]
STUDY = {
    "data": {"events": {"orders": {"table": "orders.parquet", "at": "at"}}, "as_of": "2026-03-01"},
    "survival": {"unit": "who", "origin": "first orders", "event": "next orders"},
}
METRIC = {"name": "spend", "kind": "mean", "role": "primary"}


def shop(project: Path, old: str, new: str, name: str = "experiments/shop.yaml") -> None:
    path = project / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# The file


def of(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "trial",
        "title": "T",
        "data": {"units": "x.csv"},
        "design": {"arm": "arm", "control": "a"},
        "metrics": [METRIC],
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {**STUDY, "survival": {**STUDY["survival"], "origin": "frist orders"}},
            "did you mean 'first orders'?",
        ),
        (
            {"data": {"units": "x.csv", "as_of": "14.12.2025"}},
            "data.as_of: '14.12.2025' is not a date, such as 2026-01-15",
        ),
        (
            {"metrics": [{**METRIC, "margin": "1%"}]},
            "metric 1, margin: '1%' is not a number; write 0.01",
        ),
        ({"privacy": {"min_cell": "many"}}, "privacy.min_cell: 'many' is not a whole number"),
    ],
)
def test_a_slip_is_told_in_plain_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as told:
        validate(of(**changes))
    assert message in str(told.value)
    assert "Input should" not in str(told.value)
    assert "same_day" not in str(told.value)


def test_a_day_that_does_not_exist_is_named_with_its_line() -> None:
    with pytest.raises(SpecError, match=r"line 3: '2025-13-14' is not a date: month must be"):
        parse("name: x\ndata:\n  as_of: 2025-13-14\n")
    with pytest.raises(SpecError, match=r"line 2: '2025-02-30' is not a date"):
        parse("days:\n  - 2025-02-30\n")


def test_one_wrong_event_is_one_message(write: Write) -> None:
    back = {"name": "back", "kind": "retention", "event": "order", "within": "30d", "pre": "30d"}
    path = write(
        {"who": {"unit": ["u"], "arm": ["a"], "at": ["x"]}, "o": {"unit": ["u"], "at": ["x"]}},
        data={
            "assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "o.parquet", "at": "at"}},
            "as_of": "2026-03-01",
        },
        design={"unit": "unit", "arm": "arm", "control": "a"},
        metrics=[back],
    )
    with pytest.raises(PlanError) as told:
        make_plan(path)
    said = [line for line in str(told.value).splitlines() if "no data.events.order" in line]
    assert said == ["metric 'back': there is no data.events.order (orders); did you mean 'orders'?"]


def test_a_condition_that_is_no_sql_does_not_speak_of_the_engines_insides(write: Write) -> None:
    tables = {"orders": {"who": ["u"], "at": [1], "amount": [1.0]}}
    data = {
        "events": {"orders": {"table": "orders.parquet", "at": "at", "where": "amount >> > 0"}},
        "as_of": "2026-03-01",
    }
    with pytest.raises(PlanError) as told:
        make_plan(write(tables, **{**STUDY, "data": data}))
    assert "it is not an SQL expression" in str(told.value)
    assert "postfix" not in str(told.value)


@pytest.mark.parametrize("ref", ["https://example.org/units.csv", "s3://shop/units.parquet"])
def test_addresses_are_not_read(write: Write, ref: str) -> None:
    path = write(
        **{k: v for k, v in of(data={"units": ref}).items() if k not in ("schema", "name", "title")}
    )
    with pytest.raises(DataError, match="addresses are not read: fetch the file"):
        make_plan(path)


# The table


def test_dates_written_as_text_say_what_to_write_and_the_recipe_works(
    ask: Ask, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data").mkdir()
    rows = "".join(f'{i % 9},"Jan {i % 28 + 1}, 2026"\n' for i in range(60))
    (project / "data" / "orders.csv").write_text("customer_id,order date\n" + rows)
    head = "schema: 1\nname: study\ntitle: When?\nnotebook: cohort_survival\n"
    tail = "survival: {unit: customer_id, origin: first orders, event: next orders, horizon: 9d}\n"
    events = "  as_of: 2026-01-29\n  events: {orders: {table: data/orders.csv, at: order date}}\n"
    file = project / "experiments" / "study.yaml"
    (project / "notebooks" / "cohort_survival.ipynb").write_bytes(
        (ROOT / "notebooks" / "cohort_survival.ipynb").read_bytes()
    )
    file.write_text(f"{head}data:\n{events}{tail}")
    answer = ask("validate", "study")
    assert "must be written as 2025-01-31 10:00" in answer.err
    page = (ROOT / "docs" / "experiment-file.md").read_text(encoding="utf-8")
    section = page.split("### Dates written as text\n")[1].split("\n### ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (data,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    exec(code, {})
    file.write_text(f"{head}{data}  as_of: 2026-01-29\n{tail}")
    answer = ask("validate", "study")
    assert answer.status == 0, answer.err


def test_spellings_of_one_arm_are_a_fault_and_of_one_level_a_remark(
    ask: Ask, project: Path
) -> None:
    shop(project, "8,coupon,US", "8,coupon,us ", "units.csv")
    answer = ask("validate", "shop")
    assert answer.status == 0
    assert "! segment 'region': levels that differ in spaces or capitals only" in answer.out
    assert "'US', 'us '" in answer.out
    shop(project, "8,coupon", "8,Coupon", "units.csv")
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert "✗ arms that differ in spaces or capitals only count as different ones" in answer.out


def test_a_rare_level_is_not_named(ask: Ask, project: Path) -> None:
    shop(project, "8,coupon,US", "8,coupon,us ", "units.csv")
    shop(project, "min_cell: 1", "min_cell: 3")
    out = ask("validate", "shop").out
    assert "'US', a rare one" in out


def test_a_split_that_is_not_the_planned_one_has_its_cross(ask: Ask, project: Path) -> None:
    rows = "".join(f"{i},{'coupon' if i % 3 else 'none'},EU,0,{i % 5}.5,x\n" for i in range(300))
    (project / "units.csv").write_text("customer_id,arm,region,bought,spend,note\n" + rows)
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert "✗ the arms do not hold as many units as planned" in answer.out
    shop(project, "control: none\n", "control: none\n  expected_split: {none: 1, coupon: 2}\n")
    assert ask("validate", "shop").status == 0


@pytest.mark.parametrize("df", range(1, 9))
def test_the_tail_of_chi_square_is_that_of_scipy(df: int) -> None:
    for x in (0.01, 0.5, 3.84, 12.0, 60.0):
        assert _tail(x, df) == pytest.approx(chi2.sf(x, df), rel=1e-9)


def test_a_metric_made_of_an_id_is_seen(ask: Ask, project: Path) -> None:
    metric = "  - {name: customer_id, kind: mean}\n"
    shop(project, "segments: [region]", f"{metric}segments: [region]")
    answer = ask("validate", "shop")
    assert answer.status == 1
    assert "✗ metric 'customer_id' is made of 'customer_id', which only names" in answer.out
    shop(project, "  unit: customer_id\n", "")
    answer = ask("validate", "shop")
    assert answer.status == 0
    assert "! metric 'customer_id': nearly every row has its own 'customer_id'" in answer.out


def test_what_is_left_out_has_its_own_mark_and_is_said_once(ask: Ask, project: Path) -> None:
    shop(project, "3,none,US,0,0.0", "3,none,US,0,", "units.csv")
    shop(project, "kind: mean, role: primary}", "kind: mean, role: primary, missing: drop}")
    answer = ask("validate", "shop")
    assert "! 1 of 8 values of 'spend' are missing and left out" in answer.out
    shop(
        project,
        "{name: bought, kind: proportion}",
        "{name: note2, kind: mean, covariates: [spend]}",
    )
    shop(project, ",note\n", ",note2\n", "units.csv")
    for i, letter in enumerate("abcdefgh"):
        shop(project, f",{letter}\n", f",{i}\n", "units.csv")
    answer = ask("validate", "shop")
    assert "! 1 units without covariate 'spend': a group of their own" in answer.out
    assert "counted as 0" not in answer.out


def test_an_arm_that_may_be_a_missing_value_is_asked_about(write: Write) -> None:
    arms = ["a", "b", "NA"] * 40
    path = write(
        {"t": {"arm": arms, "x": [0.0, 1.0, 2.0, 4.0] * 30}},
        data={"units": "t.parquet"},
        design={"arm": "arm", "control": "a"},
        metrics=[{"name": "x", "kind": "mean"}],
    )
    said = [c.text for c in make_plan(path).checks if c.code == "missing_arm"]
    assert said == ["arm 'NA': is that a missing value? Leave such fields empty"]


@pytest.mark.parametrize(
    ("incentive", "said"),
    [
        ({"margin": 40}, "40 is not at most 1"),
        ({"margin": 0.4, "cost": 5}, "5 is not keys of its own"),
    ],
)
def test_a_number_out_of_its_range_is_told_without_names_of_types(
    write: Write, incentive: dict[str, Any], said: str
) -> None:
    path = write(
        {"t": {"arm": ["a", "b"] * 40, "x": [0.0, 1.0] * 40}},
        data={"units": "t.parquet"},
        design={"arm": "arm", "control": "a"},
        metrics=[{"name": "x", "kind": "mean"}],
        incentive={"strategy": "randomised", **incentive},
    )
    with pytest.raises(SpecError, match=said):
        make_plan(path)
