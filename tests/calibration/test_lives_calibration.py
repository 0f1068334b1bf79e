"""Survival in experiments on simulated shops whose truth is known, from files to result rows.

Many shops stand in one set of tables, with the seed as a key of the life table: one reduction
counts them all, and the analysis of a level is the analysis of that shop. Time is calendar days: an
order on day d of a customer who entered at the time of day f came within d + 1 - f days. The truth
of order curves follows from the twin's own model, exactly; f is even over the day and independent
of all else. That of cumulative incidences, where refunds compete (orders before the exposure bring
them about as well), is counted in one very large shop. Refunds are no independent censoring, so
that Kaplan-Meier's truth is that without them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from table import record

import retention_lab as rl
from retention_lab.data.cohorts import Cohorts
from retention_lab.twin import AA, COMEBACK_COUPON, simulate
from retention_lab.twin.model import interpolate, solve, some

SIGMAS = 3.5
BATCH = 100  # shops in one set of tables
CUSTOMERS = 900
DAY = 30
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(12)
SAID = f"twin, {CUSTOMERS} customers, days, staggered censoring"


@pytest.fixture(params=[100, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def write_shops(folder, scenario, seeds):
    """The tables of one shop a seed, put together; ids are made unique by the seed."""
    for shop in (simulate(scenario, seed=seed) for seed in seeds):
        for table in ("assignments", "orders", "refunds"):
            part = shop.tables[table]
            unit = pa.array([f"{shop.seed}/{u}" for u in part["customer_id"].to_pylist()])
            part = part.set_column(part.schema.get_field_index("customer_id"), "customer_id", unit)
            if table == "assignments":
                part = part.append_column("seed", pa.array([str(shop.seed)] * len(part)))
            yield table, part


def reduced(folder, scenario, seeds, competing):
    """The plan of an experiment on these shops, and its reductions by seed."""
    parts = {}
    for table, part in write_shops(folder, scenario, seeds):
        parts.setdefault(table, []).append(part)
    for table, held in parts.items():
        pq.write_table(pa.concat_tables(held), folder / f"{table}.parquet")
    spec = {
        "schema": 1,
        "name": "shops",
        "title": "Shops",
        "data": {
            "assignments": {"table": "assignments.parquet", "at": "assigned_at"},
            "events": {
                "orders": {"table": "orders.parquet", "at": "ordered_at"},
                "refunds": {"table": "refunds.parquet", "at": "at"},
            },
            "as_of": scenario.as_of,
        },
        "design": {"unit": "customer_id", "arm": "arm", "control": scenario.arms[0].name},
        "survival": {
            "origin": "exposure",
            "event": "next orders",
            "competing": competing,
            "by": ["seed"],
            "cohorts": "year",
            "horizon": f"{DAY}d",
        },
        "inference": {"correction": "none"},
        "privacy": {"min_cell": 1},
    }
    (folder / "shops.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    plan = rl.plan(folder / "shops.yaml")
    whole = rl.reduce_cohorts(plan)
    again = dict(whole.repeats.parts("seed"))
    return plan, [Cohorts(life, again[seed]) for seed, life in whole.life.parts("seed")]


def shops(folder, scenario, count, competing=()):
    """The result rows of `count` shops, by shop and (estimand, arm, at, term)."""
    scenario = dataclasses.replace(scenario, customers=CUSTOMERS)
    for start in range(0, count, BATCH):
        seeds = range(3000 + start, 3000 + min(start + BATCH, count))
        plan, parts = reduced(folder, scenario, seeds, list(competing))
        assert len(parts) == len(seeds)
        for part in parts:
            rows = rl.analyse_cohorts(plan, part).rows
            yield {(r.estimand, r.arm, r.at, r.term): r for r in rows}


def mean_over_the_day(at, day):
    """The mean of `at` over the lengths of time that calendar day `day` of age may end after."""
    return sum(w / 2 * at(day + (p + 1) / 2) for p, w in zip(POINTS, WEIGHTS, strict=True))


def survival(scenario, arm, day):
    """The share of `arm` without an order until the end of calendar day `day`."""
    model = solve(scenario)
    path = model.paths[arm]

    def at(length):
        x = interpolate(length, *path)
        return sum(c.weight * (1 - some(scenario, c.scale * x)) for c in model.cells)

    return mean_over_the_day(at, day)


def orders(scenario, arm, day):
    """Orders per customer of `arm` until the end of calendar day `day`."""
    model = solve(scenario)
    rate = sum(c.weight * scenario.evenness * c.scale for c in model.cells)
    return rate * mean_over_the_day(lambda t: interpolate(t, *model.paths[arm]), day)


def incidence(scenario, customers, seed=1):
    """By cause, the share for which it came first and by `DAY`, and its error: in one large shop.

    Its last customers were seen for longer than that.
    """
    end = scenario.start + dt.timedelta(days=scenario.enrol_days + DAY + 1)
    scenario = dataclasses.replace(scenario, customers=customers, as_of=end)
    tables = simulate(scenario, seed=seed).tables
    place = pd.Index(tables["assignments"]["customer_id"].to_pandas())
    entered = tables["assignments"]["assigned_at"].to_numpy()
    first = []
    for name, at in (("orders", "ordered_at"), ("refunds", "at")):
        who = place.get_indexer(tables[name]["customer_id"].to_pandas())
        when = tables[name][at].to_numpy()
        after = when > entered[who]
        who, when = who[after], when[after]
        least = np.full(customers, DAY + 1)
        days = when.astype("M8[D]") - entered[who].astype("M8[D]")
        np.minimum.at(least, who, days.astype(int))
        first.append(least)
    one, two = first
    came = {"orders": (one <= DAY) & (one <= two), "refunds": (two <= DAY) & (two < one)}
    return {cause: (x.mean(), x.std() / customers**0.5) for cause, x in came.items()}


def check(estimator, scenario, what, nominal, hits):
    error = record(estimator, f"{SAID}, {scenario}", what, nominal, np.mean(hits), len(hits))
    found = np.mean(hits)
    assert abs(found - nominal) <= SIGMAS * error, f"{estimator}: {found:.4f} +- {error:.4f}"


def covers(row, value):
    return row.ci_low <= value <= row.ci_high


def unbiased(found, true, error=0.0):
    """Whether the mean of `found` is the truth, which itself is known up to `error`."""
    own = np.std(found) / len(found) ** 0.5
    return abs(np.mean(found) - true) <= SIGMAS * np.hypot(own, error)


def test_the_intervals_of_an_experiment_cover_the_truth(tmp_path, count):
    base, arm, at = "none", "c10", str(DAY)
    scenario = dataclasses.replace(COMEBACK_COUPON, arms=COMEBACK_COUPON.arms[:2])
    alive = {a: [survival(scenario, a, d) for d in range(DAY + 1)] for a in (base, arm)}
    mean = {a: sum(s[:DAY]) for a, s in alive.items()}
    number = {a: orders(scenario, a, DAY) for a in (base, arm)}
    truth = {
        ("survival", base): alive[base][DAY],
        ("survival", arm): alive[arm][DAY],
        ("survival_difference", arm): alive[arm][DAY] - alive[base][DAY],
        ("rmst", base): mean[base],
        ("rmst_difference", arm): mean[arm] - mean[base],
        ("rmst_ratio", arm): mean[arm] / mean[base],
        ("mean_cumulative", base): number[base],
        ("mean_cumulative", arm): number[arm],
        ("mean_cumulative_difference", arm): number[arm] - number[base],
    }
    hits = {key: [] for key in truth}
    found = {key: [] for key in truth}
    for rows in shops(tmp_path, scenario, count):
        for (estimand, who), true in truth.items():
            row = rows[estimand, who, at, None]
            hits[estimand, who].append(covers(row, true))
            found[estimand, who].append(row.estimate)
    for (estimand, who), true in truth.items():
        check(estimand, f"{who}, day {at}", "coverage", 0.95, hits[estimand, who])
        assert estimand == "rmst_ratio" or unbiased(found[estimand, who], true), (estimand, who)


def test_tests_keep_their_size_and_incidences_cover_where_refunds_compete(tmp_path, count):
    base, arm = (a.name for a in AA.arms)
    at = str(DAY)
    tests = {
        "log-rank": ("log_rank", None, None, "plain"),
        "Gray, orders": ("gray", None, None, "orders"),
        "Gray, refunds": ("gray", None, None, "refunds"),
        "Cox, robust errors": ("log_hazard_ratio", None, None, f"arm={arm}"),
        "Cox, proportionality": ("proportionality", None, None, "global"),
        "Fine-Gray": ("log_subdistribution_hazard_ratio", None, None, f"arm={arm}"),
        "survival difference": ("survival_difference", arm, at, None),
        "RMST difference": ("rmst_difference", arm, at, None),
        "incidence difference, refunds": ("incidence_difference", arm, at, "refunds"),
        "MCF difference": ("mean_cumulative_difference", arm, at, None),
        "equal means of orders": ("equal_means", None, at, None),
    }
    truth = incidence(AA, 100_000 if count <= 100 else 1_000_000)
    hits = {name: [] for name in tests}
    held = {cause: [] for cause in truth}
    found = {cause: [] for cause in truth}
    for rows in shops(tmp_path, AA, count, ["refunds"]):
        for name, key in tests.items():
            hits[name].append(rows[key].p_value < 0.05)
        for cause, (share, _) in truth.items():
            row = rows["cumulative_incidence", base, at, cause]
            held[cause].append(covers(row, share))
            found[cause].append(row.estimate)
    for name, rejected in hits.items():
        check(name, "no effect, refunds compete", "size", 0.05, rejected)
    for cause, (share, error) in truth.items():
        check(f"cumulative_incidence of {cause}", f"day {at}", "coverage", 0.95, held[cause])
        assert unbiased(found[cause], share, error), cause
