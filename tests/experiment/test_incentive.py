"""The incentive section against its tables: what it adds to the metrics, and what is refused."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.errors import PlanError
from retention_lab.validate import REMARKS

DAY = dt.datetime(2026, 1, 10)
DESIGN = {"unit": "id", "arm": "got", "control": "no"}
METRICS = [
    {"name": "back", "kind": "retention", "event": "orders", "within": "30d", "role": "primary"},
    {"name": "spent", "kind": "sum", "event": "orders", "value": "value", "within": "30d",
     "pre": "60d"},
    {"name": "sent_back", "kind": "sum", "event": "refunds", "value": "value", "within": "30d"},
]  # fmt: skip


def tables(n=60):
    at = [DAY + dt.timedelta(hours=i) for i in range(n)]
    return {
        "entered": {
            "id": np.arange(n), "got": np.where(np.arange(n) % 2, "yes", "no"), "at": at,
            "city": [("x", "y", None)[i % 3] for i in range(n)], "age": np.arange(n) % 40 + 20.0,
            "age_known": [DAY - dt.timedelta(days=1)] * n,
            "stars": np.arange(n) % 5, "stars_at": [DAY + dt.timedelta(days=9)] * n,
            "used": (np.arange(n) % 4 == 1).astype(float), "score": np.full(n, 0.5),
        },
        "orders": {"id": np.arange(0, n, 2), "at": [at[i] + dt.timedelta(days=2)
                   for i in range(0, n, 2)], "value": np.full(n // 2, 9.0)},
        "refunds": {"id": np.arange(0, n, 6), "at": [at[i] + dt.timedelta(days=3)
                    for i in range(0, n, 6)], "value": np.full(n // 6, 9.0)},
    }  # fmt: skip


def planned(write, incentive, metrics=METRICS, **spec):
    events = {k: {"table": f"{k}.parquet", "at": "at"} for k in ("orders", "refunds")}
    data = {"assignments": {"table": "entered.parquet", "at": "at"}, "events": events,
            "as_of": "2026-03-01"}  # fmt: skip
    path = write(tables(), data=data, design=DESIGN, metrics=metrics, incentive=incentive, **spec)
    return rl.plan(path)


OBSERVED = {"strategy": "observational", "revenue": "spent", "margin": 0.3}


def test_the_offer_names_the_columns_of_the_ledger_and_of_those_who_are_alike(write):
    said = {**OBSERVED, "returns": "sent_back", "redeemed": "used", "propensity": "score",
            "covariates": ["city", {"column": "age", "at": "age_known"}, "spent"]}  # fmt: skip
    offer = planned(write, said).offer
    assert offer.outcomes == ("back", "spent", "sent_back")
    assert offer.money == {
        "revenue": "spent", "returns": "sent_back", "redeemed": "redeemed incentive 720h",
        "bought": "back",
    }  # fmt: skip
    assert [c.name for c in offer.covariates] == ["city=y", "city=(missing)", "age ", "spent pre"]
    assert offer.propensity.value == "score"


def test_rows_hold_what_the_offer_asks_for_and_no_id(write):
    said = {**OBSERVED, "redeemed": "used", "propensity": "score",
            "covariates": ["city", "age", "spent"]}  # fmt: skip
    plan = planned(write, said)
    rows = rl.reduce_incentive(plan).rows
    n = 60
    assert len(rows) == n
    order = np.argsort(rows.covariates["age "], kind="stable")
    made = {"arm", "outcomes", "covariates", "cluster", "propensity"}
    assert set(type(rows).__dataclass_fields__) == made
    assert sorted(rows.covariates["age "]) == sorted(np.arange(n) % 40 + 20.0)
    assert rows.covariates["city=(missing)"].sum() == 20
    (numbers,) = [c.numbers for c in plan.checks if c.code == "covariate"]
    assert numbers == {"how": "group", "n": 20, "all": 60, "name": "city"}
    assert rows.outcomes["spent"].sum() == 9.0 * 30
    assert rows.outcomes["back"][order].sum() == 30
    assert rows.outcomes["redeemed incentive 720h"].sum() == 15
    assert (rows.propensity == 0.5).all()


@pytest.mark.parametrize(
    ("incentive", "said"),
    [
        ({"covariates": ["ages"]}, "did you mean 'age'"),
        ({"covariates": ["got"]}, "would predict itself"),
        ({"covariates": ["used"], "redeemed": "used"}, "would predict itself"),
        ({"covariates": ["at"]}, "holds time, not numbers or levels"),
        ({"covariates": [{"column": "stars", "at": "stars_at"}]},
         "known only after the exposure for 60 units"),
        ({"covariates": [{"column": "stars", "at": "stars_on"}]}, "'stars_on' is not in"),
        ({"covariates": ["age"], "propensity": "scor"}, "did you mean 'score'"),
        ({"covariates": ["age"], "returns": "back"}, "is a retention"),
        ({"covariates": ["age"], "placebo": "nothing"}, "no metric 'nothing'"),
    ],
)  # fmt: skip
def test_covariates_that_cannot_be_are_refused_by_name_or_time(write, incentive, said):
    with pytest.raises(PlanError, match=said):
        planned(write, {**OBSERVED, **incentive})


def test_what_a_metric_measures_is_no_covariate(write):
    metrics = [*METRICS, {"name": "stars", "kind": "mean"}]
    with pytest.raises(PlanError, match="a covariate must have been known before it"):
        planned(write, {**OBSERVED, "covariates": ["stars"]}, metrics)


def test_returns_count_the_customers_that_revenue_counts(write):
    metrics = [*METRICS[:2], {**METRICS[2], "within": "20d"}]
    with pytest.raises(PlanError, match="the same window"):
        planned(write, {**OBSERVED, "covariates": ["age"], "returns": "sent_back"}, metrics)


def test_a_rollout_has_no_design(write):
    said = {"strategy": "rollout", "market": "m", "adopted": "a", "period": "p"}
    with pytest.raises(PlanError, match="a rollout has no design"):
        planned(write, said)


def test_the_time_of_a_rollouts_covariate_is_not_passed_over(write):
    panel = {
        "m": ["a", "a", "b", "b"], "p": [1, 2, 1, 2], "since": [2.0, 2.0, None, None],
        "y": [1.0, 2.0, 1.0, 1.5], "x": [1.0, 1.0, 2.0, 2.0],
    }  # fmt: skip
    said = {"strategy": "rollout", "market": "m", "adopted": "since", "period": "p"}
    spec = {"data": {"units": "panel.parquet"}, "metrics": [{"name": "y", "kind": "mean"}]}
    path = write({"panel": panel}, incentive={**said, "covariates": ["x"]}, **spec)
    assert rl.plan(path).offer.outcomes == ("y",)
    timed = [{"column": "x", "at": "nonsense"}]
    path = write({"panel": panel}, incentive={**said, "covariates": timed}, **spec)
    with pytest.raises(PlanError, match=r"a time \(at\) .* a rollout has none"):
        rl.plan(path)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"revenue": "spent", "margin": 0.3, "cost": {"contact": 1}, "min_roi": 1}, None),
        ({}, None),
        ({"revenue": "spent", "cost": {"contact": 1}}, "incentive.revenue, incentive.cost: not"),
        ({"min_roi": 1}, "incentive.min_roi: not used, as there is no ledger without"),
    ],
)
def test_what_a_ledger_would_use_is_not_passed_over_where_there_is_none(write, said, named):
    plan = planned(write, {"strategy": "randomised", **said})
    told = [c.text for c in plan.checks if c.code == "unused"]
    assert [t[: len(named or "")] for t in told] == ([named] if named else [])
    assert "unused" in REMARKS
