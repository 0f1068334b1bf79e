"""The A/A gate: its tests are the engine's own, and it sees rows that are not units."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retention_lab.ab import estimate as est
from retention_lab.ab.adjust import adjust
from retention_lab.ab.gate import Measure, deal, limits, p_values, rerandomise
from retention_lab.data.moments import Moments

HALVES = (0.5, 0.5)
X, RATIO = Measure("x"), Measure("x", "y")


def buckets_of(columns, bucket, pairs=None, arm=None, origin=None):
    """The reduction by its definition: rows split by bucket, or by arm and bucket."""
    origin = origin or {}
    values = {c: np.asarray(v, float) - origin.get(c, 0.0) for c, v in columns.items()}
    pairs = pairs or tuple((c, d) for i, c in enumerate(values) for d in list(values)[i:])
    arm = np.zeros(len(bucket), int) if arm is None else np.asarray(arm)
    code = arm * 10**6 + np.asarray(bucket)
    codes, to = np.unique(code, return_inverse=True)
    n = np.bincount(to)
    means = {c: np.bincount(to, v) / n for c, v in values.items()}
    off = {c: v - means[c][to] for c, v in values.items()}
    return Moments(
        keys=("arm", "bucket"),
        pairs=pairs,
        cells=tuple((str(c // 10**6), str(c % 10**6)) for c in codes),
        size=n,
        n=np.tile(n[:, None], (1, len(pairs))),
        mean_x=np.column_stack([means[c] for c, _ in pairs]),
        mean_y=np.column_stack([means[d] for _, d in pairs]),
        comoment=np.column_stack([np.bincount(to, off[c] * off[d]) for c, d in pairs]),
        origin=origin,
    )


def shop(n=20_000, seed=0, count=200):
    rng = np.random.default_rng(seed)
    orders = rng.poisson(0.8, n).astype(float)
    revenue = orders * rng.lognormal(3, 0.6, n)
    return {"x": revenue, "y": orders}, rng.integers(0, count, n)


def by_roll_up(m, measure, labels, draw):
    """The same draw the long way: label the cells, roll up, and call the engine's test."""
    m = m.roll_up("bucket")
    cells = tuple((str(k),) for k in labels[draw])
    arms = dataclasses.replace(m, keys=("arm",), cells=cells).roll_up("arm")
    out = []
    for k in range(1, labels.max() + 1):
        pair = []
        for arm in (str(k), "0"):
            cell = arms.cell(arm)
            if measure.denominator:
                level = est.ratio_level(arms, cell, measure.numerator, measure.denominator)
            else:
                level = est.mean_level(arms, cell, measure.numerator)
            pair.append(level)
        found = None
        if measure.covariates:
            cells = [arms.cell(str(k)), arms.cell("0")]
            names = (measure.numerator, measure.denominator, measure.covariates)
            found = adjust(arms, cells, pair, *names)
        if found is None or isinstance(found, str):
            out.append(est.difference(*pair, 0.05).p_value)
        else:
            out.append(est.difference(*found.levels, 0.05, found.shared(0, 1)).p_value)
    return out


@pytest.mark.parametrize("measure", [X, RATIO])
@pytest.mark.parametrize("shares", [HALVES, (3, 1), (1, 1, 2), (0.4, 0.3, 0.2, 0.1)])
def test_each_draw_is_the_engines_own_test(measure, shares):
    columns, bucket = shop(3000)
    m = buckets_of(columns, bucket)
    counts = np.diff(np.rint(np.cumsum(shares) / sum(shares) * 200), prepend=0).astype(int)
    labels = deal(counts, 20, 7)
    found = p_values(m.roll_up("bucket"), measure, labels)
    for draw in range(20):
        assert list(found[draw]) == pytest.approx(by_roll_up(m, measure, labels, draw), rel=1e-9)


