"""The demo experiment on the simulated shop: its words, its truth, its verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

import retention_lab as rl
from retention_lab.experiment.load import load
from retention_lab.twin import COMEBACK_COUPON, truth_of
from retention_lab.twin.draw import TIERS

FILE = Path(__file__).parents[2] / "experiments" / "comeback-coupon.yaml"


@pytest.fixture(scope="module")
def finished():
    plan = rl.plan(FILE)
    results = rl.analyse(plan, rl.reduce(plan))
    return plan, results, rl.decide(plan, results)


def test_every_word_of_the_report_is_translated():
    spec = load(FILE)
    names = [a.name for a in COMEBACK_COUPON.arms]
    names += [m.name for m in spec.metrics]
    names += [spec.family, *spec.segments, *TIERS, *(r.name for r in COMEBACK_COUPON.regions)]
    for name in names:
        text = spec.report.labels[name]
        assert text.en
        assert text.zh
        assert text.zh != text.en
    assert spec.title.zh
    assert spec.question.zh
    assert set(spec.report.labels) == set(names)


def test_the_file_fits_the_scenario():
    spec = load(FILE)
    assert spec.data.as_of == COMEBACK_COUPON.as_of
    assert spec.design.control == COMEBACK_COUPON.arms[0].name
    assert set(spec.design.expected_split) == {a.name for a in COMEBACK_COUPON.arms}
    assert {m.name for m in spec.metrics} <= set(truth_of(COMEBACK_COUPON).metrics)


def test_the_scenario_is_simulated_with_the_seed_that_the_file_names():
    assert str(COMEBACK_COUPON.seed) in FILE.read_text(encoding="utf-8")
    assert f"{COMEBACK_COUPON.start:%Y%m%d}" == str(COMEBACK_COUPON.seed)


def test_the_plan_holds_and_some_units_are_immature(finished):
    plan, results, _ = finished
    assert all(check.ok for check in plan.checks)
    immature = results.one(metric="repurchase_30d", estimand="immature", segment=None)
    assert 0.1 < immature.estimate / 40_000 < 0.3


def test_estimates_lie_around_the_truth(finished):
    """Within 4.5 standard errors: one shop, so this is no coverage test."""
    _, results, _ = finished
    truth = truth_of(COMEBACK_COUPON)
    for metric in ("repurchase_30d", "orders_30d", "margin_30d", "unsubscribed_30d"):
        for arm in ("c10", "c20"):
            row = results.one(metric=metric, estimand="mean_difference", arm=arm, segment=None)
            assert abs(row.estimate - truth.difference(metric, arm)) < 4.5 * row.std_error


def test_ten_dollars_ship_and_twenty_make_readers_leave(finished):
    *_, verdict = finished
    assert (verdict.decision, verdict.arm) == ("ship", "c10")
    said = {(r.code, r.numbers.get("arm")) for r in verdict.reasons}
    assert {
        ("primary_better", "c10"),
        ("guardrail_kept", "c10"),
        ("guardrail_harmed", "c20"),
    } <= said
