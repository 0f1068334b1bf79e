"""An incentive that nobody randomised, from tables to rows: what is told, left out and refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from retention_lab.data.evidence import reduce_incentive
from retention_lab.errors import DataError, LabError
from retention_lab.experiment.plan import make_plan
from retention_lab.incentives.strategies.observational import rows
from retention_lab.results import Results

N = 1500
COUPON = 3.0  # what a coupon adds to revenue
INCENTIVE = {
    "strategy": "observational",
    "covariates": ["age", "channel"],
    "placebo": "earlier",
    "revenue": "revenue",
    "margin": 0.4,
    "redeemed": "redeemed",
    "cost": {"redemption": 1.0, "contact": 0.1},
}
METRICS = [
    {"name": "revenue", "kind": "mean", "role": "primary"},
    {"name": "bought", "kind": "proportion"},
    {"name": "earlier", "kind": "mean", "role": "guardrail"},
]
DESIGN = {"unit": "customer_id", "arm": "arm", "control": "none"}


def columns(n: int = N, seed: int = 4) -> dict:
    rng = np.random.default_rng(seed)
    age = rng.normal(size=n)
    web = rng.random(n) < 0.4
    got = rng.random(n) < 1 / (1 + np.exp(-(0.8 * age + 0.5 * web)))
    revenue = 20 + 4 * age + 2 * web + COUPON * got + rng.normal(size=n)
    return {
        "customer_id": np.arange(n),
        "arm": np.where(got, "coupon", "none"),
        "age": age,
        "channel": np.where(web, "web", "app"),
        "revenue": revenue,
        "bought": (rng.random(n) < 0.3 + 0.1 * got).astype(int),
        "earlier": 10 + 3 * age + rng.normal(size=n),
        "redeemed": (got & (rng.random(n) < 0.5)).astype(int),
        "household": rng.integers(0, n // 3, n),
    }


@pytest.fixture
def found(write):
    """found(table, incentive keys): the rows of the strategy."""

    def _found(table, metrics=METRICS, design=DESIGN, **keys):
        path = write(
            {"units": table},
            data={"units": "units.parquet"},
            design=design,
            metrics=metrics,
            incentive=INCENTIVE | keys,
        )
        plan = make_plan(path)
        return Results.of(rows(plan, reduce_incentive(plan)))

    return _found


def one(results, **where):
    (row,) = results.where(**where).rows
    return row


def test_adjustment_finds_what_the_plain_difference_does_not(found):
    results = found(columns())
    naive = one(results, estimand="naive_difference", metric="revenue")
    assert naive.ci_low > COUPON
    for estimand in ("average_effect", "average_effect_treated", "partially_linear_effect"):
        row = one(results, estimand=estimand, metric="revenue")
        assert row.arm == "coupon"
        assert row.baseline == "none"
        assert abs(row.estimate - COUPON) < 4 * row.std_error
        assert row.std_error < 0.1
        assert "linear, 5 folds" in row.method
    assert not results.where(estimand="average_effect", metric="earlier").rows


def test_every_doubt_is_told(found):
    results = found(columns())
    kinds = {r.estimand for r in results.rows}
    assert kinds >= {
        "standardised_difference", "propensity_share", "trimmed_share", "e_value",
        "robustness_value", "benchmark_bias", "sensitivity_contour", "placebo_outcome",
        "placebo_treatment", "random_common_cause",
    }  # fmt: skip
    placebo = one(results, estimand="placebo_outcome")
    assert placebo.metric == "earlier"
    assert placebo.ci_low < 0 < placebo.ci_high
    before, after = (
        one(results, estimand="standardised_difference", term="age", at=a).estimate
        for a in ("before", "after")
    )
    assert before > 0.5
    assert abs(after) < 0.1
    shares = results.where(estimand="propensity_share", arm="none").rows
    hidden = [r for r in shares if r.estimate is None]
    assert all(r.note.startswith("suppressed: fewer than 20") for r in hidden)
    left = 1.0 - sum(r.estimate or 0.0 for r in shares)
    assert round(left * shares[0].n) >= 20 if hidden else left == pytest.approx(0.0)
    at_all = one(results, estimand="robustness_value", metric="revenue", term="q=1")
    sure = one(results, estimand="robustness_value", metric="revenue", term="alpha")
    assert 0 < sure.estimate < at_all.estimate < 1
    # What a cause as strong as nothing leaves is the regression's own effect.
    least = one(results, estimand="regression_effect", metric="revenue")
    none = one(results, estimand="sensitivity_contour", metric="revenue", at="0,0")
    assert least.estimate == pytest.approx(none.estimate, rel=1e-12)
    assert least.ci_low == pytest.approx(none.ci_low, rel=1e-3)
    assert least.ci_low < COUPON < least.ci_high
    assert least.p_value < 1e-6
    terms = {r.term for r in results.where(estimand="benchmark_bias", metric="revenue").rows}
    assert terms == {"age", "channel"}
    ratio = one(results, estimand="e_value", metric="bought", term="estimate")
    assert ratio.method == "risk ratio of the AIPW means"
    assert ratio.estimate > 1
    again = one(results, estimand="random_common_cause", metric="revenue")
    assert again.estimate == pytest.approx(COUPON, abs=0.3)


def test_the_ledger_is_of_those_who_got_it(found):
    table = columns()
    results = found(table)
    rate = table["redeemed"][table["arm"] == "coupon"].mean()
    assert one(results, estimand="redemption_rate").estimate == pytest.approx(rate, rel=1e-9)
    treated = one(results, estimand="average_effect_treated", metric="revenue")
    brought = one(results, estimand="incremental_revenue")
    assert brought.estimate == pytest.approx(treated.estimate, rel=1e-9)
    cost = 0.1 + rate
    profit = one(results, estimand="incremental_profit")
    assert profit.estimate == pytest.approx(0.4 * treated.estimate - cost, rel=1e-9)
    per_dollar = one(results, estimand="margin_per_dollar")
    assert per_dollar.estimate == pytest.approx(0.4 * treated.estimate / cost, rel=1e-9)
    assert per_dollar.ci_low < per_dollar.estimate < per_dollar.ci_high


def test_clusters_make_the_errors_theirs(found):
    table = columns()
    rng = np.random.default_rng(1)
    table["arm"] = np.where(rng.random(N // 3) < 0.5, "coupon", "none")[table["household"]]
    shared = rng.normal(size=N // 3)[table["household"]]
    table["revenue"] = table["revenue"] + 4 * shared
    alone = one(found(table), estimand="average_effect", metric="revenue")
    together = found(table, design=DESIGN | {"cluster": "household"})
    clustered = one(together, estimand="average_effect", metric="revenue")
    assert clustered.std_error > 1.2 * alone.std_error
    assert abs(clustered.estimate - alone.estimate) < alone.std_error


def test_an_arm_of_ten_is_a_row_with_a_reason(found):
    table = columns()
    table["arm"][np.flatnonzero(table["arm"] == "coupon")[:10]] = "points"
    results = found(table)
    row = one(results, estimand="average_effect", metric="revenue", arm="points")
    assert row.estimate is None
    assert row.note == "suppressed: fewer than 20 units"
    assert one(results, estimand="average_effect", metric="revenue", arm="coupon").std_error > 0


def test_an_arm_without_overlap_is_a_row_with_the_region_and_the_other_is_compared(found):
    table = columns()
    old = table["age"] > 1.0
    table["arm"] = np.where(old, "points", table["arm"])
    results = found(table)
    row = one(results, estimand="average_effect", metric="revenue", arm="points")
    assert row.estimate is None
    assert row.note.startswith("no_overlap: ")
    assert re.search(r"where age > (0\.9|1)\d* there are 251 of 'points' and 0 of 'none'", row.note)
    assert one(results, estimand="average_effect", metric="revenue", arm="coupon").std_error > 0


def test_no_overlap_at_all_is_refused_with_the_region(found):
    table = columns()
    table["arm"] = np.where(table["age"] > 0.3, "coupon", "none")
    with pytest.raises(
        DataError, match=r"no overlap in 'revenue'.*where age > 0\.[23]\d* there are"
    ):
        found(table)


def test_a_treatment_that_predicts_itself_is_refused(found):
    table = columns()
    table["got_it"] = (table["arm"] == "coupon").astype(int)
    with pytest.raises(LabError, match=r"where got_it > 0\.5 there are"):
        found(table, covariates=["age", "got_it"])


def test_a_covariate_that_is_an_outcome_is_refused_by_name(found):
    with pytest.raises(LabError, match="'bought' is what metric 'bought' measures"):
        found(columns(), covariates=["age", "bought"])


def test_a_constant_outcome_stops_nobody(found):
    table = columns()
    table["bought"] = np.zeros(N, int)
    results = found(table)
    row = one(results, estimand="average_effect", metric="bought")
    assert row.estimate == 0.0
    assert row.note.startswith("zero_variance")
    assert one(results, estimand="average_effect", metric="revenue").p_value < 1e-9


def test_units_without_a_value_are_told(found):
    table = columns()
    table["bought"] = [None if i % 5 == 0 else int(v) for i, v in enumerate(table["bought"])]
    metrics = [m | {"missing": "drop"} if m["name"] == "bought" else m for m in METRICS]
    results = found(table, metrics)
    row = one(results, estimand="average_effect", metric="bought")
    assert row.note.startswith("missing_outcomes")
    assert row.n + row.n_baseline == N - N // 5


def test_known_propensities_are_used(found):
    table = columns()
    table["chance"] = 1 / (1 + np.exp(-(0.8 * table["age"] + 0.5 * (table["channel"] == "web"))))
    row = one(found(table, propensity="chance"), estimand="average_effect", metric="revenue")
    assert "known propensities" in row.method
    assert abs(row.estimate - COUPON) < 4 * row.std_error


def test_boosting_by_choice(found):
    results = found(columns(600), learner="boosting", folds=3)
    row = one(results, estimand="average_effect", metric="revenue")
    assert "boosting, 3 folds" in row.method
    assert abs(row.estimate - COUPON) < 5 * row.std_error


def test_the_rows_do_not_depend_on_the_order_of_the_table(found):
    table = columns()
    order = np.random.default_rng(3).permutation(N)
    first, second = found(table), found({k: v[order] for k, v in table.items()})
    for a, b in zip(first.rows, second.rows, strict=True):
        assert (a.estimand, a.arm, a.term, a.at) == (b.estimand, b.arm, b.term, b.at)
        assert a.estimate == b.estimate or abs(a.estimate - b.estimate) < 1e-9


def test_few_shops_that_had_it_are_no_crowd(found):
    """Whole shops: 4 of 40 do not have the degrees of freedom of 40; 2 unlike ones allow none."""
    table = columns()
    rng = np.random.default_rng(2)
    table["household"] = np.arange(N) % 40
    for few in (4, 20):
        table["arm"] = np.where(table["household"] < few, "coupon", "none")
        table["redeemed"] = (table["arm"] == "coupon").astype(int)
        table["revenue"] = 20 + 4 * table["age"] + rng.normal(size=40)[table["household"]]
        made = found(table, design=DESIGN | {"cluster": "household"})
        row = one(made, estimand="average_effect", metric="revenue")
        half = (row.ci_high - row.ci_low) / 2 / row.std_error
        assert half > 2.3 if few == 4 else half < 2.1
    table["household"] = np.where(rng.random(N) < 0.02, 1, 2 * (table["arm"] == "none"))
    table["household"] += np.where(table["arm"] == "none", np.arange(N) % 20, 0)
    made = found(table, design=DESIGN | {"cluster": "household"})
    row = one(made, estimand="average_effect", metric="revenue")
    assert row.note.startswith(("few_clusters", "too_few_units"))
    assert row.ci_low is None


def test_an_outcome_that_a_few_carry_is_told(found):
    table = columns()
    rare = np.zeros(N, int)
    for arm in ("coupon", "none"):
        rare[np.flatnonzero(table["arm"] == arm)[::200][:4]] = 1
    for values, told in ((rare, True), (table["bought"], False)):
        made = found({**table, "bought": values})
        for estimand in ("average_effect", "average_effect_treated", "partially_linear_effect"):
            row = one(made, estimand=estimand, metric="bought")
            assert (row.note or "").startswith("few_carry") == told, row
