"""Nothing in; finished runs of incentives, one a strategy, with invented results for tests out."""

from __future__ import annotations

import dataclasses
from typing import Any

from run.sample_rows import Case

from retention_lab.results import Reason, Results, Row, Verdict

Z = 1.959963984540054
HEAD = """\
schema: 1
name: {name}
title: {{en: "{en}", zh: "{zh}"}}
owner: growth
notebook: incentive_effect
"""
LABELS = """\
report:
  labels:
    none: {en: "No coupon", zh: "无优惠券"}
    coupon: {en: "Coupon", zh: "优惠券"}
    five: {en: "$5 coupon", zh: "5 美元券"}
    ten: {en: "$10 coupon", zh: "10 美元券"}
    twenty: {en: "$20 coupon", zh: "20 美元券"}
    orders_30d: {en: "Repurchase within 30 days", zh: "30 天复购率"}
    revenue_30d: {en: "Revenue within 30 days (USD)", zh: "30 天收入（美元）"}
    orders: {en: "Orders", zh: "订单"}
    tenure: {en: "Months as a customer", zh: "入会月数"}
    channel: {en: "Channel", zh: "渠道"}
    basket: {en: "Basket (USD)", zh: "购物车金额（美元）"}
    past_orders: {en: "Past orders", zh: "历史订单数"}
"""
DEALT = """\
data: {units: units.csv}
design: {arm: arm, control: none}
metrics:
  - {name: orders_30d, kind: proportion, role: primary}
  - {name: revenue_30d, kind: mean}
"""


def row(estimand: str, estimate: float | None = None, se: float | None = None, **more: Any) -> Row:
    """A row of an incentive; with `se`, its normal interval and p-value."""
    import math

    numbers: dict[str, Any] = {"estimate": estimate}
    if estimate is not None and se is not None:
        numbers |= {
            "std_error": se,
            "ci_low": estimate - Z * se,
            "ci_high": estimate + Z * se,
            "p_value": math.erfc(abs(estimate) / se / math.sqrt(2)),
        }
    return Row(**{"analysis": "incentive", "estimand": estimand, **numbers, **more})


def ledger_rows(arm: str | None, base: str | None, profit: float = 0.4, cost: float = 0.5,
                metric: str = "revenue_30d", min_roi: float = 1.2) -> list[Row]:  # fmt: skip
    """The ledger of one arm: margin 0.4 of revenue, a contact 0.05, the rest for redemptions."""
    margin = profit + cost
    place: dict[str, Any] = {
        "arm": arm,
        "baseline": base,
        "metric": metric,
        "n": 12000,
        "n_baseline": 12040,
    }
    redemption = cost - 0.05
    return [
        row("incremental_revenue", (margin + 0.08) / 0.4, 0.3, **place),
        row("incremental_returns", 0.2, 0.05, **place),
        row("incremental_margin", margin, 0.12, **place),
        row("cost_contact", 0.05, **place),
        row("cost_redemption", redemption, 0.01, **place),
        row("incremental_cost", cost, 0.01, **place),
        row("incremental_profit", profit, 0.12, **place),
        row("margin_per_dollar", margin / cost, 0.12 / cost, **{**place, "p_value": None}),
        row("roi", margin / cost - 1, 0.12 / cost, **{**place, "p_value": None}),
        row("probability_above_min_roi", 0.97 if margin / cost > min_roi else 0.02, **place),
        row("break_even_cost", margin - redemption, 0.12, **place),
        row("revenue_ratio", 1.2, 0.03, **{**place, "p_value": None}),
        row("redemption_rate", 0.18, 0.004, **place),
        row("control_redemption_rate", 0.02, 0.002, **place, note="control_redeems: ..."),
        row("redeemed_anyway", 0.7, 0.08, **place, note="at_least: a lower bound; exact if ..."),
        row("incremental_profit", profit * 1.02, 0.1, term="adjusted", **place),
    ]


