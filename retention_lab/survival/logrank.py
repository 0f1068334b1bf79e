"""A life table split by group in; log-rank tests, plain, stratified or weighted, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.steps import Floats, grid

NO_EVENTS = "no_events: nobody had the event, so there is nothing to compare"
NO_WEIGHT = "no_events: every event is at a time with weight 0, so there is nothing to compare"
ONE_GROUP = "one_group: fewer than two groups were ever at risk when an event happened"
APART = "not_compared: some groups were never at risk together, so fewer groups are compared"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class GroupTest:
    """A test that G groups do not differ; `chi2` and `p_value` are None where `note` says why.

    `observed` and `expected` are weighted counts of events by group, [G], `variance` is that of
    their difference, [G, G].
    """

    labels: tuple[tuple[Any, ...], ...]
    observed: Floats
    expected: Floats
    variance: Floats
    chi2: float | None
    df: int
    p_value: float | None
    note: str | None = None


def logrank(
    table: LifeTable,
    *group: str,
    strata: Sequence[str] = (),
    rho: float = 0.0,
    gamma: float = 0.0,
    cause: int | None = 1,
) -> GroupTest:
    """The log-rank test between the levels of `group`, within `strata`, with weights G(rho, gamma).

    At each time the events of a group are held against those that it would have by its share of the
    units at risk; differences are weighted by S(t-)^rho (1 - S(t-))^gamma, S the Kaplan-Meier curve
    of all groups (of the stratum), and added. Ties: the hypergeometric variance. rho and gamma are
    chosen before the data are seen. Causes other than `cause` count as censoring; None: any cause.
    Raises KeyError for an unknown key, ValueError for negative weights or a key used twice.
    Source: Mantel (1966); Harrington and Fleming (1982), Biometrika 69, 553-566; Fleming and
    Harrington (1991), Counting Processes and Survival Analysis, chapter 7.
    """
    if not group or set(group) & set(strata):
        raise ValueError("name one key or more to compare, none of them a stratum")
    if rho < 0.0 or gamma < 0.0:
        raise ValueError("rho and gamma must not be negative")
    labels = grid(table, *group).labels
    size = len(labels)
    observed, expected, variance = np.zeros(size), np.zeros(size), np.zeros((size, size))
    for _, part in table.parts(*strata):
        found = grid(part, *group)
        here = [labels.index(label) for label in found.labels]
        o, e, v = weighted(found.at_risk, found.happened(cause), rho, gamma)
        observed[here] += o
        expected[here] += e
        variance[np.ix_(here, here)] += v
    test = group_test(labels, observed, expected, variance)
    if test.note == NO_EVENTS and grid(table).happened(cause).any():
        return dataclasses.replace(test, note=NO_WEIGHT)
    return test


def weighted(
    at_risk: Any, events: Any, rho: float = 0.0, gamma: float = 0.0
) -> tuple[Floats, Floats, Floats]:
    """Weighted observed [G], expected [G] and covariance [G, G], from counts of shape (G, T)."""
    n, d = np.asarray(at_risk, np.float64), np.asarray(events, np.float64)
    some = d.sum(axis=0) > 0
    n, d = n[:, some], d[:, some]
    all_n, all_d = n.sum(axis=0), d.sum(axis=0)
    before = np.append(1.0, np.cumprod((all_n - all_d) / all_n))[:-1]
    weight = before**rho * (1.0 - before) ** gamma
    share = n / all_n
    expected = share * all_d
    spread = weight**2 * all_d * (all_n - all_d) / np.maximum(all_n - 1.0, 1.0)
    variance = np.diag(share @ spread) - (share * spread) @ share.T
    return d @ weight, expected @ weight, variance


def group_test(
    labels: tuple[tuple[Any, ...], ...], observed: Floats, expected: Floats, variance: Floats
) -> GroupTest:
    """The chi-squared test that observed - expected, with this covariance, is 0 for all groups."""
    df, chi2, p_value, note = 0, None, None, None
    # Groups that were never at risk when something happened have no say.
    taking_part = np.flatnonzero(np.diag(variance) > 0.0)
    if not np.any(observed != 0.0):
        note = NO_EVENTS
    elif len(taking_part) < 2:
        note = ONE_GROUP
    else:
        gap = (observed - expected)[taking_part]
        core = variance[np.ix_(taking_part, taking_part)]
        scale = np.sqrt(np.diag(core))
        core, gap = core / np.outer(scale, scale), gap / scale
        values, vectors = np.linalg.eigh(core)
        kept = values > len(values) * 1e-9 * values[-1]
        df = int(kept.sum())
        chi2 = float(((vectors.T[kept] @ gap) ** 2 / values[kept]).sum())
        p_value = float(special.chdtrc(df, chi2))
        note = APART if df < len(taking_part) - 1 else None
    return GroupTest(labels, observed, expected, variance, chi2, df, p_value, note)
