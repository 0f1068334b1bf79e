"""Planning: against statsmodels, published tables, and the definitions turned round."""

from __future__ import annotations

import dataclasses
import math
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower, TTestIndPower

from retention_lab.ab import power as pw
from retention_lab.ab import sequential
from retention_lab.ab.duration import Duration, curve, decaying, duration
from retention_lab.ab.power import (
    Clusters,
    Design,
    Outcome,
    Sequential,
    detectable_effect,
    inflation,
    power,
    sample_size,
    width,
)

UNIT = Outcome(10.0, 1.0)
REVENUE = Outcome(12.0, 900.0)
SHARE = Outcome.of_share(0.05)
KINDS = ("obrien_fleming", "pocock", "confidence_sequence")


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("n", [2, 5, 30, 1000, 10**6])
@pytest.mark.parametrize("nc", [0.0, 0.5, 2.8, 6.0])
def test_power_is_statsmodels_noncentral_t(n, nc, sides):
    d = nc * math.sqrt(2 / n)
    theirs = TTestIndPower().power(d, n, 0.05, alternative="two-sided" if sides == 2 else "larger")
    assert power(2 * n, d, UNIT, Design(sides=sides)) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("d", [0.01, 0.2, 0.5, 0.8, 1.5])
@pytest.mark.parametrize("wanted", [0.8, 0.95])
def test_sizes_and_effects_are_statsmodels_to_its_solvers_tolerance(d, wanted):
    design = Design(power=wanted)
    solved = TTestIndPower().solve_power(d, alpha=0.05, power=wanted)
    size = sample_size(d, UNIT, design)
    assert size.exact == pytest.approx(2 * solved, rel=1e-6)
    assert size.arms == (math.ceil(solved),) * 2
    assert TTestIndPower().power(d, size.exact / 2, 0.05) == pytest.approx(wanted, rel=1e-9)
    found = detectable_effect(size.exact, UNIT, design)
    assert found.absolute == pytest.approx(d, rel=1e-9)
    assert found.relative == pytest.approx(d / 10, rel=1e-9)


@pytest.mark.parametrize(
    ("d", "sides", "wanted", "n"),
    [(0.2, 2, 0.8, 393), (0.5, 2, 0.8, 64), (0.8, 2, 0.8, 26), (0.5, 1, 0.8, 50),
     (0.5, 2, 0.9, 85), (0.8, 2, 0.95, 42)],
)  # fmt: skip
def test_sizes_of_cohens_table(d, sides, wanted, n):
    """Cohen (1988), "Statistical Power Analysis", tables 2.4.1: n of each group at 5%.

    He rounds to the nearest, so a unit more may be ours.
    """
    ours = sample_size(d, UNIT, Design(sides=sides, power=wanted)).arms[0]
    assert ours - n in (0, 1)


@pytest.mark.parametrize("shares", [(1, 1), (3, 1), (1, 4)])
def test_large_samples_are_the_normal_formula(shares):
    total = 4_000_000
    n0, n1 = (total * s / sum(shares) for s in shares)
    theirs = NormalIndPower().power(0.003, n0, 0.05, ratio=n1 / n0)
    assert power(total, 0.003, UNIT, Design(shares=shares)) == pytest.approx(theirs, abs=1e-6)


def test_a_share_takes_the_arms_own_variance():
    """(z + z)^2 (p0 q0 + p1 q1) / (p1 - p0)^2, Fleiss, Levin and Paik (2003), section 4.2."""
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    normal = z * z * (0.05 * 0.95 + 0.055 * 0.945) / 0.005**2
    assert sample_size(0.005, SHARE, Design()).exact / 2 == pytest.approx(normal, rel=2e-4)
    relative = sample_size(0.1, SHARE, Design(relative=True))
    assert relative.exact == pytest.approx(sample_size(0.005, SHARE, Design()).exact, rel=1e-12)
    down = sample_size(0.005, SHARE, Design(increase=False)).exact / 2
    assert down == pytest.approx(z * z * (0.05 * 0.95 + 0.045 * 0.955) / 0.005**2, rel=2e-4)