@pytest.mark.parametrize(
    ("measure", "shares", "customers"),
    [(X, (1, 1), 3000), (X, (1, 1, 2), 3000), (RATIO, (1, 1), 3000), (RATIO, (1, 1, 2), 3000),
     (X, (1, 1, 2), 100)],
)  # fmt: skip
def test_each_adjusted_draw_is_the_engines_own_test(measure, shares, customers):
    columns, bucket = shop(customers, count=40)
    rng = np.random.default_rng(1)
    columns["z"] = 1e6 + 100 * columns["x"] + rng.normal(0, 1000, customers)
    columns["w"] = (rng.random(customers) < 0.3) * 1.0
    columns["twin"] = 2 * columns["w"] - 1
    columns["same"] = np.full(customers, 7.0)
    measure = dataclasses.replace(measure, covariates=("z", "w", "twin", "same"))
    pairs = tuple(itertools.product(columns, columns))
    m = buckets_of(columns, bucket, pairs).roll_up("bucket")
    counts = np.diff(np.rint(np.cumsum(shares) / sum(shares) * len(m.cells)), prepend=0)
    labels = deal(counts.astype(int), 8, 3)
    found = p_values(m, measure, labels)
    plain = p_values(m, dataclasses.replace(measure, covariates=()), labels)
    for draw in range(8):
        expected = [np.nan if p is None else p for p in by_roll_up(m, measure, labels, draw)]
        np.testing.assert_allclose(found[draw], expected, rtol=1e-8)
    same = found == plain
    assert not same.any() if customers == 3000 else same.any() and not same.all()


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e9]))
@settings(max_examples=25, deadline=None)
def test_a_draw_is_scipys_welch_test_of_the_rows(seed, scale):
    rng = np.random.default_rng(seed)
    x, bucket = scale * rng.lognormal(0, 1, 600), rng.integers(0, 25, 600)
    bucket[:25] = range(25)
    labels = deal((13, 12), 1, seed)
    m = buckets_of({"x": x}, bucket)
    found = p_values(m.roll_up("bucket"), X, labels)[0, 0]
    order = np.array([int(c[0]) for c in m.roll_up("bucket").cells])
    arm = labels[0][np.argsort(order)][bucket]
    assert found == pytest.approx(
        stats.ttest_ind(x[arm == 1], x[arm == 0], equal_var=False).pvalue, rel=1e-8
    )


def test_means_of_1e12_lose_nothing_to_cancellation():
    rng = np.random.default_rng(3)
    small, bucket = rng.normal(size=4000), rng.integers(0, 100, 4000)
    labels = deal((50, 50), 200, 1)
    plain = p_values(buckets_of({"x": small}, bucket).roll_up("bucket"), X, labels)
    with_origin = buckets_of({"x": 1e12 + small}, bucket, origin={"x": 1e12}).roll_up("bucket")
    without = buckets_of({"x": 1e12 + small}, bucket).roll_up("bucket")
    np.testing.assert_allclose(p_values(with_origin, X, labels), plain, rtol=2e-3)
    np.testing.assert_allclose(p_values(without, X, labels), plain, rtol=2e-2)
    lost = without.n * without.mean_x**2 + without.comoment
    assert lost.sum() - without.n.sum() * np.average(without.mean_x) ** 2 != pytest.approx(
        3999 * small.var(ddof=1), rel=1e-2
    )


def test_adjusted_draws_are_lins_regression():
    """Against statsmodels: the point estimate exactly, the error up to HC2's small terms."""
    rng = np.random.default_rng(5)
    n = 4000
    z, w = rng.lognormal(size=n), rng.normal(size=n)
    x = z + 0.5 * w + rng.normal(size=n)
    bucket = rng.integers(0, 100, n)
    m = buckets_of({"x": x, "z": z, "w": w}, bucket).roll_up("bucket")
    labels = deal((50, 50), 5, 2)
    measure = Measure("x", covariates=("z", "w"))
    found = p_values(m, measure, labels)
    order = np.argsort([int(c[0]) for c in m.cells])
    for draw in range(5):
        arm = labels[draw][order][bucket]
        c = np.column_stack([z - z.mean(), w - w.mean()])
        design = np.column_stack([np.ones(n), arm, c, arm[:, None] * c])
        fit = sm.OLS(x, design).fit(cov_type="HC2")
        assert found[draw, 0] == pytest.approx(fit.pvalues[1], rel=0.05)
    plain = p_values(m, X, labels)
    assert not np.allclose(found, plain, rtol=0.2)