def money_reason(code: str, rows: list[Row], arm: str | None, min_roi: float) -> Reason:
    """A reason of decide.py that rests on the ledger."""
    found = {r.estimand: r for r in rows if r.arm == arm and r.term is None}
    ratio, profit = found["margin_per_dollar"], found["incremental_profit"]
    numbers = {
        "arm": arm, "metric": profit.metric, "min_roi": min_roi,
        "profit": profit.estimate, "profit_low": profit.ci_low, "profit_high": profit.ci_high,
        "ratio": ratio.estimate, "ratio_low": ratio.ci_low, "ratio_high": ratio.ci_high,
    }  # fmt: skip
    return Reason(code, numbers)


def effect_reason(code: str, found: Row, kind: str) -> Reason:
    """A reason of decide.py that rests on an effect."""
    numbers = {
        "arm": found.arm, "metric": found.metric, "estimate": found.estimate,
        "ci_low": found.ci_low, "ci_high": found.ci_high, "kind": kind,
    }  # fmt: skip
    return Reason(code, numbers)


def redeemed() -> Case:
    """An offer dealt by chance: effect on redeemers, a ledger, weeks; only moved forward: stop."""
    spec = (
        HEAD.format(name="redeemed-coupon", en="Does the coupon pay?", zh="优惠券值得吗？")
        + DEALT
        + "incentive:\n  strategy: encouragement\n  redeemed: used\n  revenue: revenue_30d\n"
        "  margin: 0.4\n  cost: {contact: 0.05, redemption: 2.5}\n  min_roi: 1.2\n" + LABELS
    )
    place: dict[str, Any] = {"arm": "coupon", "baseline": "none", "n": 12000, "n_baseline": 12040}
    ab: dict[str, Any] = {**place, "analysis": "ab", "metric": "orders_30d"}
    money = ledger_rows("coupon", "none")
    rows = [
        row("mean_difference", 0.021, 0.004, **ab),
        row("sample_ratio", 0.07, analysis="quality", p_value=0.79),
        row("first_stage", 0.18, 0.004, metric="orders_30d", **place),
        row("first_stage_f", 2025.0, metric="orders_30d", **place),
        row("late", 0.117, 0.022, metric="orders_30d", **place),
        row("full_uptake_bound", 0.02, term="lower", metric="orders_30d", **place),
        row("full_uptake_bound", 0.6, term="upper", metric="orders_30d", **place),
        row("late", None, metric="revenue_30d", **place,
            note="ar_unbounded: the first stage is not clearly above 0"),
        *money,
    ]  # fmt: skip
    total = 0.0
    for week in range(1, 13):
        value = {1: 0.02, 2: 0.03, 3: 0.015}.get(week, -0.0065 if week < 13 else 0.0)
        total += value
        same: dict[str, Any] = {"metric": "orders", "at": str(week), **place}
        rows.append(row("weekly_effect", value, 0.003, **same))
        rows.append(row("cumulative_effect", total, 0.002 * week, **same))
    back: dict[str, Any] = {"metric": "orders", **place}
    rows.append(row("pull_forward", 0.9, at="3", **{**back, "p_value": 0.0001}))
    net = row("net_effect", total, 0.012, at="12", **back)
    rows.append(net)
    reasons = (
        money_reason("incentive_pays", money, "coupon", 1.2),
        Reason("incentive_pulled_forward", {
            "arm": "coupon", "share": 0.9, "weeks": "12", "peak_week": "3", "estimate": total,
            "ci_low": net.ci_low, "ci_high": net.ci_high, "metric": "orders",
        }),
    )  # fmt: skip
    return Case("redeemed-coupon", spec, Results.of(rows), Verdict("stop", None, reasons))


