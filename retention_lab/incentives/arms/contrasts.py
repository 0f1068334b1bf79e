"""A plan and its moments in; every arm against the control, for several columns at once, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from retention_lab.data.moments import Moments
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms.means import Contrast, Means, clustered_means, contrast

PLAIN = "difference of means"
ADJUSTED = "difference of means, adjusted for covariates (Lin)"
SUPPRESSED = "suppressed: fewer than {least} units"
CLUSTERED = "difference of means, errors of whole clusters (jackknife)"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ArmContrast:
    """An arm of the plan against its control, and how they were compared."""

    arm: str
    contrast: Contrast
    method: str

    def hidden(self, plan: Plan) -> str | None:
        """Why nothing may be told of them: one has units, but fewer than `privacy.min_cell`."""
        return hidden(plan, self.contrast.arm.units, self.contrast.base.units)


def hidden(plan: Plan, *units: int) -> str | None:
    """A note where one of the counts is above 0 and below `privacy.min_cell`."""
    least = plan.spec.privacy.min_cell
    return SUPPRESSED.format(least=least) if any(0 < n < least for n in units) else None


def by_arm(
    plan: Plan, moments: Moments, metric: str, columns: Sequence[str], *, adjust: bool = True
) -> Iterator[ArmContrast]:
    """`columns` of every arm against the control, adjusted as the file says of `metric`.

    Not `adjust`: as they are. Where clusters were randomised, errors are those of whole clusters,
    and nothing is adjusted.
    An arm without units is passed over.
    """
    design = plan.spec.design
    assert design is not None
    control = plan.arms[0]
    covariates = tuple(c.name for c in plan.needed[metric].covariates if adjust)
    if design.randomised:
        parts = moments.roll_up(design.arm, design.randomised)
        base = _of_clusters(parts, control, columns)
        zero = np.zeros((len(columns), len(columns)))
        for arm in plan.arms[1:]:
            yield ArmContrast(
                arm, Contrast(_of_clusters(parts, arm, columns), base, zero, zero, zero), CLUSTERED
            )
        return
    whole = moments.roll_up(design.arm)
    base_cell = whole.cell(control)
    for arm in plan.arms[1:]:
        cell = whole.cell(arm)
        if cell is None or base_cell is None:
            continue
        found = contrast(whole, cell, base_cell, columns, covariates)
        adjusted = bool(found.shared_arm.any() or found.shared_base.any())
        yield ArmContrast(arm, found, ADJUSTED if adjusted else PLAIN)


def _of_clusters(parts: Moments, arm: str, columns: Sequence[str]) -> Means:
    return clustered_means(parts, [i for i, c in enumerate(parts.cells) if c[0] == arm], columns)
