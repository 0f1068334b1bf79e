"""Sizes of clusters or markets in; how many they count for, and whether there is an error, out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Of uneven clusters, 5 to 20 an arm, a test at 5% then rejects 5.8% where there is no effect, at
# most; 6.7% where 2.5 are enough.
FEW_CLUSTERS = 3.0
THIN = f"few_clusters: an arm rests on fewer than {FEW_CLUSTERS:.0f} clusters in effect"
# Where large clusters also differ from small ones (markets, hubs), an arm that has none of them
# differs by that: of 5/20 or 10/40 clusters of two sizes, such a test rejects up to 57%. With this
# rule 3 to 7%, and up to 10% where sizes vary without gaps and the outcome follows them closely.
LARGER, OF_ARM = 4.0, 0.2
UNLIKE = (
    f"unlike_clusters: over {OF_ARM:.0%} of one arm is in clusters more than {LARGER:.0f} times as "
    "large as any of the other's, so that a difference may be one of size alone"
)


def effective(size: Floats) -> float:
    """How many of one `size` [G] tell as much: (sum size)^2 / sum size^2 (Kish); 0 of none."""
    return float(size.sum()) ** 2 / float(size @ size) if len(size) else 0.0


def welch_df(variance: Sequence[float], count: Sequence[float]) -> float:
    """Degrees of freedom of a sum of variances, each of so many clusters; infinite where it is 0.

    Source: Welch (1947), Biometrika 34, 28-35; Satterthwaite (1946), Biometrics Bulletin 2.
    """
    total = math.fsum(variance)
    if not total > 0.0:
        return math.inf
    return 1.0 / sum((v / total) ** 2 / (n - 1.0) for v, n in zip(variance, count, strict=True))


def thin(size: Floats) -> bool:
    """Whether clusters of `size` [G] are too few in effect.

    Of three clusters or fewer, half a cluster less than there are.
    """
    return effective(size) < min(FEW_CLUSTERS, len(size) - 0.5)


def unlike(own: Floats, others: Floats) -> bool:
    """Whether much of another arm, `others` [H], is in clusters of a size that `own` [G] lacks."""
    if not len(own) or not len(others):
        return False
    large = others[others > LARGER * float(own.max())]
    return bool(large.sum() > OF_ARM * others.sum())