def doses() -> Case:
    """Three values dealt by chance: a response, a best dose, several ledgers; ship one."""
    spec = (
        HEAD.format(name="coupon-dose", en="How much coupon is best?", zh="优惠券多少最合适？")
        + DEALT
        + "incentive:\n  strategy: dose\n  dose: {none: 0, five: 5, ten: 10, twenty: 20}\n"
        "  redeemed: used\n  revenue: revenue_30d\n  margin: 0.4\n"
        "  cost: {contact: 0.05, redemption: dose}\n  min_roi: 1.2\n" + LABELS
    )
    arms = {"none": 0.0, "five": 5.0, "ten": 10.0, "twenty": 20.0}
    means = {"none": 0.2, "five": 0.225, "ten": 0.24, "twenty": 0.247}
    profits = {"none": 3.0, "five": 3.4, "ten": 3.3, "twenty": 2.4}
    place: dict[str, Any] = {"metric": "orders_30d", "baseline": "none"}
    rows, money = [], []
    for arm, dose in arms.items():
        at = f"{dose:g}"
        rows.append(row("dose_mean", means[arm], 0.004, arm=arm, at=at, n=12000, **place))
        same: dict[str, Any] = {"metric": "revenue_30d", "baseline": "none", "arm": arm}
        rows.append(row("profit_at_dose", profits[arm], 0.1, at=at, n=12000, **same))
        chance = {"five": 0.72, "ten": 0.27}.get(arm, 0.005)
        rows.append(row("chance_best", chance, metric="revenue_30d", baseline="none", at=at))
        if arm != "none":
            more = {"analysis": "ab", "metric": "orders_30d", "arm": arm, "baseline": "none"}
            rows.append(row("mean_difference", means[arm] - 0.2, 0.005, **more))
            gain, cost = profits[arm] - 3.0, 0.2 + dose / 10
            money += ledger_rows(arm, "none", gain, cost)
            for x in (0.0, dose):
                rows.append(row("marginal_effect", 0.006 - x / 4000, 0.001, at=f"{x:g}",
                                term="spline", **place))  # fmt: skip
    for i in range(21):
        x = float(i)
        curve = 0.2 + 0.05 * (1 - 2.718 ** (-x / 8)) * 1.05
        rows.append(row("dose_response", curve, 0.003, at=f"{x:g}", term="spline", **place))
        rows.append(row("dose_response", 0.206 + 0.0022 * x, 0.002, at=f"{x:g}", term="linear",
                        **place))  # fmt: skip
    rows.append(row("best_dose", 6.8, term="spline", metric="revenue_30d", baseline="none",
                    ci_low=4.2, ci_high=10.5))  # fmt: skip
    rows += money
    reasons = (
        money_reason("incentive_pays", money, "five", 1.2),
        money_reason("incentive_unclear", money, "ten", 1.2),
        money_reason("incentive_loses", money, "twenty", 1.2),
    )
    return Case("coupon-dose", spec, Results.of(rows), Verdict("ship", "five", reasons))


