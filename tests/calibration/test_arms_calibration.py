"""Incentives dealt by chance: effects on redeemers, bounds, ledgers and responses to a dose.

Drawn as numbers, without a shop, so that many are quick: weak and strong offers, skewed revenue,
few clusters, doses that do equally well. A share of S simulations may differ from its nominal value
by `SIGMAS` Monte-Carlo errors; where whole clusters are few, by `SMALL` besides.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.data.moments import Moments
from retention_lab.incentives.arms import dose as response
from retention_lab.incentives.arms.late import full_uptake, late
from retention_lab.incentives.arms.ledger import Terms, ledger
from retention_lab.incentives.arms.means import Contrast, clustered_means, contrast

SIGMAS, SMALL = 3.5, 0.01
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
BATCH = 100


@pytest.fixture(params=[60, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def check(estimator, scenario, what, nominal, hits, besides=0.0):
    found = float(np.mean(hits))
    slack = SIGMAS * record(estimator, scenario, what, nominal, found, len(hits)) + besides
    if nominal is None:
        return
    off = found - float(str(nominal).split()[-1])
    if str(nominal).startswith("at least"):
        off = min(off, 0.0)
    assert abs(off) <= slack, f"{estimator}, {what}: {found:.4f}, {slack:.4f} allowed"


def reduced(arms, labels):
    """Moments of all pairs of columns; each of `arms` holds columns of (cells, units)."""
    names = tuple(arms[0])
    pairs = tuple((a, b) for i, a in enumerate(names) for b in names[: i + 1])
    parts = []
    for columns in arms:
        mean = {c: v.mean(axis=1) for c, v in columns.items()}
        off = {c: v - mean[c][:, None] for c, v in columns.items()}
        cells, units = columns[names[0]].shape
        parts.append((
            np.full(cells, units),
            np.full((cells, len(pairs)), units),
            np.stack([mean[a] for a, _ in pairs], axis=1),
            np.stack([mean[b] for _, b in pairs], axis=1),
            np.stack([(off[a] * off[b]).sum(axis=1) for a, b in pairs], axis=1),
        ))  # fmt: skip
    arrays = [np.concatenate(p) for p in zip(*parts, strict=True)]
    return Moments(("arm", "sim"), pairs, labels, *arrays)


def contrasts(draw, count, columns, covariates=()):
    """Arm against control in `count` simulations; `draw(sims, offered)` gives an arm's columns."""
    for start in range(0, count, BATCH):
        sims = min(BATCH, count - start)
        labels = tuple((a, str(i)) for a in "ab" for i in range(sims))
        m = reduced([draw(sims, False), draw(sims, True)], labels)
        yield from (contrast(m, sims + i, i, columns, covariates) for i in range(sims))


@pytest.mark.parametrize("uptake", [0.03, 0.1, 0.4])
def test_effects_on_redeemers_however_weak_the_offer(uptake, count):
    """Three in ten redeem in either arm; who redeems because of the offer spends more anyway."""
    rng, n, always, effect = np.random.default_rng(4), 400, 0.3, 0.5

    def draw(sims, offered):
        keen = rng.random((sims, n))
        redeemed = (keen < always + uptake * offered).astype(float)
        y = 2.0 * (keen < always + uptake) + effect * redeemed + rng.exponential(size=(sims, n))
        return {"y": y, "r": redeemed}

    sets, wald, strength = [], [], []
    for c in contrasts(draw, count, ("y", "r")):
        one = late(c)
        if one.region is None:  # fewer redeemed than in the control: no value is ruled out
            sets.append(True)
            continue
        sets.append(one.region.holds(effect))
        wald.append(abs(one.estimate - effect) <= 1.959964 * one.std_error)
        strength.append(one.strength)
    said = f"arms of {n}, offer moves {uptake:.0%}, median F {np.median(strength):.1f}"
    check("late, Anderson-Rubin", said, "coverage", 0.95 if uptake > 0.2 else "at least 0.95", sets)
    check("late, Wald", said, "coverage", None, wald)


@pytest.mark.parametrize("uptake", [0.3, 0.95])
def test_bounds_of_full_uptake(uptake, count):
    """Wherever between its bounds the effect lies; the ends are where that is hardest."""
    rng, n = np.random.default_rng(5), 500

    def draw(sims, offered):
        redeemed = (rng.random((sims, n)) < uptake) & offered
        bought = rng.random((sims, n)) < 0.3 + 0.2 * redeemed
        return {"y": bought.astype(float), "r": redeemed.astype(float)}

    low = 0.5 * uptake - 0.3
    ends = {"lower": low, "upper": low + 1.0 - uptake}
    hits = {e: [] for e in ends}
    for c in contrasts(draw, count, ("y", "r")):
        found = full_uptake(c)
        for end, value in ends.items():
            hits[end].append(found.ci_low <= value <= found.ci_high)
    for end in ends:
        said = f"arms of {n}, {uptake:.0%} redeem, effect at the {end} end"
        check("full_uptake_bound", said, "coverage", 0.95, hits[end])


