"""Steps: counts by time, by the definition, whatever the order and weights of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.steps import grid, steps, steps_of

rows = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.one_of(st.integers(0, 6).map(float), st.sampled_from([0.5, 2.25])),
        st.integers(0, 2),
        st.one_of(st.just(-np.inf), st.integers(-2, 6).map(float)),
        st.integers(1, 3),
    ),
    max_size=30,
)


def table(rows):
    g, stop, cause, start, n = zip(*rows, strict=True) if rows else ([],) * 5
    return LifeTable.of(stop, cause, n, start, causes=("x", "y"), group=np.array(g, object))


def usable(rows):
    return [r for r in rows if r[1] > r[3]]


def by_definition(rows, time):
    at_risk = sum(n for _, stop, _, start, n in rows if start < time <= stop)
    events = [sum(n for _, s, c, _, n in rows if s == time and c == k) for k in (1, 2)]
    return at_risk, events, sum(n for _, s, c, _, n in rows if s == time and c == 0)


@given(rows=rows)
@settings(max_examples=100, deadline=None)
def test_counts_are_those_of_the_definition(rows):
    found, kept = steps(table(rows)), usable(rows)
    assert found.time.tolist() == sorted({r[1] for r in kept})
    for i, time in enumerate(found.time):
        at_risk, events, censored = by_definition(kept, time)
        assert found.at_risk[i] == at_risk
        assert found.events[i].tolist() == events
        assert found.censored[i] == censored
    assert found.total.tolist() == found.events.sum(axis=1).tolist()


@given(rows=rows)
@settings(max_examples=100, deadline=None)
def test_a_grid_holds_the_steps_of_every_group(rows):
    whole, kept = grid(table(rows), "group"), usable(rows)
    assert whole.labels == tuple((g,) for g in sorted({r[0] for r in kept}))
    for i, (label,) in enumerate(whole.labels):
        mine = [r for r in kept if r[0] == label]
        for j, time in enumerate(whole.time):
            at_risk, events, censored = by_definition(mine, time)
            assert whole.at_risk[i, j] == at_risk
            assert whole.events[i, j].tolist() == events
            assert whole.censored[i, j] == censored
        own, alone = whole.steps(i), steps(table(mine))
        for name in ("time", "at_risk", "events", "censored"):
            np.testing.assert_array_equal(getattr(own, name), getattr(alone, name))


def test_an_event_on_day_0_counts_and_weights_are_copies():
    stop, cause = [0, 0, 0, 2, 2], [1, 1, 0, 1, 0]
    found = steps_of(stop, cause)
    assert found.time.tolist() == [0, 2]
    assert found.at_risk.tolist() == [5, 2]
    assert found.happened().tolist() == [2, 1]
    again = steps_of([0, 0, 2, 2, 0], [1, 0, 1, 0, 1], n=[1, 1, 1, 1, 1])
    assert again.events.tolist() == found.events.tolist()
    thrice = steps_of([2, 0, 0, 2], [0, 1, 0, 1], n=[3, 6, 3, 3])
    assert thrice.at_risk.tolist() == [15, 6]
    assert thrice.events.ravel().tolist() == [6, 3]


def test_units_at_risk_between_times_and_after_the_last():
    found = steps_of([3, 5, 5], [1, 1, 0])
    assert found.at_risk_at([0, 3, 3.5, 5, 6]).tolist() == [3, 3, 2, 2, 0]


def test_rows_that_enter_late_may_leave_a_gap_without_anybody():
    found = steps_of([2, 3, 9, 10], [0, 0, 1, 0], start=[-np.inf, 0, 5, 8])
    assert found.at_risk.tolist() == [2, 1, 2, 1]


def test_no_rows_give_no_steps():
    found = steps_of([], [])
    assert found.time.shape == found.at_risk.shape == found.censored.shape == (0,)
    assert found.events.shape == (0, 1)
    assert found.at_risk_at([1.0]).tolist() == [0]


def test_a_million_units_a_row_do_not_overflow():
    found = steps_of([1, 2], [1, 0], n=[2**40, 2**40])
    assert found.at_risk.tolist() == [2**41, 2**40]


def test_unknown_causes_and_keys_are_named():
    found = steps_of([1.0], [1], causes=2)
    with pytest.raises(ValueError, match=r"cause 3 is not in 1 \.\. 2"):
        found.happened(3)
    with pytest.raises(KeyError, match="did you mean 'group'"):
        grid(LifeTable.of([1.0], [1], group=["a"]), "gruop")
