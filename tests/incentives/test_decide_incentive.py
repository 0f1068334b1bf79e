"""The rules of an incentive's verdict, one by one; a coupon that only moves orders forward."""

from __future__ import annotations

import dataclasses
import types

import pytest

import retention_lab as rl
from retention_lab.incentives.decide import decide_incentive
from retention_lab.results import Reason, Results, Row, Verdict
from retention_lab.twin import FORWARD_COUPON, simulate
from retention_lab.twin.incentive import profit_of, weekly_of


def plan_of(
    window=2016, margin=0.4, arms=("none", "c10"), strategy="randomised", direction="increase",
    redemption=10.0,
):  # fmt: skip
    """As much of a plan as the rules read; `window` of the revenue in hours."""
    column = types.SimpleNamespace(window=window)
    metric = types.SimpleNamespace(name="revenue", direction=direction, kind="sum")
    said = types.SimpleNamespace(
        strategy=strategy, revenue="revenue", margin=margin, min_roi=2.0,
        keeps_a_ledger=margin is not None, redemption=lambda arm: redemption,
    )  # fmt: skip
    spec = types.SimpleNamespace(incentive=said, primary=("revenue",), metrics=(metric,),
                                 inference=types.SimpleNamespace(alpha=0.05))  # fmt: skip
    needed = {"revenue": types.SimpleNamespace(numerator=column)}
    return types.SimpleNamespace(arms=arms, spec=spec, needed=needed)


def row(estimand, arm="c10", **values):
    if "low" in values:
        values |= {"ci_low": values.pop("low"), "ci_high": values.pop("high")}
    return Row(analysis="incentive", metric="revenue", estimand=estimand, arm=arm,
               baseline="none", **values)  # fmt: skip


def ledger(low, high, arm="c10", profit=1.0):
    return [
        row("margin_per_dollar", arm, estimate=(low + high) / 2, low=low, high=high),
        row("incremental_profit", arm, estimate=profit, low=profit - 0.5, high=profit + 0.5),
    ]


def forward(share, p, low, high, note=None):
    middle = (low + high) / 2
    return [
        row("pull_forward", estimate=share, p_value=p, at="4", note=note),
        row("net_effect", estimate=middle, low=low, high=high, at="12"),
    ]


def asked(rows, before=None, **of_plan):
    verdict = decide_incentive(plan_of(**of_plan), Results.of(rows), before)
    return verdict.decision, [r.code for r in verdict.reasons]


@pytest.mark.parametrize(
    ("low", "high", "decision", "code"),
    [
        (2.1, 3.0, "ship", "incentive_pays"),
        (1.9, 3.0, "keep_running", "incentive_unclear"),
        (1.1, 1.9, "stop", "incentive_pays_too_little"),
        (0.2, 0.9, "stop", "incentive_loses"),
    ],
)
def test_margin_per_dollar_is_held_against_the_least_that_is_wanted(low, high, decision, code):
    assert asked(ledger(low, high)) == (decision, [code])


def test_without_a_ratio_or_a_result():
    loses = row("incremental_profit", estimate=-1.0, low=-2.0, high=-0.1)
    assert asked([loses]) == ("stop", ["incentive_loses"])
    unclear = row("incremental_profit", estimate=-1.0, low=-2.0, high=0.1)
    assert asked([unclear]) == ("keep_running", ["incentive_no_ratio"])
    assert asked([row("incremental_profit", note="x: y")]) == ("invalid", ["incentive_no_ratio"])
    assert asked([], margin=None) == ("invalid", ["incentive_no_effect_known"])


def test_the_arm_of_the_greatest_profit_is_shipped_unless_it_harms():
    rows = [*ledger(2.5, 3.0, "c10", 1.0), *ledger(2.1, 2.4, "c20", 2.0)]
    plan = plan_of(arms=("none", "c10", "c20"))
    assert decide_incentive(plan, Results.of(rows)).arm == "c20"
    harmed = Verdict("stop", None, (Reason("guardrail_harmed", {"arm": "c20"}),))
    assert decide_incentive(plan, Results.of(rows), harmed).arm == "c10"
    invalid = Verdict("invalid", None, (Reason("sample_ratio", {}),))
    assert decide_incentive(plan, Results.of(rows), invalid) is invalid


PAYS, UNCLEAR, LOSES = ledger(2.5, 3.0), ledger(1.0, 3.0), ledger(0.2, 0.9)
FOUR, TWELVE = 28 * 24, 84 * 24  # hours


