"""Intervals of several comparisons hold together, and agree with Holm's adjusted p-values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cohort_shop import analysed, random_shop, study
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retention_lab.multiplicity import SIMULTANEOUS, holm
from retention_lab.results import Row
from retention_lab.survival.analyse import HOLM_FINDS_MORE, LOGARITHMS, together
from retention_lab.survival.intervals import wald

ALPHA = 0.05


def row(estimate, std_error, estimand="survival_difference", alpha=ALPHA):
    """A comparison, as the rows of curves make it."""
    e = wald(estimate, std_error, alpha)
    numbers = [e.estimate, e.low, e.high]
    if estimand in LOGARITHMS:
        numbers = [math.exp(x) for x in numbers]
    return Row(
        analysis="survival",
        estimand=estimand,
        estimate=numbers[0],
        std_error=std_error,
        ci_low=numbers[1],
        ci_high=numbers[2],
        p_value=e.p_value,
        method="a method",
    )


def excludes(r):
    none = 1.0 if r.estimand in LOGARITHMS else 0.0
    return not r.ci_low <= none <= r.ci_high


FAMILY = st.lists(st.tuples(st.floats(-5, 5), st.floats(0.2, 3)), min_size=1, max_size=8)


@settings(max_examples=300, deadline=None)
@given(FAMILY, st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from(["rmst_ratio", "gap"]))
def test_intervals_are_bonferronis_and_agree_with_holm(numbers, alpha, estimand):
    rows = [row(x, s, estimand, alpha) for x, s in numbers]
    m, found = len(rows), together(rows, alpha)
    z = stats.norm.ppf(1 - alpha / (2 * m))
    for (x, s), r in zip(numbers, found, strict=True):
        ends = (x - z * s, x + z * s)
        if estimand in LOGARITHMS:
            ends = tuple(math.exp(e) for e in ends)
        assert (r.ci_low, r.ci_high) == pytest.approx(ends, rel=1e-9, abs=1e-9)
        assert (SIMULTANEOUS in r.method) == (m > 1)
    adjusted = holm([r.p_value for r in found])
    least = min(range(m), key=lambda i: found[i].p_value)
    for i, (r, p) in enumerate(zip(found, adjusted, strict=True)):
        if abs(m * r.p_value - alpha) < 1e-9:
            continue  # on the very edge rounding decides
        assert excludes(r) == (m * r.p_value < alpha)
        assert not excludes(r) or p < alpha
        if i == least:
            assert excludes(r) == (p < alpha)
    assert any(map(excludes, found)) == (min(adjusted) < alpha) or any(
        abs(m * r.p_value - alpha) < 1e-9 for r in found
    )


def test_what_is_no_comparison_stays_as_it_is_and_does_not_count():
    one, other = row(1.0, 0.5), row(0.2, 0.1)
    bare = Row(analysis="survival", estimand="survival_difference", note="no_event_yet: nothing")
    assert together([one, bare], ALPHA) == [one, bare]
    found = together([one, bare, other], ALPHA)
    assert found[1] is bare
    assert found[0].ci_low == pytest.approx(1.0 - 0.5 * stats.norm.ppf(1 - ALPHA / 4))
    assert found[0].method == f"a method; {SIMULTANEOUS}, 2 comparisons"
    tested = Row(analysis="survival", estimand="log_rank", estimate=3.0, p_value=0.01)
    assert together([tested, tested], ALPHA) == [tested, tested]


@pytest.mark.parametrize(
    "truth", [(0.0,) * 5, (8.0, 0.0, 0.0, 0.0, 0.0), (8.0, 0.4, 0.2, 0.0, -8.0)]
)
def test_all_intervals_cover_together(truth):
    """Five groups against one reference: their differences are correlated, by 0.5.

    The steps' own levels, at which an interval would agree with Holm in every case, would not do:
    they miss more often than they may where some effects are beyond doubt.
    """
    rng = np.random.default_rng(11)
    n, m = 40_000, len(truth)
    groups = rng.standard_normal((n, m + 1)) / math.sqrt(2.0)
    found = np.array(truth) + groups[:, 1:] - groups[:, :1]
    z = stats.norm.ppf(1 - ALPHA / (2 * m))
    (one,) = together([row(1.0, 1.0)] * m, ALPHA)[:1]
    assert one.ci_high - 1.0 == pytest.approx(z)  # so that the arrays below are what rows say
    covered = (np.abs(found - truth) <= z).all(axis=1)
    error = math.sqrt(ALPHA * (1 - ALPHA) / n)
    assert covered.mean() >= 1 - ALPHA - 3 * error
    single = (np.abs(found - truth) <= stats.norm.ppf(1 - ALPHA / 2)).all(axis=1)
    assert single.mean() < 1 - 2 * ALPHA  # what was wrong before
    if truth[0] and truth[-1]:
        p = 2 * stats.norm.sf(np.abs(found))
        rank = p.argsort(axis=1).argsort(axis=1)
        step = stats.norm.ppf(1 - ALPHA / (2 * (m - rank)))
        assert (np.abs(found - truth) <= step).all(axis=1).mean() < 1 - ALPHA - 3 * error


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    shop = random_shop(7)
    folder = tmp_path_factory.mktemp("together")
    return analysed(
        study(folder, shop, by=["market"], covariates=["market"], value="value", tau="30d")
    )


@pytest.mark.parametrize(
    "estimand",
    [
        "rmst_difference",
        "rmst_ratio",
        "survival_difference",
        "mean_cumulative_difference",
        "log_rate_ratio",
        "log_hazard_ratio",
        "discrete_log_hazard_ratio",
    ],
)
def test_every_comparison_of_a_study_is_at_the_level_of_its_family(results, estimand):
    """From the estimate and its error alone, family by family; the error is never stretched."""
    families = {}
    for r in results.where(estimand=estimand).rows:
        if r.p_value is not None and r.ci_low is not None:
            families.setdefault((r.segment, r.at), []).append(r)
    assert families
    for rows in families.values():
        m = len(rows)
        assert m > 1
        z = stats.norm.ppf(1 - ALPHA / (2 * m))
        for r in rows:
            log = estimand in LOGARITHMS
            low, high, x = (math.log(v) if log else v for v in (r.ci_low, r.ci_high, r.estimate))
            error = r.std_error / r.estimate if log else r.std_error
            assert (high - low) / 2 == pytest.approx(z * error, rel=1e-9)
            assert (high + low) / 2 == pytest.approx(x, rel=1e-9, abs=1e-12)
            assert r.method.endswith(f"; {SIMULTANEOUS}, {m} comparisons")
            assert not excludes(r) or r.p_adjusted < ALPHA


def test_where_holm_finds_more_the_row_says_so(tmp_path_factory):
    """Two groups of three differ beyond doubt and a little: the second is Holm's alone."""
    from retention_lab.experiment.spec import Inference
    from retention_lab.survival.analyse import _adjusted

    class Asked:
        inference = Inference()

    place = {"baseline": "c", "segment": "market", "at": "30"}
    rows = []
    for level, (x, s) in {"a": (1.0, 0.1), "b": (1.0, 0.48)}.items():
        r = row(x, s)
        rows.append(Row(**{**{k: getattr(r, k) for k in r.__slots__}, **place, "level": level}))
    first, second = _adjusted(Asked(), rows)
    assert second.p_adjusted < ALPHA < 2 * second.p_value
    assert second.ci_low < 0.0
    assert second.note == HOLM_FINDS_MORE
    assert first.note is None

    class Plain:
        inference = Inference(correction="none")

    assert _adjusted(Plain(), rows) == rows
