"""Counts of units by arm (and level) in; chi-square tests of how the units were split out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

MISMATCH = 0.001  # below this p-value a split is called a mismatch
AWAITED = 10.0  # units in a cell by chance, from which on chi-square holds at that level


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

    Pearson's chi-square needs `AWAITED` units in every cell: of 10,000 units, 1% of them in one arm
    and three in 10,000 without a value, it finds p < 0.001 in 2.7% of draws. Rare levels are
    therefore added up until there are enough (Cochran 1954, Biometrics 10(4), 417-451). Where two
    levels are left and one is still rare, p is that of Fisher's exact test: of more than two arms
    the least one, of each arm against the others, times the number of arms.
    """
    rows = [r for r in table if sum(r) > 0]
    columns = [j for j in range(len(table[0]) if table else 0) if sum(r[j] for r in rows) > 0]
    if len(rows) < 2 or len(columns) < 2:
        return None
    least = min(map(sum, rows)) / sum(map(sum, rows))
    merged = _merged([[r[j] for r in rows] for j in columns], AWAITED / least)
    total = sum(map(sum, rows))
    cells = [(x, sum(r) * sum(c) / total) for c in merged for x, r in zip(c, rows, strict=True)]
    chi2 = math.fsum((seen - e) ** 2 / e for seen, e in cells)
    df = (len(rows) - 1) * (len(merged) - 1)
    if len(merged) == 2 and min(e for _, e in cells) < AWAITED:
        rare = min(merged, key=sum)
        exact = [_fisher(x, sum(r), sum(rare), total) for x, r in zip(rare, rows, strict=True)]
        times = len(rows) if len(rows) > 2 else 1
        return SplitTest(chi2, df, min(1.0, times * min(exact)))
    return SplitTest(chi2, df, float(special.chdtrc(df, chi2)))


def _merged(columns: list[list[int]], least: float) -> list[list[int]]:
    """The columns, the rarest first, with those of fewer than `least` units added up."""
    left = sorted(columns, key=sum)
    while len(left) > 2 and sum(left[0]) < least:
        both = [a + b for a, b in zip(left[0], left[1], strict=True)]
        left = [both, *left[2:]] if sum(both) < least else sorted([both, *left[2:]], key=sum)
    return left


def _fisher(seen: int, of_arm: int, of_level: int, total: int) -> float:
    """Two-sided p-value of `seen` units of a level in an arm: what is no likelier counts."""
    low, high = max(0, of_arm + of_level - total), min(of_arm, of_level)
    x = np.arange(low, high + 1)

    def ways(n: int, k: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.asarray(
            special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        )

    log = ways(of_level, x) + ways(total - of_level, of_arm - x)
    chance = np.exp(log - log.max())
    unlikely = chance <= chance[seen - low] * (1 + 1e-7)
    return float(chance[unlikely].sum() / chance.sum())
