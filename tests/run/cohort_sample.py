"""Nothing in; finished runs with survival rows, of simulated customers, for tests out.

The customers of an online shop in three markets enter in monthly cohorts; those won in a promotion
come back later and less often.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from run.cohort_rows import (
    AGES,
    BASE,
    FIRST,
    MARKETS,
    MILESTONES,
    People,
    against,
    described,
    hazard,
    incidence,
    model,
    normal,
    people,
    retention,
    revenue,
    share_at,
)
from run.sample import coupon
from run.sample_rows import Case

from retention_lab.results import Reason, Results, Row, Verdict

SPEC = """\
schema: 1
name: shop-cohorts
title: {en: "When do first-time buyers come back?", zh: "首次购买的客户何时复购？"}
question:
  en: "Do customers who were won in the autumn sale come back like all others?"
  zh: "秋季大促带来的新客，复购情况与其他客户一样吗？"
owner: growth
notebook: cohort_survival
data:
  events:
    orders: {table: "dataset:twin/orders", at: ordered_at}
    refunds: {table: "dataset:twin/refunds", at: refunded_at}
  as_of: 2026-01-15
survival:
  unit: customer_id
  origin: first orders
  event: next orders
  cohorts: month
  by: [market]
  horizon: 365d
  covariates: [market]
  value: revenue
  promotion: {name: autumn_sale, from: 2025-10-20, to: 2025-10-31}
report:
  labels:
    orders: {en: "Orders", zh: "订单"}
    refunds: {en: "Refunds", zh: "退款"}
    market: {en: "Market", zh: "市场"}
    United Kingdom: {en: "United Kingdom", zh: "英国"}
    Germany: {en: "Germany", zh: "德国"}
    Spain: {en: "Spain", zh: "西班牙"}
    promotion: {en: "How customers were won", zh: "获客来源"}
    autumn_sale: {en: "Autumn sale", zh: "秋季大促"}
    rest: {en: "All others", zh: "其他客户"}
