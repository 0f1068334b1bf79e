"""Sizes of whole clusters that were randomised in; why an arm of them allows no error out."""

from __future__ import annotations

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


def thin(size: Floats) -> bool:
    """Whether clusters of `size` [G] are too few in effect, (sum size)^2 / sum size^2.

    Of three clusters or fewer, half a cluster less than there are.
    """
    effective = float(size.sum()) ** 2 / float(size @ size)
    return effective < min(FEW_CLUSTERS, len(size) - 0.5)


def unlike(own: Floats, others: Floats) -> bool:
    """Whether much of another arm, `others` [H], is in clusters of a size that `own` [G] lacks."""
    if not len(own) or not len(others):
        return False
    large = others[others > LARGER * float(own.max())]
    return bool(large.sum() > OF_ARM * others.sum())
