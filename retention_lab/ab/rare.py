"""A metric's covariates and its units by arm in; those that show no small group of units out.

Arms compared before and after adjustment give away what the units of a covariate's level did. So
levels with few units go to the level that the others are compared with, as hidden levels of a
segment do; an indicator of few units (a missing value, a number that is 0 or 1) is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import Column, Needs

POOLED = "pooled_levels: covariates' levels with few units are one level, or left out"
Units = npt.NDArray[np.int64]


@np.errstate(over="ignore", invalid="ignore")  # of a number too large to be an indicator
def without_rare(
    need: Needs, by_arm: Moments, least: int, hide: Mapping[str, Collection[str]]
) -> Needs:
    """`need` less the covariate columns that tell of fewer than `least` units of an arm.

    `by_arm` is the reduction by arm alone, `hide` the hidden levels by segment. What is left of
    the level that others are compared with is, in every arm, no unit or `least` units or more.
    Arms that have fewer themselves are not shown, and not looked at.
    """
    shown = by_arm.n[:, by_arm.pair(need.numerator.name)] >= least
    units = {c.name: _ones(by_arm, c.name, shown) for c in need.covariates}
    known = {c.name: by_arm.n[shown, by_arm.pair(c.name)] for c in need.covariates}
    of: dict[str | None, list[Column]] = {}
    for c in need.covariates:
        of.setdefault(c.of, []).append(c)
    gone: set[str] = set()
    for name, columns in of.items():
        for c in columns:
            rest = () if c.how == "level" else known[c.name] - units[c.name]
            indicator = c.how != "value" or _is_indicator(by_arm, c.name)
            few = not c.before and indicator and (_few(units[c.name], least) or _few(rest, least))
            if few or c.level in hide.get(str(name), ()):
                gone.add(c.name)
        kept = [c.name for c in columns if c.how == "level" and c.name not in gone]
        while kept and _few(known[kept[0]] - sum(units[k] for k in kept), least):
            smallest = min(kept, key=lambda k: (int(units[k].sum()), k))
            gone.add(smallest)
            kept.remove(smallest)
    return dataclasses.replace(
        need, covariates=tuple(c for c in need.covariates if c.name not in gone)
    )


def _few(units: Units | tuple[()], least: int) -> bool:
    return any(0 < n < least for n in units)


def _ones(m: Moments, column: str, arms: npt.NDArray[np.bool_]) -> Units:
    """By arm, the units of which the indicator is 1: its sum."""
    at = m.pair(column)
    sums = m.n[arms, at] * (m.origin.get(column, 0.0) + m.mean_x[arms, at])
    found: Units = np.rint(np.nan_to_num(sums)).astype(np.int64)
    return found


def _is_indicator(m: Moments, column: str) -> bool:
    """Whether the column is 0 or 1: then the sum of its squares is its sum."""
    at = m.pair(column)
    n, mean = m.n[:, at], m.origin.get(column, 0.0) + m.mean_x[:, at]
    return bool(np.allclose(m.comoment[:, at] + n * mean**2, n * mean, rtol=1e-9, atol=1e-9))