@pytest.mark.parametrize(
    ("money", "window", "course", "decision", "code"),
    [
        # All given back, nothing left: stop, whether the money was read early or is unclear.
        (PAYS, FOUR, (1.0, 0.001, -0.1, 0.1), "stop", "incentive_pulled_forward"),
        (UNCLEAR, TWELVE, (0.9, 0.001, -0.1, 0.2), "stop", "incentive_pulled_forward"),
        (LOSES, TWELVE, (0.9, 0.001, -0.1, 0.2), "stop", "incentive_pulled_forward"),
        # The money itself was counted until the horizon, and pays.
        (PAYS, TWELVE, (0.9, 0.001, -0.1, 0.2), "ship", "incentive_partly_pulled"),
        # Little given back, so that the rest is not settled: no reason to stop.
        (UNCLEAR, TWELVE, (0.3, 0.01, -0.1, 0.9), "keep_running", "incentive_partly_pulled"),
        # Something given back after the window that the money was counted in.
        (PAYS, FOUR, (0.3, 0.01, 0.1, 0.9), "keep_running", "incentive_ledger_too_short"),
        (PAYS, FOUR, (0.3, 0.01, -0.1, 0.9), "keep_running", "incentive_ledger_too_short"),
        (PAYS, None, (0.3, 0.01, 0.1, 0.9), "keep_running", "incentive_ledger_too_short"),
        (LOSES, FOUR, (0.3, 0.01, 0.1, 0.9), "stop", "incentive_partly_pulled"),
        (PAYS, TWELVE, (0.3, 0.01, 0.1, 0.9), "ship", "incentive_partly_pulled"),
        # Nothing seen to be given back.
        (PAYS, FOUR, (0.6, 0.2, -0.1, 0.9), "ship", None),
        (PAYS, FOUR, (0.0, 1.0, 0.1, 0.9), "ship", None),
    ],
)
def test_a_verdict_rests_on_no_window_shorter_than_the_pull_forward(
    money, window, course, decision, code
):
    found, codes = asked([*money, *forward(*course)], window=window)
    assert found == decision
    assert codes[1:] == ([code] if code else [])


@pytest.mark.parametrize(
    ("money", "net", "decision", "code"),
    [
        (PAYS, (0.1, 0.9), "keep_running", "incentive_window_too_short"),
        (PAYS, (-0.1, 0.9), "keep_running", "incentive_window_too_short"),
        (LOSES, (0.1, 0.9), "stop", "incentive_window_too_short"),
        (PAYS, (-0.9, -0.1), "stop", "incentive_pulled_forward"),  # more than all is gone already
    ],
)
def test_a_dip_that_goes_on_leaves_it_open(money, net, decision, code):
    note = "still_falling: in weeks 10 to 12 ..."
    rows = [*money, *forward(0.6, 0.001, *net, note)]
    assert asked(rows, window=FOUR) == (decision, [codes_of(money), code])


def codes_of(money):
    return {id(PAYS): "incentive_pays", id(LOSES): "incentive_loses"}[id(money)]


@pytest.mark.parametrize(
    ("note", "decision", "codes"),
    [
        ("not_followed: ...", "keep_running", ["incentive_pays", "incentive_weeks_unknown"]),
        ("too_few_units: ...", "keep_running", ["incentive_pays", "incentive_weeks_unknown"]),
        ("no_events: ...", "ship", ["incentive_pays"]),
        ("clusters: ...", "ship", ["incentive_pays"]),
    ],
)
def test_weeks_that_were_asked_for_and_are_not_known(note, decision, codes):
    rows = [row("pull_forward", note=note), row("net_effect", at="12", note=note)]
    assert asked([*PAYS, *rows]) == (decision, codes)
    assert asked([*LOSES, *rows])[0] == "stop"


def test_without_a_ledger_the_primary_metric_decides_by_the_same_rules():
    effect = row("average_effect", estimate=1.0, low=0.5, high=1.5)
    course = forward(0.9, 0.001, -0.1, 0.2)
    said = {"margin": None, "strategy": "observational"}
    assert asked([effect], **said) == ("ship", ["incentive_works"])
    found = asked([effect, *course], window=FOUR, **said)
    assert found == ("stop", ["incentive_works", "incentive_pulled_forward"])


@pytest.mark.parametrize(
    ("low", "high", "p", "decision"),
    [
        (0.5, 1.5, 0.01, ("ship", ["incentive_works"])),
        (0.5, 1.5, 0.1, ("keep_running", ["incentive_few_placebos"])),
        (-2.0, -1.0, 0.1, ("keep_running", ["incentive_few_placebos"])),
        (-1.0, 1.0, 0.1, ("keep_running", ["incentive_effect_unclear"])),
    ],
)
def test_placebos_too_few_to_tell_leave_it_open(low, high, p, decision):
    """Of 9 markets that never began, one alone exceeds a tenth of the placebos at best."""
    effect = row("average_effect", estimate=(low + high) / 2, low=low, high=high, p_value=p)
    assert asked([effect], margin=None, strategy="rollout") == decision


def test_a_placebo_that_moved_leaves_it_open():
    moved = row("placebo_outcome", estimate=1.0, p_value=0.01)
    assert asked([*PAYS, moved]) == ("keep_running", ["incentive_pays", "incentive_placebo_moved"])