def alike() -> Case:
    """Nobody dealt it: balance, overlap, hidden causes, placebos; look closer."""
    spec = (
        HEAD.format(name="targeted-coupon", en="Did the coupons that households got pay?",
                    zh="发给家庭的优惠券值得吗？")
        + DEALT
        + "incentive:\n  strategy: observational\n  covariates: [tenure, channel, past_orders]\n"
        "  placebo: orders_30d\n  revenue: revenue_30d\n  margin: 0.4\n"
        "  cost: {contact: 0.5}\n  min_roi: 1.2\n" + LABELS
    )  # fmt: skip
    place: dict[str, Any] = {"arm": "coupon", "baseline": "none", "n": 900, "n_baseline": 1600}
    on: dict[str, Any] = {"metric": "orders_30d", **place}
    money = ledger_rows("coupon", "none", 0.5, 0.5)
    rows = [
        row("naive_difference", 0.16, 0.02, **on),
        row("average_effect", 0.05, 0.018, **on),
        row("average_effect_treated", 0.045, 0.02, **on),
        row("partially_linear_effect", 0.048, 0.017, **on),
        row("trimmed_share", 0.062, **on),
        row("e_value", 1.9, term="estimate", **on),
        row("e_value", 1.2, term="limit", **on),
        row("robustness_value", 0.056, term="q=1", **on),
        row("robustness_value", 0.016, term="alpha", **on),
        row("placebo_outcome", 0.002, 0.018, **on),
        row("placebo_treatment", 0.0, 0.017, **on),
        row("random_common_cause", 0.0501, 0.018, **on),
        *money,
    ]
    names = ("tenure", "past_orders", "channel=Web", "channel=Phone", "past_orders missing")
    for i, name in enumerate(names):
        for at, value in (("before", 0.55 - 0.18 * i), ("after", 0.03 - 0.01 * i)):
            rows.append(row("standardised_difference", value, term=name, at=at, **place))
        for k in (1, 2, 3):
            rows.append(row("benchmark_bias", 0.05 - 0.012 * k * (5 - i) / 5, 0.018, term=name,
                            at=str(k), **on))  # fmt: skip
    for i in range(20):
        for side, middle in (("coupon", 0.55), ("none", 0.35)):
            share = max(0.0, 0.12 - abs(i / 20 - middle) * 0.3)
            rows.append(row("propensity_share", share, arm=side, baseline="none", term="coupon",
                            at=f"{i / 20:g}"))  # fmt: skip
    for a in range(11):
        for b in range(11):
            left = 0.05 - 0.6 * (a * b / 2500) ** 0.5
            rows.append(row("sensitivity_contour", left, at=f"{a / 50:g},{b / 50:g}", **on))
    reasons = (
        money_reason("incentive_pays", money, "coupon", 1.2),
        Reason("incentive_fragile",
               {"arm": "coupon", "metric": "orders_30d", "covariate": "tenure"}),
    )  # fmt: skip
    return Case("targeted-coupon", spec, Results.of(rows), Verdict("keep_running", None, reasons))


def markets() -> Case:
    """A warehouse that opened market by market: no ledger; keep it."""
    spec = (
        HEAD.format(name="warehouse-rollout", en="Does a warehouse nearby bring customers back?",
                    zh="就近建仓能带回客户吗？")
        + "data: {units: panel.csv}\n"
        "metrics: [{name: orders_30d, kind: proportion, role: primary}]\n"
        "incentive: {strategy: rollout, market: m, adopted: a, period: p}\n" + LABELS
    )  # fmt: skip
    on: dict[str, Any] = {"metric": "orders_30d", "n": 14, "n_baseline": 8}
    effect = row("average_effect", 0.021, 0.006, **on, note="few_markets: fewer than 10 began")
    rows = [effect, row("average_effect", 0.022, 0.006, term="group", **on)]
    for e in range(-6, 9):
        value = 0.0008 * (-1) ** e if e < 0 else 0.008 + 0.002 * e
        rows.append(row("event_time_effect", value, 0.004, at=str(e), **on))
        wide = row("event_time_effect", value, 0.0062, at=str(e), term="simultaneous", **on)
        rows.append(wide)
    rows += [
        row("pretrend_test", 1.1, **{**on, "p_value": 0.39}),
        row("pretrend_power", 0.0021, **on),
        row("pretrend_power", 0.0098, term="bias", **on),
        row("wild_bootstrap_p", 0.021, **{**on, "p_value": 0.004}),
        row("synthetic_difference", 0.019, 0.007, **on),
        row("group_effect", 0.02, 0.008, term="2025-03", **on),
        row("calendar_effect", 0.02, 0.008, at="2025-03", **on),
        row("group_time_effect", 0.02, 0.008, term="2025-03", at="2025-04", **on),
    ]
    reasons = (effect_reason("incentive_works", effect, "proportion"),)
    return Case("warehouse-rollout", spec, Results.of(rows), Verdict("ship", None, reasons))