ANYWAY, MOVED, TAKES, MORE = 0.3, 0.07, 0.15, 5.0  # of all customers; more: revenue of a redeemer
MEAN = math.exp(3.5 + 0.18) + 10.0 * 0.5 * math.exp(0.5)
REVENUE, REDEEM = MOVED * MEAN + MORE * (TAKES + MOVED), TAKES + MOVED
CONTACT, PAID, MARGIN = 0.05, 8.0, 0.4
COST = CONTACT + PAID * REDEEM
TRUE = {
    "incremental_revenue": REVENUE,
    "incremental_cost": COST,
    "incremental_profit": MARGIN * REVENUE - COST,
    "margin_per_dollar": MARGIN * REVENUE / COST,
    "roi": MARGIN * REVENUE / COST - 1.0,
    "break_even_cost": MARGIN * REVENUE - PAID * REDEEM,
    "revenue_ratio": 1.0 + REVENUE / (ANYWAY * MEAN),
    "redemption_rate": REDEEM,
    "redeemed_anyway": TAKES / REDEEM,
}
ROLES = ("revenue", "redeemed", "bought")


def customers(rng, shape, offered, own=0.0):
    """Skewed revenue; half of those who buy anyway redeem, and all whom the coupon makes buy."""
    chance = rng.random(shape)
    anyway = chance < ANYWAY
    redeemed = ((chance < TAKES) | ((chance >= ANYWAY) & (chance < ANYWAY + MOVED))) & offered
    bought = anyway | redeemed
    before = (rng.random(shape) < 0.5) * rng.lognormal(size=shape)
    spent = rng.lognormal(3.5, 0.6, shape) + 10.0 * before + own
    parts = {"revenue": bought * spent + MORE * redeemed, "redeemed": redeemed, "bought": bought}
    return {k: v.astype(float) for k, v in parts.items()} | {"before": before}


def judged(found, names, terms, said, besides=0.0):
    """Coverage of the ledger's lines, and how often it is wrongly sure of `min_roi`, the truth."""
    hits, sure = {n: [] for n in names}, {"below": [], "above": []}
    for c in found:
        lines = {x.estimand: x for x in ledger(ROLES, c, terms, 0.05)}
        for name in names:
            hits[name].append(lines[name].low <= TRUE[name] <= lines[name].high)
        chance = lines["probability_above_min_roi"].estimate
        sure["below"].append(chance < 0.05)
        sure["above"].append(chance > 0.95)
    for name in names:
        check(name, said, "coverage", 0.95, hits[name], besides)
    for side, kept in sure.items():
        what = f"share under 5% sure, {side}"
        check("probability_above_min_roi", said, what, 0.05, kept, besides)


@pytest.mark.parametrize("adjusted", [False, True], ids=["plain", "adjusted"])
def test_lines_of_a_ledger(adjusted, count):
    rng, n = np.random.default_rng(6), 2_000
    terms = Terms(MARGIN, CONTACT, PAID, min_roi=TRUE["margin_per_dollar"])
    names = ("incremental_profit", "margin_per_dollar", "roi") if adjusted else tuple(TRUE)
    covariates = ("before",) if adjusted else ()
    made = contrasts(lambda s, offered: customers(rng, (s, n), offered), count, ROLES, covariates)
    said = f"arms of {n:,}, skewed revenue{', adjusted' if adjusted else ''}"
    judged(made, names, terms, said)


def test_a_ledger_where_whole_clusters_were_dealt(count):
    """Twelve shops an arm of 60 customers, whose customers spend alike."""
    rng, shops = np.random.default_rng(7), 12
    labels = tuple((a, str(i)) for a in "ab" for i in range(shops))
    zero = np.zeros((len(ROLES), len(ROLES)))

    def made():
        for _ in range(count):
            arms = [
                customers(rng, (shops, 60), offered, 8.0 * rng.normal(size=(shops, 1)))
                for offered in (False, True)
            ]
            m = reduced(arms, labels)
            base, arm = (clustered_means(m, range(k, k + shops), ROLES) for k in (0, shops))
            yield Contrast(arm, base, zero, zero, zero)

    terms = Terms(MARGIN, CONTACT, PAID, min_roi=TRUE["margin_per_dollar"])
    names = ("incremental_revenue", "incremental_profit", "margin_per_dollar", "revenue_ratio")
    judged(made(), names, terms, f"{shops} + {shops} clusters of 60, skewed revenue", SMALL)


