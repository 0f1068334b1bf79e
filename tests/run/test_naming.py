"""MLflow's names and limits, held against MLflow's own checks."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import project
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.results import Row
from retention_lab.run.naming import metric_key, metrics, parameters, safe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow.utils.validation import _validate_metric, _validate_param

NAMES = st.text(min_size=1, max_size=120)


def row(**values: object) -> Row:
    return Row(analysis="ab", estimand="mean_difference", **values)  # type: ignore[arg-type]


def test_a_row_gives_its_numbers_by_name() -> None:
    made = row(metric="spend", arm="b", estimate=2.0, std_error=0.5, ci_low=1.0, p_value=0.01, n=9)
    assert metrics([made]) == {
        "spend/mean_difference/b": 2.0,
        "spend/mean_difference/b.se": 0.5,
        "spend/mean_difference/b.ci_low": 1.0,
        "spend/mean_difference/b.p": 0.01,
    }


def test_a_segment_stands_behind_the_arm() -> None:
    made = row(metric="spend", arm="b", segment="region", level="north", estimate=1.0)
    assert list(metrics([made])) == ["spend/mean_difference/b/region:north"]


def test_parts_that_do_not_apply_are_left_out() -> None:
    assert metric_key(Row(analysis="ab", estimand="sample_ratio")) == "sample_ratio"


def test_curves_and_nulls_are_left_out() -> None:
    rows = [row(metric="m", estimate=1.0, at="30"), row()]
    assert metrics(rows) == {}


def test_a_day_that_groups_are_compared_on_is_part_of_the_name() -> None:
    gap = Row(analysis="survival", metric="orders", estimand="rmst_difference", at="30", arm="b",
              baseline="a", estimate=-1.5)  # fmt: skip
    curve = Row(analysis="survival", metric="orders", estimand="survival", at="30", estimate=0.9)
    assert metrics([gap, curve]) == {"orders/rmst_difference/b/day 30": -1.5}


def test_a_week_and_a_dose_are_not_called_days() -> None:
    same = {"analysis": "incentive", "metric": "orders", "arm": "b", "estimate": 2.0}
    week = Row(**same, estimand="net_effect", at="12")
    dose = Row(**same, estimand="profit_at_dose", at="2.5")
    assert set(metrics([week, dose])) == {
        "orders/net_effect/b/week 12", "orders/profit_at_dose/b/dose 2.5",
    }  # fmt: skip


def test_a_term_that_describes_is_not_part_of_the_name() -> None:
    share = Row(analysis="quality", estimand="share", arm="a", term="expected 0.5", estimate=0.4)
    split = Row(analysis="ab", estimand="sample_ratio", term="chi-square, 1 df", p_value=0.02)
    assert metrics([share, split]) == {"share/a": 0.4, "sample_ratio.p": 0.02}


def test_a_term_that_tells_apart_is_part_of_the_name() -> None:
    def of(estimand: str, term: str, **values: object) -> Row:
        where = {"metric": "m", "estimate": 1.0, **values}
        return Row(analysis="ab", estimand=estimand, term=term, **where)  # type: ignore[arg-type]

    rows = [
        of("main_effect", "colour: red"),
        of("main_effect", "size: big"),
        of("interaction", "colour: red, size: big"),
        of("covariate_difference", "age", arm="b", baseline="a"),
        of("covariate_difference", "tier: gold", arm="b", baseline="a"),
        of("heterogeneity", "3 levels", arm="b", baseline="a", segment="region"),
        of("heterogeneity", "5 days of entry", arm="b", baseline="a"),
    ]
    assert [key.rsplit("-", 1)[0] for key in metrics(rows)] == [
        "m/main_effect/colour_ red",
        "m/main_effect/size_ big",
        "m/interaction/colour_ red_ size_ big",
        "m/covariate_difference/b/age",
        "m/covariate_difference/b/tier_ gold",
        "m/heterogeneity/b/region",
        "m/heterogeneity/b",
    ]


def test_who_is_not_compared_with_the_control_is_told() -> None:
    rows = [
        row(metric="m", arm=arm, baseline=base, estimate=1.0)
        for arm, base in (("b", "a"), ("c", "a"), ("c", "b"))
    ]
    assert list(metrics(rows)) == [
        "m/mean_difference/b",
        "m/mean_difference/c",
        "m/mean_difference/c/vs b",
    ]


def test_every_number_of_a_run_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Four arms, all pairs, factors, covariates, a segment: no two rows share a name."""
    import retention_lab as rl

    (file,) = project.make(tmp_path, "one")
    lines = [f"{'abcd'[i % 4]},{'xyz'[i % 7 % 3]},{i % 5},{i % 11}" for i in range(1600)]
    (tmp_path / "data" / "units.csv").write_text("\n".join(["arm,region,age,spend", *lines]))
    text = file.read_text().replace("role: primary}", "role: primary, covariates: [age, region]}")
    text = text.replace(
        "control: a}",
        "control: a, factors: {colour: {a: red, b: blue, c: red, d: blue},"
        " size: {a: small, b: small, c: big, d: big}}}",
    )
    file.write_text(text + "segments: [region]\ninference: {comparisons: pairs}\n")
    plan = rl.plan(file)
    rows = [r for r in rl.analyse(plan, rl.reduce(plan)).rows if r.at is None]
    found = metrics(rows)
    several = {"main_effect", "interaction", "covariate_difference", "heterogeneity"}
    assert several <= {r.estimand for r in rows if r.estimate is not None}
    assert {"sample_ratio", "sample_ratio.p", "share/a", "units/a"} <= set(found)
    keys = [metric_key(r, "a") for r in rows]
    assert sorted(keys) == sorted(set(keys))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2) $100 - $200", "2) €100 - €200"),
        ("a/b", "a:b"),
        ("a", "a.se"),
        ("x" * 60, "x" * 61),
        ("", "."),
        (" a", "a "),
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert safe(one) != safe(other)


