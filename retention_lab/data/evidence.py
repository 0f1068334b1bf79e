"""A plan with an incentive section in; the reductions and rows that its strategy reads out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from retention_lab.errors import PlanError
from retention_lab.experiment.sections import RANDOMISED

if TYPE_CHECKING:
    from retention_lab.data.moments import Moments
    from retention_lab.data.panel import Panel
    from retention_lab.data.threshold import Running
    from retention_lab.data.unit_rows import UnitRows
    from retention_lab.data.weeks import Weeks
    from retention_lab.experiment.plan import Plan


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a strategy reads; the others are None.

    `moments` of arms that were dealt by chance, with the `weeks` after the exposure; `rows` of
    units that are compared by their covariates; the `panel` of a rollout's markets and periods;
    `running`, the units about a threshold.
    """

    moments: Moments | None = None
    weeks: Weeks | None = None
    rows: UnitRows | None = None
    panel: Panel | None = None
    running: Running | None = None


def reduce_incentive(plan: Plan, moments: Moments | None = None) -> Evidence:
    """Read what the plan's strategy needs, and no more; not again what `moments` holds already.

    Raises PlanError where the file has no incentive section, DataError where a table cannot be
    read.
    """
    said = plan.spec.incentive
    if said is None:
        raise PlanError("the file has no incentive section")
    if said.strategy in RANDOMISED:
        from retention_lab.data.reduce import reduce

        moments = reduce(plan) if moments is None else moments
        if said.pull_forward is None:
            return Evidence(moments)
        from retention_lab.data.weeks import reduce_weeks

        return Evidence(moments, reduce_weeks(plan))
    if said.strategy == "observational":
        from retention_lab.data.unit_rows import unit_rows

        return Evidence(rows=unit_rows(plan))
    if said.strategy == "rollout":
        from retention_lab.data.panel import read_panel

        return Evidence(panel=read_panel(plan))
    from retention_lab.data.threshold import read_running

    return Evidence(running=read_running(plan))
