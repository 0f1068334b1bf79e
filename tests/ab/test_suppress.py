"""Suppression: small cells are hidden, and no subtraction brings one back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from retention_lab.ab.suppress import suppressed

MIN = 20
sizes = st.fixed_dictionaries({"a": st.integers(0, 60), "b": st.integers(0, 60)})
counts = st.dictionaries(st.sampled_from("pqrstu"), sizes, min_size=1)


def hide(by_level):
    return suppressed([{"s": by_level}], MIN)["s"]


def assert_safe(hidden, group, by_level):
    """What is hidden of a group whose total is shown is no single level and nothing small."""
    inside = hidden & set(group)
    if inside and inside != set(group):
        assert len(inside) >= 2
        for arm in "ab":
            together = sum(by_level[level][arm] for level in inside)
            assert together == 0 or together >= MIN


@given(counts)
@settings(max_examples=300)
def test_small_cells_are_hidden_and_cannot_be_worked_out(by_level):
    hidden = hide(by_level)
    for level, arms in by_level.items():
        if any(0 < n < MIN for n in arms.values()):
            assert level in hidden
    assert_safe(hidden, by_level, by_level)


@given(counts)
def test_nothing_is_hidden_without_need(by_level):
    small = any(0 < n < MIN for arms in by_level.values() for n in arms.values())
    assert bool(hide(by_level)) == small


def test_the_smallest_further_level_is_hidden_with_a_single_small_one():
    by_level = {"p": {"a": 5, "b": 9}, "q": {"a": 400, "b": 400}, "r": {"a": 50, "b": 60}}
    assert hide(by_level) == {"p", "r"}


def test_two_small_levels_that_stay_small_together_take_a_third():
    by_level = {"p": {"a": 5, "b": 30}, "q": {"a": 6, "b": 30}, "r": {"a": 99, "b": 99}}
    assert hide(by_level) == {"p", "q", "r"}


countries = st.fixed_dictionaries(dict.fromkeys(("DE", "FR", "LI", "US", "CA", "MX"), sizes))
REGION = {"DE": "EU", "FR": "EU", "LI": "EU", "US": "AM", "CA": "AM", "MX": "AM"}


@given(st.lists(countries, min_size=1, max_size=2))
@settings(max_examples=300)
def test_countries_cannot_be_worked_out_from_their_region(metrics):
    """Two segments, one made of the other, and two metrics with different units."""
    by_metric = []
    for by_country in metrics:
        regions = {r: {"a": 0, "b": 0} for r in ("EU", "AM")}
        for country, arms in by_country.items():
            for arm, n in arms.items():
                regions[REGION[country]][arm] += n
        by_metric.append({"country": by_country, "region": regions})
    cells = [{"country": c, "region": r} for c, r in REGION.items()]
    found = suppressed(by_metric, MIN, cells)
    for by in by_metric:
        assert_safe(found["country"], by["country"], by["country"])
        assert_safe(found["region"], by["region"], by["region"])
        for region in ("EU", "AM"):
            members = {c for c, r in REGION.items() if r == region}
            if region in found["region"]:
                assert members & found["country"]
            else:
                assert_safe(found["country"], members, by["country"])


def test_a_level_hidden_by_one_metric_is_hidden_in_all():
    few = {"s": {"p": {"a": 5, "b": 50}, "q": {"a": 90, "b": 90}, "r": {"a": 50, "b": 50}}}
    many = {"s": {level: {"a": 99, "b": 99} for level in "pqr"}}
    found = suppressed([many, few], MIN)["s"]
    assert "p" in found
    assert len(found) == 2
