"""Units, means and variances of arms in; a unit's variance over all arms, where it is due, out.

An arm of a few buyers, or a few events, that missed the large values has too small a mean and too
small an error at once: Welch's test then rejects far too often. Of 1,000 units against 9,000, 2%
buyers and log-normal revenue, 9% (sigma 1) and 16% (sigma 2) at 5%; of 100 against 9,900, 34%; of
shares of 2%, 14%. With the larger of the arms' own error and that of all units together, under 5%.
Arms of about one size are hardly concerned: what one lacks in error the other has. Nor are values
with a mean near 0, which n / cv^2 says nothing of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pair = tuple[Floats, Floats]
RARE = 100.0  # events in effect from which on such a test rejects 6% at most
UNEVEN = 5.0  # times as many units, up to which it is Welch's test in any case
WHOLE = 10.0  # events in effect of all arms, below which the mean may as well be 0
SKEWED = 1.0  # squared coefficient of variation: a share of one half
MARGIN = 1.0 + 1e-9  # beyond rounding
POOLED = (
    f"pooled_variance: the smallest arm rests on fewer than {RARE:.0f} events in effect; all arms "
    "have the variance of all units, which is larger than their own"
)


def common_variance(
    n: Sequence[int],
    mean: Sequence[float],
    variance: Sequence[float],
    weights: Sequence[float],
    times: Sequence[float] | None = None,
) -> float | None:
    """The variance of a unit, taken together over arms, where the arms' own are not to be trusted.

    `variance` is that of each mean, the contrast is the sum of `weights` times means. An answer
    where arms are uneven, the smallest has fewer than `RARE` events in effect (n / cv^2 with the cv
    of all units), and it makes the contrast's error larger; else None. Of a share that is nearly 1
    the events are those who are not in it. Never rejects more than Welch's test does. `times` says
    how many times as large as the answer an arm's variance is, where the test is not of no effect.
    """
    whole = sum(n)
    if min(n) < 2 or max(n) <= UNEVEN * min(n):
        return None
    of_unit = math.fsum((k - 1) * k * v for k, v in zip(n, variance, strict=True)) / (
        whole - len(n)
    )
    middle = math.fsum(k / whole * m for k, m in zip(n, mean, strict=True))
    if not (0.0 < of_unit < math.inf and math.isfinite(middle)):
        return None
    if all(_is_share(k, m, v) for k, m, v in zip(n, mean, variance, strict=True)):
        middle = min(middle, 1.0 - middle)
    spread = of_unit / middle / middle if middle * middle > 0.0 else math.inf
    if spread < SKEWED or min(n) >= RARE * spread or whole < WHOLE * spread:
        return None
    own = math.fsum(w * w * v for w, v in zip(weights, variance, strict=True))
    grown = [w * math.sqrt(t) for w, t in zip(weights, times or [1.0] * len(n), strict=True)]
    together = of_unit * math.fsum(w * w / k for w, k in zip(grown, n, strict=True))
    return of_unit if MARGIN * own < together < math.inf else None


def _is_share(n: int, mean: float, variance: float) -> bool:
    """Whether the values are 0 and 1, by their variance."""
    return 0.0 <= mean <= 1.0 and math.isclose(
        variance * (n - 1), mean * (1.0 - mean), rel_tol=1e-6, abs_tol=1e-12
    )


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def common_variances(n: Pair, mean: Pair, variance: Pair) -> Pair:
    """Variances of pairs of means, an arm's and the base's, as `common_variance` makes them.

    Arrays of any shape that fit each other: one entry, one pair.
    """
    (n1, n0), (m1, m0), (v1, v0) = n, mean, variance
    of_unit = ((n1 - 1) * n1 * v1 + (n0 - 1) * n0 * v0) / (n1 + n0 - 2)
    middle = (n1 * m1 + n0 * m0) / (n1 + n0)
    share = _are_shares(n1, m1, v1) & _are_shares(n0, m0, v0)
    middle = np.where(share, np.minimum(middle, 1.0 - middle), middle)
    spread, least = of_unit / middle / middle, np.minimum(n1, n0)
    together = of_unit * (1.0 / n1 + 1.0 / n0)
    due = (spread >= SKEWED) & (least < RARE * spread) & (least >= 2)
    due &= (np.maximum(n1, n0) > UNEVEN * least) & (n1 + n0 >= WHOLE * spread)
    due &= (together > MARGIN * (v1 + v0)) & (together < np.inf)
    return np.where(due, of_unit / n1, v1), np.where(due, of_unit / n0, v0)


def _are_shares(n: Floats, mean: Floats, variance: Floats) -> npt.NDArray[np.bool_]:
    same = np.isclose(variance * (n - 1), mean * (1.0 - mean), rtol=1e-6, atol=1e-12)
    return np.asarray(same & (mean >= 0.0) & (mean <= 1.0))
