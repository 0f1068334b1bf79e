"""The simulated rollout: its table, its truth, and the experiment that rests on it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import retention_lab as rl
from retention_lab.data.evidence import reduce_incentive
from retention_lab.incentives.analyse import analyse_incentive
from retention_lab.incentives.decide import decide_incentive
from retention_lab.twin.rollout import simulate_rollout
from retention_lab.twin.warehouses import ROLLOUTS, WAREHOUSES

FILE = Path(__file__).resolve().parents[2] / "experiments" / "warehouse-rollout.yaml"


@pytest.fixture(scope="module")
def finished():
    plan = rl.plan(FILE)
    results = analyse_incentive(plan, reduce_incentive(plan))
    return plan, results, decide_incentive(plan, results)


def test_the_same_seed_gives_the_same_panel():
    one, two, other = (simulate_rollout(seed=s).tables["panel"] for s in (3, 3, 4))
    assert one.equals(two)
    assert not one.equals(other)
    with pytest.raises(ValueError, match="0 or more"):
        simulate_rollout(seed=-1)


def test_one_row_a_market_and_month():
    panel = simulate_rollout().tables["panel"]
    markets = sum(len(o.markets) for o in WAREHOUSES.openings)
    assert panel.num_rows == markets * WAREHOUSES.months == 960
    assert (
        len(set(zip(panel["market"].to_pylist(), panel["month"].to_pylist(), strict=True))) == 960
    )
    share = np.asarray(panel["repurchase_30d"])
    assert ((share >= 0) & (share <= 1)).all()
    opened = dict(zip(panel["market"].to_pylist(), panel["opened"].to_pylist(),
                                   strict=True))  # fmt: skip
    assert opened == {m: o.month for o in WAREHOUSES.openings for m in o.markets}


def test_the_truth_is_what_the_warehouses_add():
    """With as many customers as make chance vanish, and no shocks, effects are seen as they are."""
    calm = dataclasses.replace(WAREHOUSES, shock=0.0, customers=20_000_000)
    made = simulate_rollout(calm, 1)
    rate = np.asarray(made.tables["panel"]["repurchase_30d"]).reshape(40, -1)
    never = np.isinf(made.opened)
    season = rate[never].mean(axis=0) - rate[never, :1].mean()
    base = rate[:, :1] + season
    assert rate - base == pytest.approx(made.effects["repurchase_30d"], abs=1e-3)
    truth = made.truth()["plain"]["repurchase_30d"]
    since = np.arange(24) - made.opened[:, None]
    assert truth["average_effect"] == pytest.approx((rate - base)[since >= 0].mean(), abs=1e-3)
    assert truth["event_time_effect"]["0"] == pytest.approx(0.4 * 0.032, abs=0.003)


def test_the_files_of_the_dataset():
    from retention_lab.data.datasets import describe, locate

    path = locate("twin-rollout/panel")
    truth = json.loads((path.parent / "truth.json").read_text(encoding="utf-8"))
    made = simulate_rollout()
    assert truth["weighted"] == made.truth()["weighted"]
    assert truth["scenario"]["name"] == ROLLOUTS["twin-rollout"].name == "warehouse-rollout"
    assert describe("twin-rollout").path == path


def test_the_experiment_finds_its_truth(finished):
    plan, results, verdict = finished
    truth = simulate_rollout().truth()["weighted"]
    assert all(c.ok for c in plan.checks)
    for metric in truth:
        row = results.one(estimand="average_effect", metric=metric, term=None)
        assert (row.n, row.n_baseline) == (22, 18)
        assert row.ci_low < truth[metric]["average_effect"] < row.ci_high, metric
    hit = [
        r.ci_low < truth[r.metric]["event_time_effect"][r.at] < r.ci_high
        for r in results.where(estimand="event_time_effect", term="simultaneous").rows
        if int(r.at) >= 0
    ]
    assert np.mean(hit) > 0.9
    assert (verdict.decision, verdict.arm) == ("ship", None)


def test_comparing_without_the_panel_would_be_wrong():
    """Why the strategy is needed: neither markets, nor before and after, give the truth."""
    made = simulate_rollout()
    rate = np.asarray(made.tables["panel"]["repurchase_30d"]).reshape(40, -1)
    open_ = np.arange(24) >= made.opened[:, None]
    truth = made.truth()["plain"]["repurchase_30d"]["average_effect"]
    assert rate[open_].mean() - rate[~open_].mean() > 1.5 * truth


def test_every_word_of_the_report_is_translated(finished):
    spec = finished[0].spec
    assert set(spec.report.labels) == {spec.family, *(m.name for m in spec.metrics)}
    for text in (*spec.report.labels.values(), spec.title, spec.question):
        assert text.en
        assert text.zh
        assert text.zh != text.en
