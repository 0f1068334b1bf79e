"""Suppression: small cells are hidden, and no subtraction from the total brings one back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.ab.suppress import suppressed

MIN = 20
counts = st.dictionaries(
    st.sampled_from("pqrstu"),
    st.fixed_dictionaries({"a": st.integers(0, 60), "b": st.integers(0, 60)}),
    min_size=1,
)


@given(counts)
@settings(max_examples=500)
def test_small_cells_are_hidden_and_cannot_be_worked_out(by_level):
    hidden = suppressed(by_level, MIN)
    for level, arms in by_level.items():
        if any(0 < n < MIN for n in arms.values()):
            assert level in hidden
    if hidden and hidden != set(by_level):
        assert len(hidden) >= 2
        for arm in "ab":
            together = sum(by_level[level][arm] for level in hidden)
            assert together == 0 or together >= MIN


@given(counts)
def test_nothing_is_hidden_without_need(by_level):
    small = any(0 < n < MIN for arms in by_level.values() for n in arms.values())
    assert bool(suppressed(by_level, MIN)) == small


def test_the_smallest_further_level_is_hidden_with_a_single_small_one():
    by_level = {"p": {"a": 5, "b": 9}, "q": {"a": 400, "b": 400}, "r": {"a": 50, "b": 60}}
    assert suppressed(by_level, MIN) == {"p", "r"}


def test_two_small_levels_that_stay_small_together_take_a_third():
    by_level = {"p": {"a": 5, "b": 30}, "q": {"a": 6, "b": 30}, "r": {"a": 99, "b": 99}}
    assert suppressed(by_level, MIN) == {"p", "q", "r"}
