"""Nothing in; a run with every kind of row that an A/B test can have, for tests, out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from run.sample_rows import Case, Cell, compare, quality, reason, yes

from retention_lab.experiment.spec import CROSS
from retention_lab.results import Reason, Results, Row, Verdict

SPEC = """\
schema: 1
name: everything
title: {en: "A coupon, free returns, or both?", zh: "发券、免费退货，还是两者都给？"}
owner: growth
data:
  assignments: {table: "a.parquet", at: at}
  events: {orders: {table: "o.parquet", at: at}}
  as_of: 2026-01-31
design:
  unit: id
  arm: arm
  control: none
  factors:
    coupon: {none: "no", c10: "yes", free: "no", both: "yes"}
    shipping: {none: paid, c10: paid, free: free, both: free}
metrics:
  - {name: repurchase, kind: retention, event: orders, within: 1d, role: primary,
     covariates: [history]}
  - {name: revenue, kind: sum, event: orders, value: revenue, within: 1d, pre: 30d,
     cap: {quantile: 0.999}}
  - {name: margin, kind: sum, event: orders, value: margin, within: 1d, role: guardrail,
     relative_margin: 0.05}
  - {name: complaints, kind: retention, event: orders, within: 1d, role: guardrail,
     direction: decrease}
  - {name: days, kind: quantile, value: days, quantile: 0.9, direction: decrease}
segments: [region, tier]
crossed_segments: [[region, tier]]
inference: {sequential: confidence_sequence, planned_units: 40000, comparisons: pairs}
report:
  labels:
    none: {en: "Neither", zh: "都不给"}
    c10: {en: "$10 coupon", zh: "10 美元券"}
    free: {en: "Free returns", zh: "免费退货"}
    both: {en: "Both", zh: "两者都给"}
    coupon: {en: "Coupon", zh: "优惠券"}
    shipping: {en: "Return shipping", zh: "退货运费"}
    "yes": {en: "given", zh: "发放"}
    repurchase: {en: "Repurchase rate", zh: "复购率"}
    revenue: {en: "Revenue (USD)", zh: "销售额（美元）"}
    margin: {en: "Margin (USD)", zh: "毛利（美元）"}
    complaints: {en: "Complaint rate", zh: "投诉率"}
    days: {en: "Delivery days", zh: "配送天数"}
    region: {en: "Region", zh: "地区"}
    tier: {en: "Tier", zh: "层级"}
    history: {en: "Past spend", zh: "历史消费"}
