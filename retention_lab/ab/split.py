"""Counts of units by arm (and level) in; chi-square tests of how the units were split out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from scipy import special

MISMATCH = 0.001  # below this p-value a split is called a mismatch


@dataclasses.dataclass(frozen=True, slots=True)
class SplitTest:
    """Pearson's chi-square, its degrees of freedom, and the p-value."""

    chi2: float
    df: int
    p_value: float


def sample_ratio(counts: Mapping[str, int], expected: Mapping[str, float]) -> SplitTest:
    """Test all arms of `expected` jointly against `counts`; an absent arm counts as 0 units.

    Source: Fabijan et al. (2019), "Diagnosing Sample Ratio Mismatch in Online Controlled
    Experiments", KDD '19; the test is Pearson's chi-square of goodness of fit.
    """
    total, shares = sum(counts.get(a, 0) for a in expected), sum(expected.values())
    if total == 0 or len(expected) < 2:
        raise ValueError("a split needs two arms and one unit at least")
    awaited = {a: total * share / shares for a, share in expected.items()}
    chi2 = math.fsum((counts.get(a, 0) - e) ** 2 / e for a, e in awaited.items())
    df = len(expected) - 1
    return SplitTest(chi2, df, float(special.chdtrc(df, chi2)))


def same_levels(table: Sequence[Sequence[int]]) -> SplitTest | None:
    """Test whether arms (rows) have the same mix of levels (columns); None below 2 by 2.

    A segment that was fixed before exposure differs between arms by chance only; one that the
    treatment moved does not, and comparing within it would not be a randomised comparison.
    """
    rows = [r for r in table if sum(r) > 0]
    columns = [j for j in range(len(table[0]) if table else 0) if sum(r[j] for r in rows) > 0]
    if len(rows) < 2 or len(columns) < 2:
        return None
    total = sum(map(sum, rows))
    sums = {j: sum(r[j] for r in rows) for j in columns}
    cells = [(r[j], sum(r) * sums[j] / total) for r in rows for j in columns]
    chi2 = math.fsum((seen - e) ** 2 / e for seen, e in cells)
    df = (len(rows) - 1) * (len(columns) - 1)
    return SplitTest(chi2, df, float(special.chdtrc(df, chi2)))
