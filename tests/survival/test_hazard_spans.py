"""Spans of the daily chance: days, or weeks that end on day 30, and what was counted in them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cohort_shop import analysed, random_shop, study

from retention_lab.figures.hazard import CLIFF, MILESTONES


@pytest.fixture(scope="module")
def shop():
    return random_shop(11)


def hazards(folder, shop, horizon):
    """First and last day, and row, of each span for all customers."""
    found = analysed(study(folder, shop, horizon=f"{horizon}d", min_cell=1, competing=["refunds"]))
    rows = found.where(estimand="hazard", segment=None).rows
    return [(*map(int, r.at.split("-")), r) for r in rows]


def test_weeks_begin_anew_every_thirty_days(tmp_path, shop):
    """What is said of day 30, where the report draws its line, is counted up to that very day."""
    spans = hazards(tmp_path, shop, 95)
    month = [(1, 7), (8, 14), (15, 21), (22, 30)]
    later = [(a + d, b + d) for d in (30, 60) for a, b in month]
    assert [s[:2] for s in spans] == [*month, *later, (91, 95)]
    ends = {last for _, last, _ in spans}
    assert {CLIFF, *(m for m in MILESTONES if m <= 95)} <= ends
    people = shop.people(95)
    for first, last, row in spans:
        at_risk = [(people["stop"] >= day).sum() for day in range(first, last + 1)]
        events = ((people["cause"] == 1) & people["stop"].between(first, last)).sum()
        assert row.estimate == pytest.approx(events / np.sum(at_risk), rel=1e-12)
        assert row.n == at_risk[0]


@pytest.mark.parametrize(("horizon", "last"), [(60, (60, 60)), (93, (82, 93)), (94, (91, 94))])
def test_days_up_to_a_short_horizon_and_a_short_rest_is_no_span(tmp_path, shop, horizon, last):
    spans = [s[:2] for s in hazards(tmp_path, shop, horizon)]
    assert spans[-1] == last
    assert all(b[0] == a[1] + 1 for a, b in itertools.pairwise(spans))
    assert (spans[0] == (1, 1)) == (horizon <= 60)