"""
ARMS = ("none", "c10", "free", "both")
N = dict.fromkeys(ARMS, 10_000)
AB: dict[str, Any] = {"analysis": "ab"}


def rich() -> Case:
    """Ship one of three arms of a factorial, sequential test; every estimand has a row."""
    rows = quality(N, dict.fromkeys(N, 1.0), 1.1, 0.78)
    rows += [_homogeneity("region", 0.4), _homogeneity(None, 0.6)]
    rows += [_gate("repurchase", 0.047), _gate("revenue", 0.2, "above_limit: too often")]
    rates = {a: yes(r, N[a]) for a, r in zip(ARMS, (0.22, 0.245, 0.228, 0.25), strict=True)}
    rows += compare("repurchase", rates)
    money = {a: Cell(m, 30.0, N[a]) for a, m in zip(ARMS, (12.0, 13.2, 12.4, 13.4), strict=True)}
    rows += compare("revenue", money)
    left = {a: Cell(m, 11.0, N[a]) for a, m in zip(ARMS, (5.0, 5.6, 4.9, 5.5), strict=True)}
    rows += compare("margin", left)
    rows += compare("complaints", {a: yes(0.01 + 0.004 * (a == "free"), N[a]) for a in ARMS})
    for row in compare("days", {a: Cell(7.0 + 0.1 * i, 20.0, N[a]) for i, a in enumerate(ARMS)}):
        named = {"mean": "quantile", "mean_difference": "quantile_difference"}
        rows.append(dataclasses.replace(row, estimand=named.get(row.estimand, row.estimand)))
    rows += _against(rows, "both", "c10")
    rows += _views(rows)
    rows += _segments()
    rows += _course()
    rows.append(Row(analysis="quality", metric=None, estimand="later", estimate=1.0, note=None))
    results = Results.of(rows)
    reasons = (
        reason("primary_better", results.where(baseline="none"), "repurchase", "both", "retention"),
        Reason(
            "guardrail_kept", {"metric": "margin", "arm": "both", "margin": 0.25, "kind": "sum"}
        ),
    )
    kept = results.one(metric="margin", arm="both", estimand="mean_difference", baseline="none")
    numbers = {"estimate": kept.estimate, "ci_low": kept.ci_low, "ci_high": kept.ci_high}
    reasons = (reasons[0], Reason("guardrail_kept", {**reasons[1].numbers, **numbers}))
    return Case("everything", SPEC, results, Verdict("ship", "both", reasons))


def _homogeneity(segment: str | None, p: float) -> Row:
    note = "sample_ratio_within: p is below 0.001" if p < 0.001 else None
    return Row(
        analysis="quality",
        estimand="split_homogeneity",
        segment=segment,
        estimate=5.0,
        p_value=p,
        note=note,
    )


def _gate(metric: str, rate: float, note: str | None = None) -> Row:
    return Row(
        analysis="quality",
        metric=metric,
        estimand="aa_rejections",
        estimate=rate,
        std_error=0.007,
        ci_low=0.01,
        ci_high=0.11,
        term="1,000 re-randomisations of 200 buckets",
        note=note,
    )


def _against(rows: list[Row], arm: str, baseline: str) -> list[Row]:
    """Both treated arms against each other: half of what `arm` has against the control."""
    found = []
    for r in rows:
        if r.arm == arm and r.baseline == "none" and r.estimate is not None:
            found.append(dataclasses.replace(r, baseline=baseline, estimate=r.estimate / 2))
    return found


def _views(rows: list[Row]) -> list[Row]:
    """Further views of the same effects."""
    found = []
    pairs = [r for r in rows if r.estimand == "mean_difference" and r.baseline == "none"]
    for r in pairs:
        if r.metric == "repurchase":
            for estimand in ("unadjusted_difference", "simultaneous_difference"):
                found.append(dataclasses.replace(r, estimand=estimand))
            more = {"arm": r.arm, "baseline": r.baseline, "metric": r.metric}
            found.append(Row(**AB, **more, estimand="variance_reduction", estimate=0.2))
            found.append(
                dataclasses.replace(
                    r,
                    analysis="quality",
                    estimand="covariate_difference",
                    term="history: North",
                    p_value=0.4,
                )
            )
        if r.metric == "revenue":
            found.append(dataclasses.replace(r, estimand="uncapped_difference"))
            found.append(dataclasses.replace(r, estimand="pre_period_difference", p_value=0.5))
        if r.metric == "margin":
            room = {"ci_low": -0.1, "ci_high": 0.4} if r.arm == "free" else {}
            found.append(
                dataclasses.replace(
                    r,
                    estimand="non_inferiority",
                    term="margin 0.05 of control",
                    p_value=0.01,
                    **room,
                )
            )
    for term, estimand, estimate in (
        ("coupon: yes", "main_effect", 0.023),
        ("shipping: free", "main_effect", 0.006),
        ("coupon: yes, shipping: free", "interaction", -0.02),
    ):
        more = {"ci_low": estimate - 0.006, "ci_high": estimate + 0.006, "p_value": 0.001}
        at = {"metric": "repurchase", "term": term, "estimand": estimand}
        found.append(Row(**AB, **at, estimate=estimate, std_error=0.003, **more))
    for arm, chance, loss in zip(
        ARMS, (1e-9, 0.3, 0.001, 0.699), (0.03, 0.005, 0.02, 0.0004), strict=True
    ):
        at = {"metric": "repurchase", "arm": arm, "method": "normal posterior, flat prior"}
        found.append(Row(**AB, **at, estimand="probability_best", estimate=chance))
        found.append(Row(**AB, **at, estimand="expected_loss", estimate=loss))
    return found


def _segments() -> list[Row]:
    found = []
    for column, levels in (
        ("region", ("East", "West")),
        ("tier", ("new", "old")),
        (f"region{CROSS}tier", (f"East{CROSS}new", f"West{CROSS}old")),
    ):
        for i, level in enumerate(levels):
            cells = {a: yes(0.2 + 0.01 * k + 0.02 * i, 5000) for k, a in enumerate(ARMS)}
            own = compare("repurchase", cells, column, level)
            found += own
            found += [
                dataclasses.replace(r, estimand="shrunken_difference", estimate=0.02, p_value=None)
                for r in own
                if r.estimand == "mean_difference"
            ]
        p = {"region": 0.3, "tier": 0.02}.get(column, 0.0001)
        for arm in ARMS[1:]:
            at = {"metric": "repurchase", "segment": column, "arm": arm, "baseline": "none"}
            found.append(Row(**AB, **at, estimand="heterogeneity", estimate=0.01, p_value=p))
    return found


def _course() -> list[Row]:
    """Twelve days; the band of one arm leaves no difference on the sixth."""
    found = []
    for arm, effect in (("c10", 0.01), ("free", 0.004), ("both", 0.03)):
        at: dict[str, Any] = {**AB, "metric": "repurchase", "arm": arm, "baseline": "none"}
        for i in range(12):
            day = str(dt.date(2025, 12, 28) + dt.timedelta(days=i))
            half = 0.07 / (i + 1) ** 0.5
            ends = {"ci_low": effect - half, "ci_high": effect + half} if i else {}
            note = None if i else "too_early: few units"
            for estimand in ("sequential_difference", "daily_difference"):
                found.append(
                    Row(**at, estimand=estimand, at=day, estimate=effect, note=note, **ends)
                )
        found.append(Row(**at, estimand="heterogeneity", estimate=0.0, p_value=0.7))
        found += _ages(at, effect)
    return found


def _ages(at: dict[str, Any], effect: float) -> list[Row]:
    """Ten days since entering: the effect of one arm wears off, the last day is hidden."""
    found, so_far = [], 0.0
    for k in range(1, 11):
        one = effect * (0.6**k if at["arm"] == "both" else 0.1)
        so_far += one
        for estimand, value, half in (
            ("day_difference", one, 0.002),
            ("cumulative_difference", so_far, 0.002 * k**0.5),
        ):
            place: dict[str, Any] = {**at, "estimand": estimand, "at": str(k)}
            if k == 10:
                found.append(Row(**place, note="suppressed: fewer than 20 units"))
                continue
            found.append(Row(**place, estimate=value, ci_low=value - half, ci_high=value + half))
    p = 0.0004 if at["arm"] == "both" else 0.6
    found.append(Row(**at, estimand="novelty_slope", estimate=-effect / 10, p_value=p))
    return found