def test_covariates_that_say_nothing_or_all_have_defined_answers():
    columns, bucket = shop(4000)
    rng = np.random.default_rng(0)
    columns |= {
        "same": np.full(4000, 3.0),
        "twin": columns["y"] * 2,
        "noise": rng.normal(size=4000),
    }
    m = buckets_of(columns, bucket)
    one = rerandomise(m, Measure("x", covariates=("y",)), HALVES, draws=100)
    three = rerandomise(m, Measure("x", covariates=("y", "same", "twin")), HALVES, draws=100)
    assert one.rate == three.rate
    assert rerandomise(m, Measure("x", covariates=("same",)), HALVES).rate == (
        rerandomise(m, X, HALVES).rate
    )
    assert rerandomise(m, Measure("y", covariates=("twin",)), HALVES).note.startswith("zero_var")
    ratio = rerandomise(m, Measure("x", "y", ("noise",)), HALVES)
    assert not ratio.suspicious
    assert abs(ratio.rate - rerandomise(m, RATIO, HALVES).rate) < 0.02
    uneven = m.n.copy()
    uneven[3, m.pair("x", "twin")] -= 1
    gate = rerandomise(dataclasses.replace(m, n=uneven), Measure("x", covariates=("twin",)), HALVES)
    assert gate.rate is None
    assert gate.note.startswith("missing_values")


def test_independent_units_reject_at_alpha():
    columns, bucket = shop(40_000)
    for measure in (X, RATIO):
        gate = rerandomise(buckets_of(columns, bucket), measure, HALVES)
        assert (gate.draws, gate.tested, gate.buckets) == (1000, 1000, 200)
        assert gate.low < gate.rate < gate.high
        assert gate.error == pytest.approx(math.sqrt(gate.rate * (1 - gate.rate) / 1000))
        assert (gate.suspicious, gate.note) == (False, None)


def test_customers_in_five_identical_rows_are_seen():
    columns, bucket = shop(8000)
    five = buckets_of({c: np.repeat(v, 5) for c, v in columns.items()}, np.repeat(bucket, 5))
    for measure in (X, RATIO):
        gate = rerandomise(five, measure, HALVES)
        expected = 2 * stats.norm.sf(1.96 / math.sqrt(5))
        assert abs(gate.rate - expected) < 0.1
        assert gate.suspicious
        assert gate.note.startswith("above_limit")


def test_rows_hashed_by_row_hide_it():
    """The gate sees only what the hash keeps together: why it must be the customer's."""
    columns, _ = shop(8000)
    bucket = np.random.default_rng(1).integers(0, 200, 40_000)
    five = buckets_of({c: np.repeat(v, 5) for c, v in columns.items()}, bucket)
    assert not rerandomise(five, X, HALVES).suspicious


def test_a_whale_makes_the_test_careful_not_wrong():
    columns, bucket = shop(20_000)
    columns["x"][17] = 1e7
    gate = rerandomise(buckets_of(columns, bucket), X, HALVES)
    assert gate.rate <= 0.05
    assert not gate.suspicious
    assert gate.note.startswith("below_limit")


def test_a_true_effect_does_not_matter():
    columns, bucket = shop(40_000)
    arm = np.random.default_rng(9).integers(0, 2, 40_000)
    columns["x"] = columns["x"] + 30 * arm
    m = buckets_of(columns, bucket, arm=arm)
    by_arm = m.roll_up("arm")
    levels = [est.mean_level(by_arm, by_arm.cell(a), "x") for a in "10"]
    assert est.difference(*levels, 0.05).p_value < 1e-100
    gate = rerandomise(m, X, HALVES)
    assert not gate.suspicious
    assert gate.rate > gate.low


def test_arms_and_seed():
    columns, bucket = shop(20_000)
    m = buckets_of(columns, bucket)
    four = rerandomise(m, X, (0.4, 0.3, 0.2, 0.1), draws=500, seed=4)
    assert four.tested == 1500
    assert four == rerandomise(m.roll_up("bucket"), X, (0.4, 0.3, 0.2, 0.1), draws=500, seed=4)
    assert four != rerandomise(m, X, (0.4, 0.3, 0.2, 0.1), draws=500, seed=5)
    labels = deal((80, 60, 40, 20), 50, 0)
    assert (np.sort(labels, axis=1) == np.repeat(range(4), (80, 60, 40, 20))).all()


def test_limits_widen_with_fewer_buckets_and_draws():
    low, high = limits(200, 1000, 0.05)
    assert low == pytest.approx(0.01, abs=0.001)
    assert high == pytest.approx(0.11, abs=0.005)
    assert limits(50, 1000, 0.05)[1] > high
    assert limits(200, 100, 0.05)[1] > high
    assert limits(10**7, 10**9, 0.05) == pytest.approx((0.05, 0.05), abs=3e-4)


