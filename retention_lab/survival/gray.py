"""A life table split by group, with competing causes, in; Gray's test of their incidence out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from retention_lab.data.lifetable import LifeTable
from retention_lab.survival.logrank import GroupTest, group_test
from retention_lab.survival.steps import Floats, grid

TIED = "tied: so many of few customers had the event at one time that there is no variance"


def gray(table: LifeTable, *group: str, cause: int = 1, rho: float = 0.0) -> GroupTest:
    """Gray's test that the cumulative incidence of `cause` is the same in all levels of `group`.

    The log-rank test with each group's units at risk n replaced by R = n (1 - F(t-)) / S(t-), F its
    incidence of `cause` and S its share without any event: who had a competing event stays in the
    risk set, as far as he would have been observed. Weights (1 - F(t-))^rho of all groups, rho
    chosen before the data are seen. `observed` and `expected` are the weighted sums of it.
    Raises KeyError for an unknown key, ValueError for no key, no such cause or a negative rho.
    Source: Gray (1988), Annals of Statistics 16, 1141-1154.
    """
    if not group:
        raise ValueError("name one key or more to compare")
    if rho < 0.0:
        raise ValueError("rho must not be negative")
    found = grid(table, *group)
    happened = found.happened(cause)
    sums = scores(found.at_risk, happened, found.happened(None) - happened, rho)
    result = group_test(found.labels, *sums)
    own = np.diag(sums[2])
    if own.min(initial=0.0) < -1e-9 * own.max(initial=1.0):
        return dataclasses.replace(result, chi2=None, df=0, p_value=None, note=TIED)
    return result


def scores(
    at_risk: Any, events: Any, competing: Any, rho: float = 0.0
) -> tuple[Floats, Floats, Floats]:
    """Weighted observed [G], expected [G] and covariance [G, G], from counts of shape (G, T).

    Under the hypothesis F is common, with increments d / sum(n / S). The score of group i is
    sum over g of the integral of K dG, G the estimate of -log(1 - F) in group g and

        K_ig = w R_i (1[i = g] - R_g / R.)

    so that an event of `cause` in group g at time u moves it by

        S_g / n_g (a_ig(u) + (1 - (1 - F) / S_g) C_ig(u)),   a = K / (1 - F)

    and a competing one by -S_g / n_g ((1 - F) / S_g) C_ig(u), where C(u) is the integral of
    a dF / (1 - F) over later times. Their squares, by the expected number of such events, add up to
    the covariance; tied events carry the hypergeometric factor 1 - (d - 1) / (S_g sum(n / S) - 1),
    as in R's cmprsk. It is below 0 where more are tied than would be left of the size of group g,
    at the end of small groups: the covariance is then too small, and where a variance is below 0
    the test is None. Of the time itself are F and S_g in (1 - F) / S_g; all else is just before it.
    """
    n, d1, d2 = (np.asarray(x, np.float64) for x in (at_risk, events, competing))
    some = (d1 + d2).sum(axis=0) > 0
    n, d1, d2 = n[:, some], d1[:, some], d2[:, some]
    here = n > 0.0
    safe = np.where(here, n, 1.0)
    after = np.asarray(np.cumprod(1.0 - (d1 + d2) / safe, axis=1), np.float64)
    free = _before(after, 1.0)
    here &= free > 0.0
    free = np.where(here, free, 1.0)
    own = _before(np.cumsum(free * d1 / safe * here, axis=1), 0.0)
    reach = np.where(here, n / free, 0.0)  # units, had nobody left for a competing event
    total, all_d = reach.sum(axis=0), d1.sum(axis=0)
    rise = np.divide(all_d, total, out=np.zeros_like(total), where=total > 0)
    common = np.cumsum(rise)
    before = np.append(0.0, common)[:-1]
    weight = np.maximum(1.0 - before, 0.0) ** rho
    risk = reach * (1.0 - own)
    risks = risk.sum(axis=0)
    share = np.divide(risk, risks, out=np.zeros_like(risk), where=risks > 0)
    expected = (share * all_d) @ weight

    part = np.divide(reach, total, out=np.zeros_like(reach), where=total > 0)
    a = weight * reach[:, None, :] * (np.eye(len(n))[:, :, None] - part[None])
    step = np.divide(rise, 1.0 - before, out=np.zeros_like(rise), where=before < 1.0)
    later = np.cumsum((a * step)[:, :, ::-1], axis=2)[:, :, ::-1] - a * step
    # Where nobody of a group is left, nothing comes later.
    left = np.divide(1.0 - common, after, out=np.zeros_like(after), where=after > 0)
    by_event, by_other = a + (1.0 - left) * later, left * later
    others = total * free - 1.0
    ties = 1.0 - np.maximum(all_d - 1.0, 0.0) / np.where(others == 0.0, 1.0, others)
    size = np.where(here, ties * free * rise / safe, 0.0)
    other_ties = 1.0 - np.maximum(d2 - 1.0, 0.0) / np.maximum(n - 1.0, 1.0)
    other_size = np.where(here, other_ties * free**2 * d2 / safe**2, 0.0)
    variance = np.einsum("igt,jgt,gt->ij", by_event, by_event, size)
    variance += np.einsum("igt,jgt,gt->ij", by_other, by_other, other_size)
    return d1 @ weight, expected, variance


def _before(values: Floats, first: float) -> Floats:
    """The values just before each time, of values just after it, [G, T]."""
    start = np.full((len(values), 1), first)
    return np.concatenate([start, values], axis=1)[:, :-1]
