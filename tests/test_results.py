"""The result table: columns, filters, saving, and numbers that may not be there."""

from __future__ import annotations

import json

import pytest

from retention_lab.results import COLUMNS, Reason, Results, Row, Verdict

ROWS = Results.of(
    [
        Row(analysis="ab", metric="x", estimand="mean", arm="a", estimate=1.5, n=10),
        Row(analysis="ab", metric="x", estimand="mean", arm="b", note="few_units: <b>no</b>"),
    ]
)


def test_the_columns_are_the_public_ones():
    assert list(ROWS.frame.columns) == list(COLUMNS)
    assert ",".join(COLUMNS) == (
        "analysis,metric,estimand,arm,baseline,segment,level,term,at,estimate,std_error,ci_low,"
        "ci_high,p_value,p_adjusted,n,n_baseline,method,note"
    )


def test_saving_and_loading_changes_nothing(tmp_path):
    ROWS.save(tmp_path)
    assert Results.load(tmp_path) == ROWS
    assert (tmp_path / "results.csv").read_text().splitlines()[1].startswith("ab,x,mean,a,,")


def test_filters():
    assert ROWS.one(arm="a").estimate == 1.5
    assert len(ROWS.where(arm=["a", "b"])) == 2
    assert len(ROWS.where(baseline=None)) == 2
    with pytest.raises(KeyError, match="amr"):
        ROWS.where(amr="a")
    with pytest.raises(LookupError, match="2 rows"):
        ROWS.one(metric="x")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite_or_absent(value):
    with pytest.raises(ValueError, match="estimate is"):
        Row(analysis="ab", metric="x", estimand="mean", estimate=value)


def test_text_is_escaped_in_a_notebook():
    assert "<b>" not in ROWS._repr_html_()


def test_a_verdict_keeps_reasons_and_their_numbers(tmp_path):
    verdict = Verdict("ship", "b", (Reason("primary_better", {"metric": "x", "estimate": 0.1}),))
    verdict.save(tmp_path, {"en": ["It is better."], "zh": ["更好。"]})
    content = json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))
    assert content["verdict"] == "ship"
    assert content["reasons"][0]["text"] == {"en": "It is better.", "zh": "更好。"}
    assert Verdict.load(tmp_path) == verdict