def test_welch_degrees_of_freedom_in_small_uneven_arms():
    """By the definition, for a share whose arms differ in variance and size."""
    n0, n1, p0, p1 = 30, 10, 0.2, 0.6
    a, b = p0 * (1 - p0) / n0, p1 * (1 - p1) / n1
    df = (a + b) ** 2 / (a * a / (n0 - 1) + b * b / (n1 - 1))
    t, nc = stats.t.ppf(0.975, df), 0.4 / math.sqrt(a + b)
    expected = stats.nct.sf(t, df, nc) + stats.nct.cdf(-t, df, nc)
    ours = power(40, 0.4, Outcome.of_share(p0), Design(shares=(3, 1)))
    assert ours == pytest.approx(expected, rel=1e-9)


def test_shares_may_be_a_list():
    assert Design(shares=[1, 1]) == Design()
    assert hash(Design(shares=[1, 1])) == hash(Design())


def test_each_arm_against_control_at_holms_first_step():
    three = Design(shares=(2, 1, 1))
    assert three.level == pytest.approx(0.025)
    two = Design(shares=(2, 1), alpha=0.025)
    pair = sample_size(0.2, UNIT, two).exact
    size = sample_size(0.2, UNIT, three)
    assert size.exact == pytest.approx(pair * 4 / 3, rel=1e-9)
    assert size.total == sum(size.arms)
    free = dataclasses.replace(three, comparisons=1)
    assert free.level == 0.05
    smallest = Design(shares=(2, 1, 3), comparisons=2)
    assert sample_size(0.2, UNIT, smallest).exact == pytest.approx(pair * 6 / 3, rel=1e-9)


def test_all_pairs_are_sized_by_the_two_smallest_arms():
    """A control with most units does not help two small arms to be told apart."""
    design = Design(shares=(8, 1, 1), comparisons=3, pairs=True)
    size = sample_size(0.5, UNIT, design)
    alone = sample_size(0.5, UNIT, Design(shares=(1, 1), comparisons=3))
    assert size.exact == pytest.approx(5 * alone.exact, rel=1e-12)
    against_control = dataclasses.replace(design, pairs=False)
    assert sample_size(0.5, UNIT, against_control).exact < 0.6 * size.exact
    least = dataclasses.replace(design, shares=(1, 3, 2))
    assert least.fractions == (1 / 6, 2 / 6)
    assert dataclasses.replace(least, comparisons=None).level == pytest.approx(0.05 / 3)


def test_adjustment_and_clusters_change_the_variance():
    half = sample_size(0.05, UNIT, Design(r2=0.5)).exact
    assert half == pytest.approx(sample_size(0.05, Outcome(10, 0.5), Design()).exact, rel=1e-12)
    groups = Clusters(size=50, icc=0.02, cv=0.4)
    assert groups.effect == pytest.approx(1 + ((1 + 0.16) * 50 - 1) * 0.02)
    size = sample_size(0.3, UNIT, Design(clusters=groups))
    k = size.exact / 2 / 50
    t, nc = stats.t.ppf(0.975, 2 * k - 2), 0.3 / math.sqrt(2 * groups.effect / (50 * k))
    expected = stats.nct.sf(t, 2 * k - 2, nc) + stats.nct.cdf(-t, 2 * k - 2, nc)
    assert expected == pytest.approx(0.8, rel=1e-9)
    assert size.clusters == (math.ceil(k), math.ceil(k))
    alone = Design(clusters=Clusters(1, 0.9))
    assert sample_size(0.3, UNIT, alone).exact == pytest.approx(
        sample_size(0.3, UNIT, Design()).exact, rel=1e-12
    )


