"""Curves, their contrasts and tests: coverage and size on whole days with staggered censoring.

Customers come back on day d with hazard h1(d), which has a cliff on day 30 when the offer ends, or
leave for good with hazard h2(d); each is observed for 40 to 120 days. Up to `SIGMAS` Monte-Carlo
errors a share may differ from its nominal value.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from table import record

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival import competing, curves
from retention_lab.survival.gray import gray
from retention_lab.survival.logrank import logrank
from retention_lab.survival.rmst import difference, ratio, rmst
from retention_lab.survival.steps import grid

SIGMAS = 3.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
DAYS = np.arange(121)
TAU = 60.0
Z = (30, 90)
RETURN = np.where(DAYS <= 30, 0.02, 0.006) + 0.04 * (DAYS == 30) + 0.02 * (DAYS == 0)
LEAVE = 0.002 + 0.006 * (DAYS < 14)
BETTER = 1.5  # times the hazard of coming back, where there is an effect


@pytest.fixture(params=[250, pytest.param(4000, marks=SLOW)])
def count(request):
    return request.param


def truth(better):
    """Survival against returning alone, RMST to TAU, and the incidence of both causes, by day."""
    h1, h2 = RETURN * better, LEAVE
    survival = np.cumprod(1 - h1)
    free = np.append(1.0, np.cumprod(1 - h1 - h2))[:-1]
    return survival, survival[: int(TAU)].sum(), np.cumsum(free * h1), np.cumsum(free * h2)


@functools.cache
def simulated(sizes, betters, count, seed):
    """One life table with a cell for every simulation, stratum and arm."""
    rng = np.random.default_rng(seed)
    parts = []
    for arm, (size, better) in enumerate(zip(sizes, betters, strict=True)):
        h1, h2 = RETURN * better, LEAVE
        gone = 1 - np.cumprod(1 - h1 - h2)
        day = np.searchsorted(gone, rng.random((count, size)), side="right")
        last = rng.integers(40, 121, (count, size))
        at = np.minimum(day, 120)
        cause = 1 + (rng.random((count, size)) < (h2 / (h1 + h2))[at])
        cause = np.where(day > last, 0, cause)
        sim = np.broadcast_to(np.arange(count)[:, None], day.shape)
        stratum = rng.integers(0, 3, (count, size))
        arms = np.full(day.size, arm)
        stop = np.minimum(day, last)
        parts.append((stop.ravel(), cause.ravel(), sim.ravel(), arms, stratum.ravel()))
    stop, cause, sim, arms, stratum = (np.concatenate(p) for p in zip(*parts, strict=True))
    whole = LifeTable.of(
        stop, cause, causes=("return", "leave"), sim=sim, arm=arms, stratum=stratum
    )
    return [table for _, table in whole.parts("sim")]


def check(estimator, scenario, what, nominal, hits):
    error = record(estimator, scenario, what, nominal, np.mean(hits), len(hits))
    assert abs(np.mean(hits) - nominal) <= SIGMAS * error, (estimator, np.mean(hits))


def holds(points, i, value):
    return points.low[i] <= value <= points.high[i]


def said(sizes):
    return f"arms of {'/'.join(map(str, sizes))}, whole days, staggered censoring"


def test_curves_and_contrasts_cover_the_truth(count):
    sizes = (250, 250)
    survival, mean, returned, left = truth(1.0)
    survival_b, mean_b, returned_b, _ = truth(BETTER)
    found = {}
    for table in simulated(sizes, (1.0, BETTER), count, 1):
        groups = grid(table, "arm")
        base, arm = groups.steps(0), groups.steps(1)
        km, km_b = curves.kaplan_meier(base), curves.kaplan_meier(arm)
        cif, cif_b = (competing.cumulative_incidence(s) for s in (base, arm))
        leaving = competing.cumulative_incidence(base, 2).at(Z)
        hazard = curves.nelson_aalen(base).at(Z)
        means = rmst(base, TAU), rmst(arm, TAU)
        gap, over = difference(*means[::-1]), ratio(*means[::-1])
        points, incidence = km.at(Z), cif.at(Z)
        by_day = curves.difference_at(km_b, km, Z)
        of_cif = competing.difference_at(cif_b, cif, Z)
        hits = {}
        for i, day in enumerate(Z):
            hits["Kaplan-Meier", f"day {day}"] = holds(points, i, survival[day])
            hits["cumulative incidence", f"day {day}"] = holds(incidence, i, returned[day])
            hits["cumulative incidence, rare cause", f"day {day}"] = holds(leaving, i, left[day])
            wide = 1.959964 * hazard[1][i]
            total = (RETURN[: day + 1]).sum()
            hits["Nelson-Aalen", f"day {day}"] = abs(hazard[0][i] - total) <= wide
            apart = survival_b[day] - survival[day]
            hits["survival difference", f"day {day}"] = by_day[i].low <= apart <= by_day[i].high
            apart = returned_b[day] - returned[day]
            hits["incidence difference", f"day {day}"] = of_cif[i].low <= apart <= of_cif[i].high
        hits["RMST", "60 days"] = means[0].low <= mean <= means[0].high
        hits["RMST difference", "60 days"] = gap.low <= mean_b - mean <= gap.high
        hits["RMST ratio", "60 days"] = over.low <= mean_b / mean <= over.high
        for key, hit in hits.items():
            found.setdefault(key, []).append(hit)
    for (estimator, at), hits in found.items():
        check(estimator, f"{said(sizes)}, {at}", "coverage", 0.95, hits)


@pytest.mark.parametrize("sizes", [(250, 250), (400, 100), (150, 150, 150)], ids=str)
def test_tests_keep_their_size(sizes, count):
    tests = {
        "log-rank": lambda t: logrank(t, "arm").p_value,
        "log-rank, stratified": lambda t: logrank(t, "arm", strata=["stratum"]).p_value,
        "log-rank, G(1, 0)": lambda t: logrank(t, "arm", rho=1.0).p_value,
        "log-rank, G(0, 1)": lambda t: logrank(t, "arm", gamma=1.0).p_value,
        "Gray": lambda t: gray(t, "arm").p_value,
        "Gray, rare cause": lambda t: gray(t, "arm", cause=2).p_value,
    }
    found = {name: [] for name in tests}
    pairs = {"RMST difference": [], "survival difference, day 30": [], "incidence difference": []}
    for table in simulated(sizes, (1.0,) * len(sizes), count, 2):
        for name, test in tests.items():
            found[name].append(test(table) < 0.05)
        if len(sizes) == 2:
            groups = grid(table, "arm")
            base, arm = groups.steps(0), groups.steps(1)
            km = [curves.kaplan_meier(s) for s in (arm, base)]
            cif = [competing.cumulative_incidence(s) for s in (arm, base)]
            p = (
                difference(rmst(arm, TAU), rmst(base, TAU)).p_value,
                curves.difference_at(*km, [30])[0].p_value,
                competing.difference_at(*cif, [30])[0].p_value,
            )
            for name, value in zip(pairs, p, strict=True):
                pairs[name].append(value < 0.05)
    for name, hits in (found | pairs).items():
        if hits:
            check(name, f"{said(sizes)}, no effect", "size", 0.05, hits)
