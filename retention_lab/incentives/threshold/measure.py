"""Units and a cutoff in; the jump of one outcome with its own bandwidths, or why there is none."""

from __future__ import annotations

import dataclasses

import numpy as np

from retention_lab.data.moments import Floats
from retention_lab.incentives.threshold.bandwidth import Bandwidths, mse_optimal
from retention_lab.incentives.threshold.local import Jump, Side, jump, sides

LEAST = 20  # units of each side
NEAR = 50  # units of each side within the bandwidth, below which an interval may be too short
VALUES = 25  # different values of each side within it, likewise
FEW_UNITS = "few_units: {n:,} units {where} the limit have a value; an effect needs {least}"
FEW_VALUES = (
    "few_values: too few different values of the running variable lie near the limit for a line on "
    "each side"
)
CONSTANT = "constant_outcome: the outcome does not vary near the limit"
FEW_NEAR = (
    "few_near: fewer than {least} units of a side lie within the bandwidth; the interval may be "
    "too short"
)
MASS_POINTS = (
    "mass_points: units within the bandwidth share few different values of the running variable; "
    "the interval may be too short"
)
MISSING = "missing_outcomes: units without a value are left out"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The jump (right less left) and its bandwidths, or None and a `note` that says why.

    With a jump, `note` is what there is to doubt. `both` are the units, left and right.
    """

    jump: Jump | None
    bandwidths: Bandwidths | None
    note: str | None
    both: tuple[Side, Side]


def measure(running: Floats, outcome: Floats, cutoff: float, alpha: float = 0.05) -> Measured:
    """The jump of `outcome` (n) at the cutoff of `running` (n); NaN in either is left out."""
    both = sides(running, outcome, cutoff)
    for side, where in zip(both, ("below", "at or above"), strict=True):
        if len(side) < LEAST:
            return Measured(
                None, None, FEW_UNITS.format(n=len(side), where=where, least=LEAST), both
            )
    if all(not np.ptp(side.y) for side in both):
        return Measured(None, None, CONSTANT, both)
    try:
        widths = mse_optimal(*both)
        found = jump(*both, widths.h, widths.b, alpha)
    except (ValueError, np.linalg.LinAlgError) as error:
        note = CONSTANT if "does not vary" in str(error) else FEW_VALUES
        return Measured(None, None, note, both)
    if not found.robust.error > 0:
        return Measured(None, widths, CONSTANT, both)
    doubt = None
    if min(found.n) < NEAR:
        doubt = FEW_NEAR.format(least=NEAR)
    elif min(side.within(found.h).distinct for side in both) < VALUES:
        doubt = MASS_POINTS
    elif np.isnan(outcome[np.isfinite(running)]).any():
        doubt = MISSING
    return Measured(found, widths, doubt, both)