def test_a_margin_is_a_one_sided_test_of_another_null():
    plain = sample_size(0.1, UNIT, Design(sides=1, alpha=0.025)).exact
    margin = Design(margin=0.1)
    assert sample_size(0.0, UNIT, margin).exact == pytest.approx(plain, rel=1e-9)
    assert sample_size(0.05, UNIT, margin).exact < plain < sample_size(-0.05, UNIT, margin).exact
    assert sample_size(-0.1, UNIT, margin).note.startswith("no_effect")
    assert detectable_effect(plain, UNIT, margin).absolute == pytest.approx(0.0, abs=1e-9)
    assert detectable_effect(4 * plain, UNIT, margin).absolute == pytest.approx(-0.05, rel=1e-3)
    relative = Design(margin=0.01, relative=True)
    assert sample_size(0.0, UNIT, relative).exact == pytest.approx(plain, rel=1e-9)
    assert power(plain, 0.0, UNIT, relative) == pytest.approx(0.8, rel=1e-9)


def by_mvn(at, critical, drift):
    """1 - P(no look crosses), the increments' joint normal integrated by scipy."""
    cov = np.sqrt(np.minimum.outer(at, at) / np.maximum.outer(at, at))
    box = stats.multivariate_normal(drift * np.sqrt(at), cov, abseps=1e-8, releps=1e-8, seed=1)
    return 1 - box.cdf(critical, lower_limit=-np.asarray(critical))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("looks", [1, 3])
def test_sequential_power_is_the_joint_normals(kind, looks):
    design = Design(shares=(1, 1, 1), sequential=Sequential(kind, looks))
    size = sample_size(0.1, UNIT, design).exact
    drift = 0.1 / math.sqrt(6 / size)
    assert by_mvn(*pw.bounds(design), drift) == pytest.approx(0.8, abs=2e-5)
    assert power(size, 0.1, UNIT, design) == pytest.approx(0.8, rel=1e-9)
    assert detectable_effect(size, UNIT, design).absolute == pytest.approx(0.1, rel=1e-9)


def classical(monkeypatch, constants):
    """Bounds that are given, in place of those by spending."""
    pw._bounds.cache_clear()
    pw._drift.cache_clear()
    found = types.SimpleNamespace(critical=np.asarray(constants))
    monkeypatch.setattr(sequential, "boundaries", lambda at, alpha, kind: found)


@pytest.fixture
def _fresh():
    yield
    pw._bounds.cache_clear()
    pw._drift.cache_clear()


@pytest.mark.usefixtures("_fresh")
def test_inflation_is_that_of_published_pocock_tests(monkeypatch):
    """SAS/STAT user's guide, PROC SEQDESIGN, "Creating Two-Sided Pocock and O'Brien-Fleming
    Designs": four looks, 5%, power 90%: 118.3143% of the fixed sample. SAS does not count a
    crossing of the wrong bound (probability 2e-5), so the last digits differ."""
    design = Design(power=0.9, sequential=Sequential("pocock", 4))
    fixed = pw._drift(Design(power=0.9))
    assert fixed == pytest.approx(stats.norm.ppf(0.975) + stats.norm.ppf(0.9), rel=1e-6)
    classical(monkeypatch, [2.3613] * 4)
    assert (pw._drift(design) / fixed) ** 2 == pytest.approx(1.183143, abs=1e-4)
    # 77.69844 is the information SAS needs for a difference of 0.4.
    assert (pw._drift(design) / 0.4) ** 2 == pytest.approx(77.69844, abs=6e-3)


def test_what_looks_cost():
    cost = {k: inflation(Design(sequential=Sequential(k, 5))) for k in KINDS}
    assert 1 < cost["obrien_fleming"] < cost["pocock"] < cost["confidence_sequence"]
    for kind in KINDS[:2]:
        assert inflation(Design(sequential=Sequential(kind, 1))) == pytest.approx(1, rel=1e-9)
        assert width(Design(sequential=Sequential(kind, 1))) == pytest.approx(1, rel=1e-9)
        assert width(Design(sequential=Sequential(kind, 10))) > 1


