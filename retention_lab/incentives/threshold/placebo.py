"""Units and a cutoff in; cutoffs where nothing happens, and the jumps that are found there, out."""

from __future__ import annotations

import numpy as np

from retention_lab.data.moments import Floats
from retention_lab.incentives.threshold.measure import Measured, measure


def placebo_cutoffs(running: Floats, cutoff: float) -> tuple[float, ...]:
    """The median of each side, as Imbens and Lemieux (2008), J. of Econometrics 142, propose.

    There each side has the most units left and right of it. A side whose median is its own end
    has none.
    """
    known = running[np.isfinite(running)]
    found = []
    for side in (known[known < cutoff], known[known >= cutoff]):
        if len(side):
            middle = float(np.median(side))
            if side.min() < middle < side.max() and middle != cutoff:
                found.append(middle)
    return tuple(found)


def at_placebo(
    running: Floats, outcome: Floats, cutoff: float, placebo: float, alpha: float = 0.05
) -> Measured:
    """The jump at `placebo`, from units of its own side of the real cutoff only.

    So the real effect cannot be taken for one at the placebo.
    """
    own = running >= cutoff if placebo > cutoff else running < cutoff
    return measure(running[own], outcome[own], placebo, alpha)