def limit() -> Case:
    """Free shipping from $49: a jump, and customers who sort themselves; look closer."""
    spec = (
        HEAD.format(name="free-shipping-threshold", en="Does free shipping bring customers back?",
                    zh="包邮能带回客户吗？")
        + "data: {units: baskets.csv}\n"
        "metrics: [{name: orders_30d, kind: proportion, role: primary}]\n"
        "incentive: {strategy: threshold, running: basket, cutoff: 49, covariates: [tenure]}\n"
        + LABELS
    )  # fmt: skip
    on: dict[str, Any] = {"metric": "orders_30d", "n": 4200, "n_baseline": 3900}
    effect = row("threshold_effect", 0.048, 0.014, **on)
    rows = [
        effect,
        row("threshold_effect", 0.051, 0.012, term="conventional", **on),
        row("bandwidth", 11.4, term="h", **on),
        row("bandwidth", 18.2, term="b", **on),
        row("density_test", 3.1, p_value=0.002),
        row("covariate_jump", 0.1, 0.2, term="tenure"),
    ]
    for at in ("35", "42", "56", "63"):
        rows.append(row("placebo_cutoff", 0.002, 0.014, at=at, **on))
    for i in range(24):
        x = 26 + 2 * i
        side, jump = ("below", 0.0) if x < 49 else ("above", 0.048)
        value = 0.2 + 0.002 * (x - 49) + jump
        rows.append(row("binned_mean", value + 0.006 * (-1) ** i, at=f"{x:g}", term=side, **on))
        rows.append(row("threshold_fit", value, 0.006, at=f"{x:g}", term=side, **on))
    reasons = (
        effect_reason("incentive_works", effect, "proportion"),
        Reason("incentive_density", {"arm": None, "metric": "orders_30d", "p_value": 0.002}),
    )
    verdict = Verdict("keep_running", None, reasons)
    return Case("free-shipping-threshold", spec, Results.of(rows), verdict)


def changed(case: Case, estimand: str, **more: object) -> Case:
    """`case` with other values in the rows of an estimand."""
    rows = [dataclasses.replace(r, **more) if r.estimand == estimand else r  # type: ignore[arg-type]
            for r in case.results.rows]  # fmt: skip
    return dataclasses.replace(case, results=Results.of(rows))


def with_ledger(case: Case) -> Case:
    """The e-mail test with a ledger beside it, decided by it."""
    section_ = (
        "incentive: {strategy: randomised, revenue: spend, margin: 0.3, cost: {contact: 0.05}}"
    )
    rows = []
    for arm, profit in (("Mens E-Mail", 0.181), ("Womens E-Mail", 0.077)):
        rows += ledger_rows(arm, "No E-Mail", profit, 0.05, metric="spend", min_roi=2.0)
    reasons = (
        money_reason("incentive_pays", rows, "Mens E-Mail", 2.0),
        money_reason("incentive_unclear", rows, "Womens E-Mail", 2.0),
    )
    return dataclasses.replace(
        case,
        spec=case.spec.replace("segments:", f"{section_}\nsegments:", 1),
        results=Results.of([*case.results.rows, *rows]),
        verdict=Verdict("ship", "Mens E-Mail", reasons),
    )


def hostile() -> Case:
    """Values of a coupon, with a title, a question and labels that try to be more than text."""
    case = doses()
    spec = case.spec.replace('en: "How much coupon is best?"',
                             'en: "How much <script>alert(1)</script>"', 1)  # fmt: skip
    spec = spec.replace("owner:", 'question: "<img src=x onerror=alert(3)>"\nowner:', 1)
    spec = spec.replace('en: "$10 coupon"', 'en: "</svg><script>alert(2)</script> coupon"', 1)
    spec = spec.replace('en: "$5 coupon"', f'en: "{LONG}"', 1)
    spec = spec.replace("name: coupon-dose", "name: hostile-coupon", 1)
    return dataclasses.replace(case, name="hostile-coupon", spec=spec)


LONG = "A coupon of five dollars for the second order, if it is placed within the first thirty days"
CASES = (redeemed, doses, alike, markets, limit)