"""


@functools.cache
def cohorts() -> Case:
    """A cohort study in which promotion-acquired customers come back later."""
    everyone = people()
    rows = described(BASE, everyone) + hazard(BASE, everyone)
    for code, n, note in (
        ("no_id", 1412, "no_id: 1,412 rows of orders name no customer"),
        ("future", 3, "future: 3 rows lie after the last complete day"),
    ):
        place = {**BASE, "estimand": "left_out", "term": code}
        rows.append(Row(**place, estimate=n, note=note))
    for term, ages in (("bracket", AGES), ("n_day", ("1", "7", "30", "90"))):
        rows += retention(BASE, everyone, term, ages)
    rows += _split("promotion", {"rest": ~everyone.sale, "autumn_sale": everyone.sale})
    rows += _split("market", {m: everyone.market == m for m in MARKETS})
    for name, chi2, p in (("promotion", 148.3, 0.0), ("market", 61.4, 4.6e-14)):
        place = {**BASE, "segment": name}
        rows.append(Row(**place, estimand="log_rank", term="plain", estimate=chi2, p_value=p))
    for mask, name in _months(everyone):
        own = everyone.of(mask)
        place = {**BASE, "segment": "cohort", "level": name}
        rows += described(place, own, long=False) + retention(place, own, "bracket", AGES)
    terms = {"market=Germany": (0.19, 0.03), "market=Spain": (-0.36, 0.04)}
    rows += model(BASE, {**terms, "promotion=autumn_sale": (-0.62, 0.05)}, "promotion=autumn_sale")
    rows += revenue(everyone)
    back = 1 - share_at(everyone, 90)[0]
    ends = [r for r in rows if r.estimand == "survival" and r.segment is None]
    at = next(r for r in reversed(ends) if int(r.at or 0) <= 90)
    low, high = 1 - (at.ci_high or 0), 1 - (at.ci_low or 0)
    early = (1 - share_at(everyone, 30)[0]) / (1 - share_at(everyone, 365)[0])
    numbers = {"event": "orders", "n": len(everyone.stop), "day": 90, "share": back}
    d = [r for r in rows if r.level == "autumn_sale" and r.estimand == "survival_difference"][-1]
    found = {
        "event": "orders",
        "segment": "promotion",
        "level": "autumn_sale",
        "baseline": "rest",
        "day": 90,
        "difference": -(d.estimate or 0.0),
        "ci_low": -(d.ci_high or 0.0),
        "ci_high": -(d.ci_low or 0.0),
        "p": d.p_value,
    }
    reasons = (
        Reason("cohorts_described", {**numbers, "ci_low": low, "ci_high": high}),
        Reason("groups_differ", found),
        Reason("most_leave_early", {"event": "orders", "day": 30, "last": 365, "share": early}),
    )
    return Case("shop-cohorts", SPEC, Results.of(rows), Verdict("keep_running", None, reasons))


def _months(who: People) -> Iterator[tuple[NDArray[np.bool_], str]]:
    days = [FIRST + dt.timedelta(days=int(d)) for d in who.entry]
    month = np.array([f"{d:%Y-%m}" for d in days])
    for name in np.unique(month):
        yield month == name, str(name)


def _split(segment: str, groups: dict[str, NDArray[np.bool_]]) -> list[Row]:
    rows, base = [], people().of(next(iter(groups.values())))
    for i, (name, mask) in enumerate(groups.items()):
        own = people().of(mask)
        place = {**BASE, "segment": segment, "level": name}
        rows += described(place, own) + hazard(place, own)
        rows += retention(place, own, "bracket", AGES)
        if i:
            rows += against({**place, "baseline": next(iter(groups))}, own, base)
    return rows


@functools.cache
def rivals() -> Case:
    """The same study where a refund may come first: the shares that had an order first differ."""
    case, everyone = cohorts(), people()
    splits = {
        "promotion": {"rest": ~everyone.sale, "autumn_sale": everyone.sale},
        "market": {m: everyone.market == m for m in MARKETS},
    }
    rows = [*case.results.rows, *incidence(BASE, everyone)]
    for segment, groups in splits.items():
        shares: dict[str, list[Row]] = {}
        for name, mask in groups.items():
            place = {**BASE, "segment": segment, "level": name}
            shares[name] = incidence(place, everyone.of(mask))
            rows += shares[name]
        base = next(iter(groups))
        for name in list(groups)[1:]:
            place = {**BASE, "segment": segment, "level": name, "baseline": base}
            for day in MILESTONES[:2]:
                (a, u), (b, v) = (first_by(shares[g], day) for g in (name, base))
                found = {**normal(a - b, math.hypot(u, v)), "method": "Aalen-Johansen"}
                at = {"at": str(day), "term": "orders"}
                rows.append(Row(**place, **at, estimand="incidence_difference", **found))
        for term, chi2, p in (("orders", 30.2, 3.9e-8), ("refunds", 1.1, 0.29)):
            place = {**BASE, "segment": segment, "term": term}
            rows.append(Row(**place, estimand="gray", estimate=chi2, p_value=p))
    spec = case.spec.replace("  covariates:", "  competing: [refunds]\n  covariates:")
    spec = spec.replace("name: shop-cohorts", "name: shop-outcomes")
    return dataclasses.replace(case, name="shop-outcomes", spec=spec, results=Results.of(rows))


def first_by(rows: list[Row], day: int) -> tuple[float, float]:
    """Share that had an order first by `day`, with its standard error."""
    at = [r for r in rows if r.term == "orders" and int(r.at or 0) <= day][-1]
    return at.estimate or 0.0, at.std_error or 0.0


@functools.cache
def lively() -> Case:
    """The unclear coupon test with its survival section: coupons bring orders forward."""
    case, rng = coupon(), np.random.default_rng(7)
    arms, rows, groups = {"none": 1.0, "c10": 0.8, "c20": 0.7}, [], {}
    for arm, slow in arms.items():
        n = 3000
        seen = np.floor(rng.uniform(20, 120, n))
        back = np.ceil(80 * slow * rng.weibull(0.75, n))
        back[rng.uniform(size=n) < 0.45] = np.inf
        later = back + np.ceil(90 * rng.weibull(0.8, n))
        empty = np.full(n, "")
        sale = np.zeros(n, dtype=bool)
        own = People(seen * 0, seen, empty, sale, back, back + np.inf, (back, later))
        groups[arm] = own
        place = {**BASE, "arm": arm}
        rows += described(place, own)
        if arm != "none":
            rows += against({**place, "baseline": "none"}, own, groups["none"])
    rows.append(Row(**BASE, estimand="log_rank", term="plain", estimate=22.1, p_value=1.6e-5))
    terms = {"arm=c10": (0.14, 0.04), "arm=c20": (0.27, 0.04)}
    rows += model(BASE, terms, "arm=c20")
    spec = case.spec.replace("segments: [region]", AB_SURVIVAL)
    spec = spec.replace("    region:", '    orders: {en: "Orders", zh: "订单"}\n    region:', 1)
    results = Results.of((*case.results.rows, *rows))
    return dataclasses.replace(case, spec=spec, results=results)


AB_SURVIVAL = """segments: [region]
survival: {origin: exposure, event: next orders, horizon: 120d}"""


def bare() -> Case:
    """A study that can say next to nothing: no rows but the customers, no event at all."""
    rows = [Row(**BASE, estimand="customers", estimate=41, n=41)]
    spec = SPEC.replace("  promotion: {name: autumn_sale, from: 2025-10-20, to: 2025-10-31}\n", "")
    reasons = (Reason("no_events", {"event": "orders", "n": 41}),)
    return Case("shop-cohorts", spec, Results.of(rows), Verdict("invalid", None, reasons))
