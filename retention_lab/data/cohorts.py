"""A plan with a survival section in; the reductions that follow its customers in time out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from retention_lab.data import activity, lifetable, moments, repeats
from retention_lab.data.activity import Activity, count_activity, returning_revenue
from retention_lab.data.lifetable import LifeTable
from retention_lab.data.lives import definition, lives, relations
from retention_lab.data.moments import Moments
from retention_lab.data.passes import shares_of
from retention_lab.data.relations import checked
from retention_lab.data.repeats import Repeats, count_repeats
from retention_lab.experiment.sections import COHORT

if TYPE_CHECKING:
    from retention_lab.data.source import Source
    from retention_lab.experiment.plan import Plan


@dataclasses.dataclass(frozen=True, slots=True)
class Cohorts:
    """What is known of customers over time, each a small table that adds up over customers.

    `life`: until the first event or the end; `repeats`: every event; `activity`: on which days of
    their age customers were active; `revenue`: by month, and from whom. The last three are None
    where a run starts from saved life tables, `revenue` also where the file names no
    `survival.value`, and `activity` and `revenue` in an experiment.
    """

    life: LifeTable
    repeats: Repeats | None = None
    activity: Activity | None = None
    revenue: Moments | None = None

    def save(self, folder: str | Path) -> None:
        """Write ``lifetable.parquet`` and so on into `folder`, with all cells, small ones too.

        Keep them where rows may be kept. A run folder has what `retention_lab.run.keep` leaves.
        """
        for name, part in self._parts().items():
            part.save(Path(folder) / f"{name}.parquet")

    @classmethod
    def load(cls, folder: str | Path) -> Cohorts:
        """Read what `save` wrote; DataError where there is no life table."""
        again, active, money = (
            Path(folder) / f"{name}.parquet" for name in ("repeats", "activity", "revenue")
        )
        return cls(
            LifeTable.load(Path(folder) / "lifetable.parquet"),
            Repeats.load(again) if again.is_file() else None,
            Activity.load(active) if active.is_file() else None,
            Moments.load(money) if money.is_file() else None,
        )

    def _parts(self) -> dict[str, LifeTable | Repeats | Activity | Moments]:
        found = {"lifetable": self.life, "repeats": self.repeats, "activity": self.activity}
        return {k: v for k, v in {**found, "revenue": self.revenue}.items() if v is not None}

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {part!r}" for name, part in self._parts().items())


def reduce_cohorts(plan: Plan) -> Cohorts:
    """The reductions of the survival section of `plan`, one engine query each.

    Rows stay in the engine; of many customers it is asked for one share after the other, see
    passes.py. Raises DataError where a table cannot be read, or saved life tables do not fit the
    file.
    """
    life = lives(plan)
    if plan.spec.data.lives:
        return Cohorts(life)
    parts = [_reduced(plan, share, life) for share in shares_of(plan)]
    # Each of them has the life table of all, which is not to be added up.
    return dataclasses.replace(merge(*parts), life=life) if len(parts) > 1 else parts[0]


def _reduced(plan: Plan, source: Source, life: LifeTable) -> Cohorts:
    """The reductions of the customers in `source`, beside the life table of all."""
    survival, rows = checked(plan.spec), relations(plan, source)
    said = definition(plan.spec)
    columns = {name: f"key {i}" for i, name in enumerate(rows.keys)}
    groups = {k: v for k, v in columns.items() if k not in survival.columns or k in survival.by}
    texts = (source, rows.unit, rows.happening)
    again = count_repeats(*texts, groups, until=survival.days, definition=said)
    if plan.spec.design is not None:
        return Cohorts(life, again)
    cohorts = {COHORT: "cohort", **groups}
    edges = [e for e in survival.brackets if e <= survival.days + 1]
    active = count_activity(
        *texts, cohorts, edges=edges, windows=[survival.rolling], definition=said
    )
    money = None
    if survival.value:
        money = returning_revenue(*texts, {}, definition=f"{survival.value} of {said}")
    return Cohorts(life, again, active, money)


def merge(*parts: Cohorts) -> Cohorts:
    """The reductions of all customers behind `parts` together, in any order and grouping.

    A part that one of them lacks, the whole lacks. Raises DataError where they do not fit together.
    """
    again = [p.repeats for p in parts if p.repeats is not None]
    active = [p.activity for p in parts if p.activity is not None]
    money = [p.revenue for p in parts if p.revenue is not None]
    return Cohorts(
        lifetable.merge(*(p.life for p in parts)),
        repeats.merge(*again) if len(again) == len(parts) else None,
        activity.merge(*active) if len(active) == len(parts) else None,
        moments.merge(*money) if len(money) == len(parts) else None,
    )