def note(m, measure=X, shares=HALVES):
    gate = rerandomise(m, measure, shares, draws=50)
    assert (gate.rate, gate.error, gate.suspicious, gate.tested) == (None, None, False, 0)
    return gate.note.split(":")[0]


def test_nasty_data_have_a_reason():
    columns, bucket = shop(3000)
    m = buckets_of(columns, bucket)
    assert note(buckets_of(columns, bucket % 19)) == "too_few_buckets"
    skewed = np.where(np.arange(3000) < 2700, 0, bucket)
    assert note(buckets_of(columns, skewed)) == "too_few_buckets"
    assert note(m, shares=(0.995, 0.005)) == "too_few_buckets"
    assert note(dataclasses.replace(m, n=0 * m.n)) == "too_few_buckets"
    assert note(m.where("bucket", "nothing")) == "too_few_buckets"
    for value in (0.0, 0.1, 1e12 + 0.1, 1e140):
        assert note(buckets_of({"x": np.full(3000, value)}, bucket)) == "zero_variance"
    zero = {**columns, "y": np.zeros(3000)}
    assert note(buckets_of(zero, bucket), RATIO) == "no_test"
    rare = {**columns, "y": (np.arange(3000) < 5).astype(float)}
    assert note(buckets_of(rare, bucket), RATIO) == "no_test"
    same = {"x": 3 * columns["y"], "y": columns["y"]}
    assert note(buckets_of(same, bucket), RATIO) == "zero_variance"
    for bad in (math.inf, math.nan):
        broken = m.comoment.copy()
        broken[5] = bad
        assert note(dataclasses.replace(m, comoment=broken)) == "not_finite"
    with np.errstate(over="ignore"):
        huge = buckets_of({"x": 1e160 * columns["y"], "y": columns["y"]}, bucket)
    assert note(huge) == "not_finite"


def test_one_unit_a_bucket_is_enough():
    rng = np.random.default_rng(2)
    gate = rerandomise(buckets_of({"x": rng.normal(size=60)}, np.arange(60)), X, HALVES)
    assert gate.low < gate.rate < gate.high


def test_empty_buckets_are_not_dealt():
    columns, bucket = shop(3000)
    m = buckets_of(columns, bucket).roll_up("bucket")
    keep = np.arange(200) % 2 == 0
    arrays = {k: np.where(keep[:, None], getattr(m, k), 0) for k in ("n", "mean_x", "comoment")}
    gate = rerandomise(dataclasses.replace(m, **arrays), X, HALVES)
    assert gate.buckets == 100
    assert not gate.suspicious


@pytest.mark.parametrize("arguments", [
    {"shares": (1.0,)}, {"shares": (1.0, 0.0)}, {"shares": (1.0, math.nan)},
    {"draws": 0}, {"alpha": 0.0}, {"alpha": 1.0},
])  # fmt: skip
def test_wrong_arguments_are_errors(arguments):
    columns, bucket = shop(300)
    with pytest.raises(ValueError, match=r"shares are|draws is"):
        rerandomise(buckets_of(columns, bucket), X, **{"shares": HALVES, **arguments})
    with pytest.raises(KeyError):
        rerandomise(buckets_of(columns, bucket), Measure("z"), HALVES)


def test_a_thousand_draws_are_quick():
    columns, bucket = shop(20_000)
    m = buckets_of(columns, bucket)
    seconds = []
    for _ in range(5):
        start = time.thread_time()
        rerandomise(m, RATIO, (1, 1, 1, 1))
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.2


def test_a_pair_that_was_reduced_in_both_orders_is_found():
    """As where one metric's covariates are another's in another order."""
    columns, bucket = shop(4000)
    names = list(columns)
    measure = Measure(names[0], None, tuple(names[1:3]))
    once = [(a, b) for i, a in enumerate(names) for b in names[i:]]
    twice = [*once, *((b, a) for a, b in once if a != b)]
    labels = deal((100, 100), 20, 1)
    found = [p_values(buckets_of(columns, bucket, p).roll_up("bucket"), measure, labels)
             for p in (once, twice)]  # fmt: skip
    assert found[0] == pytest.approx(found[1], rel=1e-9)