@pytest.mark.parametrize(
    ("direction", "effect", "mark", "fragile"),
    [
        ("increase", (0.5, 1.5), {"low": 0.1, "high": 1.0}, False),
        ("increase", (0.5, 1.5), {"low": -0.1, "high": 1.0}, True),
        ("decrease", (-1.5, -0.5), {"low": -1.0, "high": -0.1}, False),
        ("decrease", (-1.5, -0.5), {"low": -1.0, "high": 0.1}, True),
        ("increase", (0.5, 1.5), {"note": "explains_all: a cause so strong ..."}, True),
        ("increase", (0.5, 1.5), {"note": "other: ..."}, False),
    ],
)
def test_a_hidden_cause_is_held_against_the_wanted_direction(direction, effect, mark, fragile):
    found = row("average_effect", estimate=sum(effect) / 2, low=effect[0], high=effect[1])
    marks = [
        row("benchmark_bias", term="age", at="1", estimate=0.5, **mark),
        row("benchmark_bias", term="age", at="3", estimate=0.0, low=-9.0, high=9.0),
    ]
    said = {"margin": None, "strategy": "observational", "direction": direction}
    decision, codes = asked([found, *marks], **said)
    assert decision == ("keep_running" if fragile else "ship")
    assert ("incentive_fragile" in codes) == fragile


def test_what_nobody_redeemed_is_not_kept():
    rate = row("redemption_rate", estimate=0.0, note="nobody_redeems: ...")
    nobody = "incentive_nobody_redeemed"
    assert asked([*PAYS, rate]) == ("keep_running", ["incentive_pays", nobody])
    assert asked([*LOSES, rate]) == ("stop", ["incentive_loses", nobody])
    assert asked([*PAYS, rate], redemption=0.0) == ("ship", ["incentive_pays"])
    offered = {"redemption": 0.0, "strategy": "encouragement"}
    assert asked([*PAYS, rate], **offered) == ("keep_running", ["incentive_pays", nobody])
    some = row("redemption_rate", estimate=0.2)
    assert asked([*PAYS, some]) == ("ship", ["incentive_pays"])


def test_an_offer_that_moved_nobody_to_redeem_has_nothing_to_decide_on():
    said = {"margin": None, "strategy": "encouragement"}
    rows = [row("first_stage", estimate=0.0), row("late", note="nobody_redeems: ...")]
    found = asked(rows, **said)
    assert found == ("invalid", ["incentive_no_effect_known", "incentive_nobody_redeemed"])
    hidden = [row("late", note="suppressed: ...")]
    assert asked(hidden, **said) == ("keep_running", ["incentive_no_effect_known"])
    works = [row("first_stage", estimate=0.2), row("late", estimate=1.0, low=0.5, high=1.5)]
    assert asked(works, **said) == ("ship", ["incentive_works"])


def test_a_control_that_redeemed_is_told_and_changes_nothing():
    leak = row("control_redemption_rate", estimate=0.08)
    verdict = decide_incentive(plan_of(), Results.of([*PAYS, leak]))
    assert verdict.decision == "ship"
    assert verdict.reasons[1] == Reason("incentive_control_redeemed", {"arm": "c10", "rate": 0.08})


@pytest.mark.parametrize(("days", "first"), [(28, "incentive_pays"), (84, None)])
def test_a_coupon_that_only_moves_orders_forward_is_stopped(tmp_path, write, days, first):
    """The whole way, from tables: over four weeks it seems to pay, over twelve nothing is left."""
    assert sum(weekly_of(FORWARD_COUPON)["c10"]) == pytest.approx(0.0, abs=1e-12)
    assert profit_of(FORWARD_COUPON, "c10", 28)["profit"] > 2
    assert profit_of(FORWARD_COUPON, "c10", 84)["profit"] < 0
    shop = simulate(dataclasses.replace(FORWARD_COUPON, customers=30_000))
    tables = {k: dict(zip(t.column_names, t.columns, strict=True))
              for k, t in shop.tables.items() if k in ("assignments", "orders")}  # fmt: skip
    orders = {"table": "orders.parquet", "at": "ordered_at"}
    path = write(
        tables,
        data={
            "assignments": {"table": "assignments.parquet", "at": "assigned_at"},
            "events": {"orders": orders, "uses": {**orders, "where": "coupon_used = 1"}},
            "as_of": FORWARD_COUPON.as_of,
        },
        design={"unit": "customer_id", "arm": "arm", "control": "none"},
        metrics=[{"name": "revenue", "kind": "sum", "event": "orders", "value": "revenue",
                  "within": f"{days}d", "role": "primary"}],
        incentive={
            "strategy": "randomised", "revenue": "revenue", "margin": 0.4, "redeemed": "uses",
            "cost": {"redemption": 10}, "min_roi": 2, "pull_forward": {"event": "orders"},
        },
    )  # fmt: skip
    plan = rl.plan(path)
    results = rl.analyse_incentive(plan, rl.reduce_incentive(plan))
    net, back = results.one(estimand="net_effect"), results.one(estimand="pull_forward")
    assert net.ci_low < 0 < net.ci_high
    assert back.p_value < 1e-6
    assert back.ci_low < 1 < back.ci_high
    verdict = decide_incentive(plan, results)
    assert verdict.decision == "stop"
    codes = [r.code for r in verdict.reasons]
    assert codes[-1] == "incentive_pulled_forward"
    assert first is None or codes[0] == first
