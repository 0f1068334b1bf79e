"""MLflow's names and limits, held against MLflow's own checks."""

from __future__ import annotations

import warnings

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
    rows = [row(metric="m", estimate=1.0, term="x"), row(metric="m", estimate=1.0, at="30"), row()]
    assert metrics(rows) == {}


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
    made = row(metric="m" * 100, arm=arm, segment=segment, level=level, estimate=1.0, ci_high=2.0)
    for key, value in metrics([made]).items():
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
