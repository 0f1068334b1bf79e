"""Gray's test equals cmprsk's, and the log-rank test's numerator where there is one cause."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import made_by_r

from retention_lab.data.lifetable import LifeTable, merge
from retention_lab.survival.gray import TIED, gray
from retention_lab.survival.logrank import NO_EVENTS, ONE_GROUP, logrank

R = made_by_r()
ROWS = R["rows"]
CAUSES = ("event", "other")


def table(keep=None, cause=None):
    kept = np.ones(len(ROWS["day"]), bool) if keep is None else keep
    what = ROWS["cause"].astype(int) if cause is None else cause
    return LifeTable.of(ROWS["day"][kept], what[kept], causes=CAUSES, group=ROWS["group"][kept])


@pytest.mark.parametrize(("name", "rho"), [("rho0", 0.0), ("rho1", 1.0), ("two", 0.0)])
@pytest.mark.parametrize("cause", [1, 2])
def test_grays_test_equals_that_of_cmprsk(name, rho, cause):
    expected = R["gray"][name]
    found = gray(
        table(ROWS["group"] != "c" if name == "two" else None), "group", cause=cause, rho=rho
    )
    assert found.chi2 == pytest.approx(expected["chisq"][cause - 1], rel=1e-10)
    assert found.df == expected["df"][cause - 1]


def test_ties_with_which_a_group_ends_count_as_in_cmprsk():
    """cuminc of cmprsk 2.2-11 on these rows: 5.485622 (p 0.01917349)."""
    rows = [("a", 1, 2), ("a", 2, 7), ("a", 3, 1), ("a", 4, 1), ("b", 4, 3)]
    group, day, n = zip(*rows, strict=True)
    found = gray(LifeTable.of(day, [1] * 5, n, causes=CAUSES, g=np.array(group, object)), "g")
    assert found.chi2 == pytest.approx(5.485622, abs=5e-7)
    assert found.p_value == pytest.approx(0.01917349, abs=5e-9)


def test_ties_that_leave_no_variance_are_said():
    rows = [("a", 1, 1, 1), ("b", 2, 2, 20), ("a", 3, 1, 1), ("b", 3, 1, 28)]
    group, day, cause, n = zip(*rows, strict=True)
    found = gray(LifeTable.of(day, cause, n, causes=CAUSES, g=np.array(group, object)), "g")
    assert (found.chi2, found.p_value, found.note) == (None, None, TIED)


def test_without_competing_events_it_is_close_to_the_log_rank_test():
    one_cause = table(cause=(ROWS["cause"] == 1).astype(int))
    found, plain = gray(one_cause, "group"), logrank(one_cause, "group")
    np.testing.assert_allclose(found.observed, plain.observed)
    np.testing.assert_allclose(found.expected, plain.expected, rtol=1e-12)
    assert found.chi2 == pytest.approx(plain.chi2, rel=0.05)


rows = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=40
)


@given(rows=rows, copies=st.integers(2, 3))
@settings(max_examples=80, deadline=None)
def test_it_has_an_answer_for_any_rows_and_weights_are_copies(rows, copies):
    group, stop, cause = zip(*rows, strict=True)
    g = np.array(group, object)
    once = LifeTable.of(stop, cause, causes=CAUSES, g=g)
    weighted = LifeTable.of(stop, cause, [copies] * len(stop), causes=CAUSES, g=g)
    found, again = gray(weighted, "g"), gray(merge(*[once] * copies), "g")
    assert found.chi2 == again.chi2
    assert (found.p_value is None) == (found.note is not None)
    assert found.p_value is None or 0 <= found.p_value <= 1
    assert found.observed.sum() == pytest.approx(found.expected.sum())


def test_groups_that_cannot_be_compared_are_said():
    nothing = gray(LifeTable.of([1, 2], [2, 2], causes=CAUSES, g=["a", "b"]), "g")
    assert (nothing.chi2, nothing.note) == (None, NO_EVENTS)
    alone = gray(LifeTable.of([1, 2], [1, 2], causes=CAUSES, g=["a", "a"]), "g")
    assert alone.note == ONE_GROUP


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="one key or more"):
        gray(table())
    with pytest.raises(ValueError, match="rho"):
        gray(table(), "group", rho=-1)
    with pytest.raises(ValueError, match="cause 3"):
        gray(table(), "group", cause=3)
