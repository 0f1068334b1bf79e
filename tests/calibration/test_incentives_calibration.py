"""Incentives in simulated shops whose truth is known, from files to result rows.

Many shops stand in one set of tables. Their moments are split by a segment, the seed; their weekly
totals by an arm that has the seed in its name. Truth is the twin's own closed form.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from table import record

import retention_lab as rl
from retention_lab.data.evidence import Evidence
from retention_lab.data.weeks import reduce_weeks
from retention_lab.incentives.pullforward import pull_forward_rows
from retention_lab.twin import (
    AA,
    COMEBACK_COUPON,
    COUPON_DOSE,
    FORWARD_COUPON,
    REDEEMED_COUPON,
    simulate,
    truth_of,
)
from retention_lab.twin.incentive import dose_of, late_of, profit_of, weekly_of

SIGMAS = 3.5
BATCH = 100  # shops in one set of tables
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
METRICS = [
    {"name": "orders", "kind": "count", "event": "orders", "within": "30d", "role": "primary"},
    {"name": "repurchase", "kind": "retention", "event": "orders", "within": "30d"},
    {"name": "revenue", "kind": "sum", "event": "orders", "value": "revenue", "within": "30d"},
]


@pytest.fixture(params=[20, pytest.param(500, marks=SLOW)])
def count(request):
    return request.param


def write_shops(folder, scenario, seeds):
    """The tables of one shop a seed, put together; ids and arms are made unique by the seed."""
    parts = {"assignments": [], "orders": []}
    for seed in seeds:
        shop, mark = simulate(scenario, seed=seed), pa.scalar(f"{seed}/")
        for table, held in parts.items():
            part = shop.tables[table]
            place = part.schema.get_field_index("customer_id")
            own = pc.binary_join_element_wise(mark, part["customer_id"], "")
            part = part.set_column(place, "customer_id", own)
            if table == "assignments":
                both = pc.binary_join_element_wise(mark, part["arm"], "")
                part = part.append_column("shop_arm", both)
                part = part.append_column("seed", pa.array([str(seed)] * len(part)))
            held.append(part)
    for table, held in parts.items():
        pq.write_table(pa.concat_tables(held), folder / f"{table}.parquet")


def plan_of(folder, scenario, incentive, arm, control, segments):
    orders = {"table": "orders.parquet", "at": "ordered_at"}
    spec = {
        "schema": 1,
        "name": "shops",
        "title": "Shops",
        "data": {
            "assignments": {"table": "assignments.parquet", "at": "assigned_at"},
            "events": {"orders": orders, "uses": {**orders, "where": "coupon_used = 1"}},
            "as_of": scenario.as_of,
        },
        "design": {"unit": "customer_id", "arm": arm, "control": control},
        "metrics": METRICS,
        "segments": segments,
        "incentive": incentive,
        "inference": {"correction": "none"},
        "privacy": {"min_cell": 1},
    }
    (folder / "shops.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return rl.plan(folder / "shops.yaml")


def batches(count):
    for start in range(0, count, BATCH):
        yield range(5000 + start, 5000 + min(start + BATCH, count))


def shops(folder, scenario, count, incentive):
    """The result rows of `count` shops, by (estimand, metric, arm, at), of each shop."""
    for seeds in batches(count):
        write_shops(folder, scenario, seeds)
        plan = plan_of(folder, scenario, incentive, "arm", scenario.arms[0].name, ["seed"])
        whole = rl.reduce(plan)
        for seed in seeds:
            rows = rl.analyse_incentive(plan, Evidence(whole.where("seed", str(seed)))).rows
            yield {(r.estimand, r.metric, r.arm, r.at): r for r in rows
                   if r.term is None or r.estimand == "best_dose"}  # fmt: skip


def courses(folder, scenario, count):
    """The rows of the weekly course of `count` shops, by (estimand, at), of each shop."""
    base, arm = (a.name for a in scenario.arms)
    incentive = {"strategy": "randomised", "pull_forward": {"event": "orders"}}
    for seeds in batches(count):
        write_shops(folder, scenario, seeds)
        control = f"{seeds[0]}/{base}"
        plan = plan_of(folder, scenario, incentive, "shop_arm", control, [])
        weeks = reduce_weeks(plan)
        for seed in seeds:
            pair = dataclasses.replace(plan, arms=(f"{seed}/{base}", f"{seed}/{arm}"))
            rows = pull_forward_rows(pair, weeks)
            yield {(r.estimand, None if r.estimand == "pull_forward" else r.at): r for r in rows}


def check(estimator, scenario, what, nominal, hits):
    """`hits` are one a simulation: whether its interval holds, or what share of several do."""
    found, error = np.mean(hits), None
    if not set(hits) <= {0.0, 1.0}:  # several in one simulation: their spread says how sure it is
        error = float(np.std(hits, ddof=1)) / len(hits) ** 0.5
    error = record(estimator, scenario, what, nominal, found, len(hits), error)
    if isinstance(nominal, float):
        assert abs(found - nominal) <= SIGMAS * error, f"{estimator}: {found:.4f} +- {error:.4f}"
    elif nominal is not None:
        limit = float(nominal.split()[-1])
        sign = 1 if nominal.startswith("at most") else -1
        assert sign * (found - limit) <= SIGMAS * error, f"{estimator}: {found:.4f} +- {error:.4f}"


def centred(estimator, scenario, found, true):
    """The mean of what was found is the truth, up to its Monte-Carlo error."""
    error = np.std(found, ddof=1) / len(found) ** 0.5
    record(estimator, scenario, "mean less truth", 0.0, np.mean(found) - true, len(found), error)
    assert abs(np.mean(found) - true) <= SIGMAS * error, f"{estimator}: {np.mean(found)} {true}"


def covers(row, value):
    return row.ci_low is not None and row.ci_low <= value <= row.ci_high


def smaller(scenario, customers, **changed):
    return dataclasses.replace(scenario, customers=customers, **changed)


def test_a_coupon_dealt_by_chance_has_a_true_ledger(tmp_path, count):
    scenario = smaller(COMEBACK_COUPON, 1500, arms=COMEBACK_COUPON.arms[:2])
    said = {"strategy": "randomised", "revenue": "revenue", "margin": 0.4, "redeemed": "uses",
            "cost": {"contact": 0.05, "redemption": 10}}  # fmt: skip
    truth = profit_of(scenario, "c10", contact=0.05)
    true = {
        "incremental_revenue": truth["revenue"],
        "incremental_cost": truth["cost"],
        "incremental_profit": truth["profit"],
        "margin_per_dollar": truth["margin"] / truth["cost"],
    }
    hits, found = {k: [] for k in true}, {k: [] for k in true}
    for rows in shops(tmp_path, scenario, count, said):
        for name, value in true.items():
            row = rows[name, "revenue", "c10", None]
            hits[name].append(covers(row, value))
            found[name].append(row.estimate)
    label = "twin, coupon of $10, 1,500 customers"
    for name, value in true.items():
        check(name, label, "coverage", 0.95, hits[name])
        if name != "margin_per_dollar":  # a ratio: its interval is judged, its mean need not exist
            centred(name, label, found[name], value)


@pytest.mark.parametrize("always", [0.0, 0.1])
def test_the_effect_on_redeemers_is_that_of_the_shop(tmp_path, count, always):
    scenario = smaller(REDEEMED_COUPON, 1500, always=always)
    said = {"strategy": "encouragement", "redeemed": "redeemed", "revenue": "revenue",
            "margin": 0.4, "cost": {"redemption": 8}}  # fmt: skip
    truth = {k.split("_")[0]: v for k, v in late_of(scenario)["offer"].items()}
    hits, found = {m: [] for m in truth}, {m: [] for m in truth}
    first, profit = [], []
    true_profit = profit_of(scenario, "offer")["profit"]
    for rows in shops(tmp_path, scenario, count, said):
        for metric, value in truth.items():
            row = rows["late", metric, "offer", None]
            hits[metric].append(covers(row, value))
            found[metric].append(row.estimate)
        first.append(covers(rows["first_stage", "orders", "offer", None], 0.35))
        profit.append(covers(rows["incremental_profit", "revenue", "offer", None], true_profit))
    label = f"twin, {always:.0%} redeem in every arm, 1,500 customers"
    for metric, value in truth.items():
        check(f"late of {metric}, Anderson-Rubin", label, "coverage", 0.95, hits[metric])
        centred(f"late of {metric}", label, found[metric], value)
    check("first_stage", label, "coverage", 0.95, first)
    check("incremental_profit", label, "coverage", 0.95, profit)


def test_a_weak_offer_is_covered_by_anderson_and_rubin(tmp_path, count):
    arms = (REDEEMED_COUPON.arms[0], dataclasses.replace(REDEEMED_COUPON.arms[1], uptake=0.04,
            lift=0.008, forward=0.0))  # fmt: skip
    scenario = smaller(REDEEMED_COUPON, 1500, arms=arms, always=0.3)
    said = {"strategy": "encouragement", "redeemed": "redeemed", "outcomes": ["repurchase"]}
    true = late_of(scenario)["offer"]["repurchase_30d"]
    region, wald, strength, shapes = [], [], [], []
    for rows in shops(tmp_path, scenario, count, said):
        row = rows["late", "repurchase", "offer", None]
        code = (row.note or "").split(":")[0]
        shapes.append(code)
        if code == "nobody_redeems":  # fewer than in the control, by chance: no value is ruled out
            region.append(True)
            continue
        strength.append(rows["first_stage_f", "repurchase", "offer", None].estimate)
        wald.append(abs(row.estimate - true) <= 1.959964 * row.std_error)
        if code == "ar_disjoint":
            low, high = (float(x.split(" ")[-1]) for x in ends(row.note))
            region.append(true <= low or true >= high)
        else:
            region.append(code == "ar_unbounded" or covers(row, true))
    assert {"ar_unbounded", "weak_instrument"} <= set(shapes)
    label = f"twin, weak offer, mean F {np.mean(strength):.1f}, 1,500 customers"
    check("late, Anderson-Rubin", label, "coverage", "at least 0.95", region)
    check("late, Wald", label, "coverage", None, wald)


def ends(note):
    """The two ends of a set that falls apart: "... up to A and those from B on"."""
    low, high = note.split(" up to ")[1].split(" and those from ")
    return low, high.removesuffix(" on")


def test_the_response_to_a_dose_is_that_of_the_shop(tmp_path, count):
    """Profit a customer is skewed by 6 to 9: of arms of 1,000, normal intervals cover in 0.94."""
    scenario = smaller(COUPON_DOSE, 3000 if count < 100 else 6000)
    dose = {a.name: a.coupon for a in scenario.arms}
    said = {"strategy": "dose", "dose": dose, "redeemed": "uses", "revenue": "revenue",
            "margin": 0.4, "cost": {"redemption": "dose"}, "outcomes": ["repurchase"]}  # fmt: skip
    truth, expected = dose_of(scenario), truth_of(scenario)
    base = expected.mean("margin_30d", "none")
    means, profits, best = [], [], []
    found = {d: [] for d in truth["profit"]}
    for rows in shops(tmp_path, scenario, count, said):
        held, paid = [], []
        for arm, value in dose.items():
            at = f"{value:g}"
            row = rows["dose_mean", "repurchase", arm, at]
            held.append(covers(row, truth["repurchase"][at]))
            row = rows["profit_at_dose", "revenue", arm, at]
            paid.append(covers(row, base + truth["profit"][at]))
            found[at].append(row.estimate)
        means.append(np.mean(held))
        profits.append(np.mean(paid))
        best.append(covers(rows["best_dose", "revenue", None, None], truth["best"]))
    label = f"twin, six doses, {scenario.customers:,} customers"
    check("dose_mean", label, "coverage", 0.95, means)
    check("profit_at_dose", label, "coverage", 0.95, profits)
    # Between the doses that were tried the curve is assumed, so nothing is claimed of its top.
    check("best_dose", label, "coverage", None, best)
    for at, value in truth["profit"].items():
        centred(f"profit_at_dose {at}", label, found[at], base + value)


KEPT = (FORWARD_COUPON.arms[0], dataclasses.replace(FORWARD_COUPON.arms[1], forward=0.0))
ENDING = dataclasses.replace(FORWARD_COUPON, arms=KEPT)
LASTING = dataclasses.replace(ENDING, effect_days=84, pace=((90, 1.0), (180, 0.5)))
NOTHING = dataclasses.replace(FORWARD_COUPON, arms=AA.arms)


@pytest.mark.parametrize(
    ("scenario", "label", "nominal"),
    [
        (NOTHING, "no effect", "at most 0.05"),
        (ENDING, "effect for 30 days, then none", "at most 0.05"),
        (LASTING, "effect for 12 weeks", "at most 0.05"),
    ],
    ids=["nothing", "ending", "lasting"],
)
def test_nothing_is_called_pulled_forward_that_was_not(tmp_path, count, scenario, label, nominal):
    scenario = smaller(scenario, 1500)
    arm = scenario.arms[1].name
    true = np.cumsum(weekly_of(scenario)[arm])
    size, band, net, falling = [], [], [], []
    for rows in courses(tmp_path, scenario, count):
        back = rows["pull_forward", None]
        size.append(back.p_value is not None and back.p_value < 0.05)
        falling.append((back.note or "").startswith("still_falling"))
        path = [rows["cumulative_effect", str(k)] for k in range(1, 13)]
        band.append(all(covers(r, t) for r, t in zip(path, true, strict=True)))
        net.append(covers(rows["net_effect", "12"], true[-1]))
    label = f"twin, {label}, 1,500 customers"
    check("pull_forward", label, "size", nominal, size)
    check("pull_forward, still_falling", label, "share", "at most 0.05", falling)
    check("cumulative_effect, whole path", label, "coverage", 0.95, band)
    check("net_effect", label, "coverage", 0.95, net)


def test_what_is_pulled_forward_is_found_and_nothing_is_left(tmp_path, count):
    scenario = smaller(FORWARD_COUPON, 3000)
    power, share, net, found = [], [], [], []
    for rows in courses(tmp_path, scenario, count):
        back = rows["pull_forward", None]
        power.append(back.p_value is not None and back.p_value < 0.05)
        share.append(covers(back, 1.0))
        row = rows["net_effect", "12"]
        net.append(covers(row, 0.0))
        found.append(row.estimate)
    label = "twin, all pulled forward, 3,000 customers"
    check("pull_forward", label, "power", None, power)
    assert np.mean(power) > 0.6
    check("pull_forward, share given back", label, "coverage", "at least 0.95", share)
    check("net_effect", label, "coverage", 0.95, net)
    centred("net_effect", label, found, 0.0)
