"""Log-rank tests equal R's survdiff, from rows as from counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import case, counts_of, made_by_r
from statsmodels.duration.survfunc import survdiff

from retention_lab.data.lifetable import LifeTable, merge
from retention_lab.survival.logrank import (
    APART,
    NO_EVENTS,
    NO_WEIGHT,
    ONE_GROUP,
    logrank,
    weighted,
)

R = made_by_r()
ROWS = R["rows"]
CAUSE = ROWS["cause"].astype(int)


def tables(data, inputs):
    """The table of the rows, and that of their counts."""
    stop, event = data[inputs["duration"]], data[inputs["event"]].astype(int)
    group = data[inputs["group"]]
    stratum = data[inputs["strata"]] if "strata" in inputs else np.zeros(len(stop))
    known = np.array([s == s for s in stratum])
    stop, event, group, stratum = (a[known] for a in (stop, event, group, stratum))
    yield LifeTable.of(stop, event, group=group, stratum=stratum)
    stop, event, group, stratum, n = counts_of(stop, event, group, stratum)
    yield LifeTable.of(stop, event, n, group=group, stratum=stratum)


CASES = [
    "logrank_zero_time",
    "logrank_lung_sex",
    "peto_lung_sex",
    "logrank_lung_sex_strata",
    "logrank_rossi_fin",
    "logrank_waltons",
]


@pytest.mark.parametrize("name", CASES)
def test_the_log_rank_test_equals_rs(name):
    inputs, expected, data = case(name)
    strata = ("stratum",) if "strata" in inputs else ()
    rows, counts = (
        logrank(t, "group", strata=strata, rho=inputs.get("rho", 0.0)) for t in tables(data, inputs)
    )
    assert rows.chi2 == pytest.approx(expected["chisq"], rel=1e-11)
    assert rows.p_value == pytest.approx(expected["p"], rel=1e-10)
    assert rows.df == expected["df"]
    for key in ("observed", "expected"):
        if key in expected:
            np.testing.assert_allclose(getattr(rows, key), expected[key], rtol=1e-11)
    assert counts.chi2 == pytest.approx(rows.chi2, rel=1e-12)


WAYS = {
    "plain": {},
    "any": {"cause": None},
    "peto": {"rho": 1.0},
    "half": {"rho": 0.5},
    "strata": {"strata": ("stratum",)},
    "peto_strata": {"strata": ("stratum",), "rho": 1.0},
}


@pytest.mark.parametrize("name", WAYS)
def test_three_groups_strata_and_weights_equal_rs(name):
    table = LifeTable.of(
        ROWS["day"],
        CAUSE,
        causes=("event", "other"),
        group=ROWS["group"],
        stratum=ROWS["stratum"],
    )
    found, expected = logrank(table, "group", **WAYS[name]), R["logrank"][name]
    assert found.labels == (("a",), ("b",), ("c",))
    assert found.chi2 == pytest.approx(expected["chisq"], rel=1e-12)
    assert found.df == expected["df"]
    np.testing.assert_allclose(found.observed, expected["observed"], rtol=1e-12)
    np.testing.assert_allclose(found.expected, expected["expected"], rtol=1e-12)


@pytest.mark.parametrize("groups", [2, 4])
def test_seeded_data_equal_statsmodels(groups):
    rng = np.random.default_rng(groups)
    stop, event = rng.integers(0, 50, 400), rng.integers(0, 2, 400)
    group, stratum = rng.integers(0, groups, 400), rng.integers(0, 3, 400)
    table = LifeTable.of(stop, event, group=group, stratum=stratum)
    chi2, p = survdiff(stop, event, group)
    found = logrank(table, "group")
    assert (found.chi2, found.p_value) == (pytest.approx(chi2, rel=1e-9), pytest.approx(p))
    chi2, _ = survdiff(stop, event, group, strata=stratum)
    assert logrank(table, "group", strata=["stratum"]).chi2 == pytest.approx(chi2, rel=1e-9)


def test_gamma_weighs_by_the_share_that_had_the_event_before():
    n, d = [[6, 4, 3], [6, 5, 3]], [[1, 0, 2], [0, 2, 1]]
    before = [1.0, 11 / 12, 11 / 12 * 7 / 9]
    weight = [s**0.5 * (1 - s) ** 2 for s in before]
    observed, expected, variance = weighted(n, d, rho=0.5, gamma=2.0)
    np.testing.assert_allclose(observed, np.array(d) @ weight)
    share = np.array(n[0]) / np.sum(n, axis=0)
    total, everybody = np.sum(d, axis=0), np.sum(n, axis=0)
    assert expected[0] == pytest.approx(np.sum(weight * share * total))
    spread = total * share * (1 - share) * (everybody - total) / (everybody - 1)
    assert variance[0, 0] == pytest.approx(np.sum(np.square(weight) * spread))
    assert variance[0, 1] == pytest.approx(-variance[0, 0])


def test_late_entry_counts_only_those_at_risk():
    late = LifeTable.of([3, 3, 5, 5, 6], [1, 0, 1, 1, 0], start=[0, 0, 3, 0, 4], g=list("aabba"))
    found = logrank(late, "g")
    # day 3: a 2, b 1 at risk (one of b enters on day 3 only); day 5: a 1, b 2
    assert found.expected[0] == pytest.approx(2 / 3 + 2 * 1 / 3)


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(0, 1)), min_size=1, max_size=40
)


@given(rows=rows, order=st.randoms())
@settings(max_examples=100, deadline=None)
def test_names_order_and_merging_do_not_matter(rows, order):
    def test(rows):
        group, stop, event = zip(*rows, strict=True)
        return LifeTable.of(stop, event, group=np.array(group, object))

    whole = logrank(test(rows), "group")
    shuffled = list(rows)
    order.shuffle(shuffled)
    parts = merge(test(shuffled[:1]), test(shuffled[1:])) if len(rows) > 1 else test(rows)
    again = logrank(parts, "group")
    renamed = logrank(test([({"a": "z"}.get(g, g), t, e) for g, t, e in rows]), "group")
    assert (whole.chi2 is None) == (again.chi2 is None) == (renamed.chi2 is None)
    if whole.chi2 is not None:
        assert again.chi2 == pytest.approx(whole.chi2, rel=1e-12, abs=1e-12)
        assert renamed.chi2 == pytest.approx(whole.chi2, rel=1e-9, abs=1e-12)
        assert 0 <= whole.p_value <= 1
        assert whole.df <= len(whole.labels) - 1


def test_equal_groups_do_not_differ():
    one = LifeTable.of([1, 2, 3, 4] * 2, [1, 0, 1, 1] * 2, g=list("aaaabbbb"))
    found = logrank(one, "g")
    assert found.chi2 == pytest.approx(0.0, abs=1e-20)
    assert found.p_value == pytest.approx(1.0)


def test_groups_that_cannot_be_compared_are_said():
    nothing = logrank(LifeTable.of([1, 2], [0, 0], g=["a", "b"]), "g")
    assert (nothing.chi2, nothing.df, nothing.note) == (None, 0, NO_EVENTS)
    alone = logrank(LifeTable.of([1, 2], [1, 0], g=["a", "a"]), "g")
    assert (alone.p_value, alone.note) == (None, ONE_GROUP)
    gone = LifeTable.of([1, 1, 2, 3, 3], [0, 0, 1, 1, 0], g=list("aabbb"))
    assert logrank(gone, "g").note == ONE_GROUP
    three = LifeTable.of([1, 1, 2, 3, 3, 4, 4], [0, 0, 1, 1, 0, 1, 0], g=list("aabbbcc"))
    found = logrank(three, "g")
    assert (found.df, found.note) == (1, None)
    empty = logrank(LifeTable.of([], [], g=[]), "g")
    assert (empty.labels, empty.note) == ((), NO_EVENTS)


def test_groups_that_never_meet_take_a_degree_of_freedom():
    early = ([1, 2, 3, 3], [1, 1, 1, 0], "abab", [0] * 4)
    late = ([11, 12, 13, 13], [1, 1, 1, 0], "cdcd", [10] * 4)
    stop, event, group, start = (a + b for a, b in zip(early, late, strict=True))
    found = logrank(LifeTable.of(stop, event, start=start, g=list(group)), "g")
    assert (found.df, found.note) == (2, APART)
    apart = [
        logrank(LifeTable.of(t, e, start=s, g=list(g)), "g").chi2 for t, e, g, s in (early, late)
    ]
    assert found.chi2 == pytest.approx(sum(apart), rel=1e-9)


def test_wrong_arguments_are_refused():
    table = LifeTable.of([1, 2], [1, 0], g=["a", "b"])
    with pytest.raises(ValueError, match="one key or more"):
        logrank(table)
    with pytest.raises(ValueError, match="none of them a stratum"):
        logrank(table, "g", strata=["g"])
    with pytest.raises(ValueError, match="must not be negative"):
        logrank(table, "g", rho=-1)
    with pytest.raises(KeyError, match="not split by 'h'"):
        logrank(table, "h")


def test_events_without_weight_are_not_said_to_be_none():
    """Before the first event nobody has had one, so gamma > 0 gives that time no weight."""
    table = LifeTable.of([3, 3, 3, 5], [1, 1, 0, 0], g=np.array(["a", "b", "a", "b"], object))
    late, none = logrank(table, "g", gamma=1.0), logrank(table.by("g"), "g", rho=1.0)
    assert (late.chi2, late.note) == (None, NO_WEIGHT)
    assert none.chi2 is not None
    nobody = LifeTable.of([3, 5], [0, 0], g=np.array(["a", "b"], object))
    assert logrank(nobody, "g", gamma=1.0).note == NO_EVENTS