def test_plain_names_stay_as_they_are() -> None:
    for name in ("No E-Mail", "c10", "华北", "repurchase_30d", "0.5"):
        assert safe(name) == name


def test_an_arm_cannot_pass_for_anothers_number() -> None:
    a = row(metric="m", arm="a", estimate=1.0, std_error=2.0)
    b = row(metric="m", arm="a.se", estimate=3.0)
    assert sorted(metrics([a, b]).values()) == [1.0, 2.0, 3.0]


@settings(deadline=None)
@given(arm=NAMES, segment=NAMES, level=NAMES)
def test_mlflow_takes_every_key(arm: str, segment: str, level: str) -> None:
    where = {"metric": "m" * 100, "arm": arm, "segment": segment, "level": level, "term": level}
    made = Row(analysis="ab", estimand="covariate_difference", baseline=arm, **where)  # type: ignore[arg-type]
    made = dataclasses.replace(made, estimate=1.0, ci_high=2.0)
    other = row(metric="m", arm=arm, baseline=level, estimate=1.0)
    assert len(metrics([other, made])) == 3
    for key, value in metrics([other, made]).items():
        _validate_metric(key, value, 0, 0)


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.text(max_size=7000), max_size=3))
def test_mlflow_takes_every_parameter(content: dict[str, str]) -> None:
    for key, value in parameters({"parameters": content}).items():
        _validate_param(key, value)
        assert len(value) <= 6000


def test_the_file_is_flat_by_name() -> None:
    content = {
        "inference": {"alpha": 0.05},
        "metrics": [{"name": "spend", "kind": "mean", "value": None}],
        "segments": ["region", "tier"],
        "question": "",
    }
    assert parameters(content) == {
        "inference.alpha": "0.05",
        "metrics.spend.name": "spend",
        "metrics.spend.kind": "mean",
        "segments": "region, tier",
    }


def test_a_long_value_is_cut_and_says_so() -> None:
    text = parameters({"question": "why " * 3000})["question"]
    assert len(text) == 6000
    assert text.endswith("(12000 characters; the whole is in spec.yaml)")