def test_a_confidence_sequences_bound_is_that_of_its_own_engine():
    design = Design(sequential=Sequential("confidence_sequence", 4))
    at, critical = pw.bounds(design)
    n = at * 80_000
    looks = sequential.confidence_sequence(np.zeros(4), 1 / np.sqrt(n), n, 0.05, 80_000)
    assert critical == pytest.approx(looks.critical, rel=1e-9)
    assert width(design) == pytest.approx(looks.critical[-1] / stats.norm.ppf(0.975), rel=1e-9)


designs = st.builds(
    Design,
    shares=st.sampled_from([(1, 1), (5, 1), (1, 2, 3)]),
    alpha=st.sampled_from([0.01, 0.05, 0.1]),
    power=st.sampled_from([0.5, 0.8, 0.95]),
    sides=st.sampled_from([1, 2]),
    r2=st.sampled_from([0.0, 0.4]),
    clusters=st.sampled_from([None, Clusters(20, 0.05, 0.5)]),
    sequential=st.sampled_from([None, Sequential("pocock", 3)]),
    margin=st.sampled_from([None, 0.01]),
    increase=st.booleans(),
)


@given(design=designs, effect=st.floats(0.002, 0.03), share=st.booleans())
@settings(max_examples=60, deadline=None)
def test_size_effect_and_power_are_one_relation(design, effect, share):
    outcome = SHARE if share else Outcome(1.0, 0.09)
    size = sample_size(effect, outcome, design)
    assert power(size.exact, effect, outcome, design) == pytest.approx(design.power, rel=1e-7)
    assert detectable_effect(size.exact, outcome, design).absolute == pytest.approx(
        effect, rel=1e-6, abs=1e-9
    )
    assert power(1.1 * size.exact, effect, outcome, design) > design.power
    assert all(a >= size.exact * s / sum(design.shares) * (1 - 1e-8)
               for a, s in zip(size.arms, design.shares, strict=True))  # fmt: skip


@pytest.mark.parametrize("df", [1.5, 30.0, 3e6])
@pytest.mark.parametrize("drift", [3.0, 6.0, 20.0, 60.0])
def test_power_is_a_number_wherever_scipys_tail_is_none(df, drift):
    for sign in (1, -1):
        found = pw._beyond(df, sign * drift, Design())
        t = stats.t.ppf(0.975, df)
        s = np.sqrt(stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, df) / df)
        assert found == pytest.approx(stats.norm.sf(t * s - sign * drift).mean(), abs=2e-5)


def test_a_ratios_variance_is_that_of_its_linearisation():
    rng = np.random.default_rng(0)
    y = rng.poisson(2, 5000).astype(float)
    x = y * rng.lognormal(1, 0.5, 5000)
    c = np.cov(x, y)
    outcome = Outcome.of_ratio(x.mean(), y.mean(), c[0, 0], c[1, 1], c[0, 1])
    assert outcome.mean == pytest.approx(x.mean() / y.mean())
    assert outcome.variance == pytest.approx(np.var((x - outcome.mean * y) / y.mean(), ddof=1))
    assert sample_size(0.1, Outcome.of_ratio(1, 0, 1, 0, 0), Design()).note.startswith("not_fin")


def test_days_of_entry_and_read_out():
    assert duration(1000, [100] * 30, window=30) == Duration(10, 40, 1000)
    assert duration(1001, [100] * 30, window=30).last_entry == 11
    assert duration(1, [0, 0, 5], window=0) == Duration(3, 3, 5)
    assert duration(10, [10], window=1.5).read_out == 3
    short = duration(3001, [100] * 30)
    assert (short.last_entry, short.read_out, short.note.split(":")[0]) == (
        None, None, "too_little_traffic",
    )  # fmt: skip
    assert duration(5, []).note is not None


def test_traffic_that_falls_after_a_peak():
    daily = decaying(1000, 50, half_life=7, floor=100)
    assert daily[[0, 7, 14]] == pytest.approx([1000, 550, 325])
    steady = duration(10_000, [1000] * 50).last_entry
    assert steady == 10
    assert duration(10_000, daily).last_entry > 1.5 * steady


