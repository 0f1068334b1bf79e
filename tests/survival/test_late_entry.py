"""Customers who came before the data begins: what can be told of them, and what cannot."""

from __future__ import annotations

import datetime as dt

import numpy as np
from cohort_shop import HORIZON, NOON, Shop, analysed, study

import retention_lab as rl


def latecomers(tmp_path, since, **more):
    """600 alike customers of 100 days, followed from day `since` on; some won by a promotion."""
    rng = np.random.default_rng(5)
    origin = rng.integers(0, 100, 600)
    orders = [np.cumsum(1 + rng.exponential(40, 3)).astype(int).tolist() for _ in origin]
    orders = [
        sorted({int(a) for a in ages if o + a <= 180})
        for o, ages in zip(origin, orders, strict=True)
    ]
    first = NOON.date()
    sale = {"name": "sale", "from": first, "to": first + dt.timedelta(days=30)}
    plain = Shop(origin.tolist(), orders)
    late = {"from": first + dt.timedelta(days=since), "promotion": sale, "min_cell": 20}
    return plain, study(tmp_path, plain, **late, **more)


def test_a_group_not_seen_from_its_origin_has_no_curve_and_no_difference(tmp_path):
    """Of customers who came before the data begins only those still waiting are seen."""
    plain, plan = latecomers(tmp_path, 60)
    cohorts = rl.reduce_cohorts(plan)
    model = rl.fit_model(plan, cohorts)
    results = rl.analyse_cohorts(plan, cohorts, model)
    people = plain.people()
    sale = np.array(plain.origin) <= 30
    entry = 60 - np.array(plain.origin) - 1
    at_risk = [int((sale & (entry < d) & (people["stop"] >= d)).sum()) for d in range(HORIZON + 1)]
    begin = next(d for d in range(1, HORIZON + 1) if at_risk[d] >= 20)
    assert begin > 25
    note = f"not_seen_from_origin: customers were followed from day {begin} on only"
    own = {"segment": "promotion", "level": "sale"}
    hidden = ["survival", "survival_quantile", "rmst"]
    rows = results.where(estimand=hidden, **own).rows
    assert [(r.estimand, r.estimate, r.note) for r in rows] == [
        (e, None, note) for e in ("survival", *["survival_quantile"] * 3, "rmst")
    ]
    compared = ["rmst_difference", "rmst_ratio", "survival_difference"]
    for row in results.where(estimand=compared, segment="promotion").rows:
        assert (row.estimate, row.p_value, row.note) == (None, None, note)
    assert {r.estimand for r in results.where(estimand=compared).rows} == set(compared)
    for estimand in ("mean_cumulative", "mean_cumulative_difference"):
        rows = results.where(estimand=estimand, **own).rows
        assert rows
        assert {r.note.partition(":")[0] for r in rows} == {"not_seen_from_origin"}
    # What needs nobody from the origin on stays, and finds nothing, as there is nothing.
    assert results.one(estimand="log_rank", segment="promotion").p_value > 0.01
    assert results.one(estimand="log_hazard_ratio", term="promotion=sale").p_value > 0.01
    assert {int(r.at.split("-")[0]) for r in results.where(estimand="hazard", **own).rows} == {
        d for d in range(begin, HORIZON + 1) if at_risk[d] >= 20
    }
    # Those followed from the origin have their curve, up to the last day.
    rest = results.where(estimand="survival", segment="promotion", level="rest").rows
    assert {int(r.at) for r in rest} >= {30, 60}
    assert results.one(estimand="rmst", segment="promotion", level="rest").estimate is not None
    means = results.where(estimand="mean_cumulative", segment="promotion", level="rest").rows
    days = {int(r.at) for r in means}
    assert 60 in days
    assert 30 not in days  # when a few of the promotion's are at risk
    verdict = rl.describe(plan, results)
    assert verdict.reasons[0].code == "cohorts_described"
    assert "promotion" not in {r.numbers.get("segment") for r in verdict.reasons}
    rl.finish(plan, cohorts, results, verdict, tmp_path / "out", model=model)
    assert (tmp_path / "out" / "report.zh.html").is_file()


def test_nobody_seen_from_the_origin_is_nothing_to_describe(tmp_path):
    _, plan = latecomers(tmp_path, 120)
    results = analysed(plan)
    row = results.one(estimand="survival", segment=None)
    assert row.note.startswith("not_seen_from_origin")
    verdict = rl.describe(plan, results)
    assert (verdict.decision, verdict.reasons[0].code) == ("invalid", "no_customers")


def test_customers_in_no_triangle_are_counted(tmp_path):
    plain, plan = latecomers(tmp_path, 60)
    row = analysed(plan).one(estimand="left_out", term="entered_late")
    late = sum(o < 60 for o in plain.origin)
    assert row.n == row.estimate == late
    whole = analysed(study(tmp_path, plain, name="all"))
    assert not whole.where(estimand="left_out", term="entered_late").rows