def test_margin_per_dollar_where_the_cost_is_hardly_known(count):
    """The control redeems nearly as much, so that a ratio often has no finite interval."""
    rng, n, leak, more = np.random.default_rng(8), 1_000, 0.3, 0.04

    def draw(sims, offered):
        redeemed = rng.random((sims, n)) < leak + more * offered
        spent = rng.gamma(2.0, 10.0, (sims, n)) + 5.0 * redeemed
        return {"revenue": spent, "redeemed": redeemed.astype(float)}

    true, hits, open_ended = MARGIN * 5.0 / PAID, [], []
    for c in contrasts(draw, count, ROLES[:2]):
        lines = ledger(ROLES[:2], c, Terms(MARGIN, 0.0, PAID), 0.05)
        line = next(x for x in lines if x.estimand == "margin_per_dollar")
        open_ended.append(line.low is None)
        hits.append(line.low is None or line.low <= true <= line.high)
    said = f"arms of {n:,}, 34% against 30% redeem"
    check("margin_per_dollar, Fieller", said, "coverage", "at least 0.95", hits)
    check("margin_per_dollar, Fieller", said, "share without a finite interval", None, open_ended)


DOSES = np.array([0.0, 5.0, 10.0, 15.0, 20.0])
CURVES = {
    "linear": lambda d: 1.0 + 0.02 * d,
    "none": np.ones_like,
    "a top at 8": lambda d: 1.0 + 0.064 * d - 0.004 * d * d,
}


def doses(rng, curve, n=300):
    """One cell a dose: skewed outcomes, whose spread grows with the dose."""
    spread = (1.0 + DOSES / 20.0)[:, None]
    y = curve(DOSES)[:, None] + spread * (rng.gamma(2.0, 0.5, (len(DOSES), n)) - 1.0)
    mean = y.mean(axis=1)
    units = np.full(len(DOSES), float(n))
    return response.Cells(DOSES, units, mean, ((y - mean[:, None]) ** 2).sum(axis=1))


def within(table, true):
    return bool((table[-1, 2] <= true) & (true <= table[-1, 3]))


@pytest.mark.parametrize("shape", ["linear", "none"])
def test_lines_and_monotone_responses(shape, count):
    """Of skewed outcomes (1.4) five intervals at 1% each hold together in 0.94, as expected."""
    rng, curve = np.random.default_rng([9, len(shape)]), CURVES[shape]
    effect = float(curve(DOSES)[-1] - curve(DOSES)[0])
    hits = {k: [] for k in ("effect", "slope", "misfit", "band")}
    for _ in range(count):
        cells = doses(rng, curve)
        fit = response.fit(cells, response.linear)
        hits["effect"].append(within(fit.effect(DOSES, 0.0), effect))
        hits["slope"].append(within(fit.slope(DOSES), effect / 20.0))
        hits["misfit"].append(response.lack_of_fit(cells, response.linear) < 0.05)
        variance = cells.spread / cells.n / (cells.n - 1)
        rising = bool(fit.coefficients[1] >= 0)
        band = response.isotonic_band(cells.mean, variance, rising)
        hits["band"].append(band is not None and bool(
            ((band[0] <= curve(DOSES)) & (curve(DOSES) <= band[1])).all()
        ))  # fmt: skip
    said = f"five doses of 300, response {shape}"
    check("dose_effect, linear", said, "coverage", 0.95, hits["effect"])
    check("marginal_effect, linear", said, "coverage", 0.95, hits["slope"])
    check("off_curve, linear", said, "size", 0.05, hits["misfit"])
    check("dose_response, isotonic", said, "coverage at all doses", "at least 0.95", hits["band"])


def test_splines_and_the_best_dose(count):
    rng, curve = np.random.default_rng(10), CURVES["a top at 8"]
    basis = response.spline(DOSES.tolist())
    effect = float(curve(DOSES)[-1] - curve(DOSES)[0])
    held, tops = [], []
    for i in range(count):
        fit = response.fit(doses(rng, curve), basis)
        held.append(within(fit.effect(DOSES, 0.0), effect))
        best = response.best(fit, 0.0, 20.0, DOSES, seed=i)
        low, high = response.around(DOSES, best.chance)
        tops.append(min(low, best.low) <= 8.0 <= max(high, best.high))
    said = "five doses of 300, response a top at 8"
    check("dose_effect, spline", said, "coverage", 0.95, held)
    check("best_dose", said, "coverage", "at least 0.95", tops)