def test_the_curve_is_the_detectable_effect_of_each_day():
    traffic = decaying(4000, 60, 10, 200)
    found = curve(SHARE, Design(), traffic, window=30)
    assert list(found.read_out - found.last_entry) == [30] * 60
    assert (np.diff(found.absolute) < 0).all()
    assert found.relative == pytest.approx(found.absolute / 0.05)
    needed = sample_size(float(found.absolute[20]), SHARE, Design())
    assert duration(needed.exact, traffic, 30).last_entry == 21
    empty = curve(SHARE, Design(), [0, 1, 500])
    assert np.isnan(empty.absolute[:2]).all()
    assert np.isfinite(empty.absolute[2])


def test_what_cannot_be_planned_has_a_reason():
    def size_note(effect, outcome, **design):
        size = sample_size(effect, outcome, Design(**design))
        assert (size.total, size.arms, size.exact) == (None, None, None)
        return size.note.split(":")[0]

    assert size_note(0.0, UNIT) == "no_effect"
    assert size_note(-0.1, UNIT, sides=1) == "no_effect"
    assert size_note(math.nan, UNIT) == "no_effect"
    assert size_note(math.inf, UNIT) == "no_effect"
    assert size_note(0.1, Outcome(1.0, 0.0)) == "zero_variance"
    assert size_note(0.1, Outcome.of_share(0.0)) == "zero_variance"
    assert size_note(0.1, Outcome(math.nan, 1.0)) == "not_finite"
    assert size_note(0.1, Outcome(1.0, math.inf)) == "not_finite"
    assert size_note(0.1, Outcome(0.0, 1.0), relative=True) == "zero_baseline"
    assert size_note(0.96, SHARE) == "out_of_range"
    assert size_note(1e-12, UNIT) == "too_many_units"
    assert size_note(1e-12, UNIT, sequential=Sequential("pocock", 3)) == "too_many_units"
    assert detectable_effect(3, UNIT, Design()).note.startswith("too_few")
    assert detectable_effect(math.nan, UNIT, Design()).note.startswith("too_few")
    assert detectable_effect(6, Outcome.of_share(0.9), Design()).note.startswith("out_of_range")
    assert detectable_effect(100, Outcome(0.0, 1.0), Design()).relative is None
    assert math.isnan(power(3, 0.1, UNIT, Design()))
    assert math.isnan(power(100, 0.99, SHARE, Design()))
    assert math.isnan(power(100, 0.1, Outcome(1, 0), Design()))
    assert power(1e9, 5.0, UNIT, Design()) == 1.0
    assert power(100, 1e9, UNIT, Design()) == 1.0
    assert sample_size(1e9, UNIT, Design()).total == 4


@pytest.mark.parametrize("wrong", [
    {"shares": (1,)}, {"shares": (1, 0)}, {"shares": (1, math.inf)}, {"alpha": 0}, {"power": 1},
    {"sides": 3}, {"r2": 1.0}, {"comparisons": 0}, {"margin": 0.0}, {"power": 0.05},
])  # fmt: skip
def test_wrong_designs_are_errors(wrong):
    with pytest.raises(ValueError, match=r"shares|alpha|r2|margin|power"):
        Design(**wrong)


def test_wrong_parts_are_errors():
    for make in (
        lambda: Clusters(0.5, 0.1), lambda: Clusters(5, 1.1), lambda: Clusters(5, 0.1, -1),
        lambda: Sequential("weekly", 3), lambda: Sequential("pocock", 0),
        lambda: Outcome.of_share(1.2), lambda: duration(1, [-1]), lambda: duration(1, [math.nan]),
        lambda: duration(1, [math.inf]),
        lambda: duration(1, [1], window=-1), lambda: duration(1, [[1]]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"clusters|sequential|share|traffic"):
            make()
