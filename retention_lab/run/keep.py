"""A plan and the reductions of its customers in; what of them a run folder may keep out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from retention_lab.data.activity import Activity
from retention_lab.data.lifetable import LifeTable
from retention_lab.data.repeats import Repeats
from retention_lab.experiment.sections import COHORT
from retention_lab.survival.views import Small, pooled, small_levels

if TYPE_CHECKING:
    from retention_lab.data.cohorts import Cohorts
    from retention_lab.experiment.plan import Plan

Table = TypeVar("Table", LifeTable, Repeats, Activity)


def kept(plan: Plan, cohorts: Cohorts) -> Cohorts | None:
    """The reductions without cells of fewer than `privacy.min_cell` customers; None: all are fewer.

    Small levels are pooled, as in the results. Then keys are dropped, and cells added up, until
    every cell has enough: covariates first, then the groups of the file, the groups that the lab
    makes, cohorts and the arm last; of one sort the key with the most levels first. `kept` in a
    table's definition says which keys were dropped, and which have pooled levels. Of revenue the
    months with fewer customers are left out.
    """
    survival, design = plan.spec.survival, plan.spec.design
    assert survival is not None
    least = plan.spec.privacy.min_cell
    arm = design.arm if design is not None else None
    life = cohorts.life
    if life.size < least:
        return None
    small = small_levels(life, least, keep=arm)
    covariates = {k for k in survival.columns if k not in survival.by}
    rank = {k: 0 if k in covariates else 1 if k in survival.by else 2 for k in life.keys}
    rank |= {COHORT: 3} | ({arm: 4} if arm is not None else {})
    order = sorted(rank, key=lambda k: (rank[k], -len(set(life.levels.get(k, ())))))
    again, active, money = cohorts.repeats, cohorts.activity, cohorts.revenue
    return dataclasses.replace(
        cohorts,
        life=_coarse(life, small, order, least),
        repeats=again and _coarse(again, small, order, least),
        activity=active and _coarse(active, small, order, least),
        revenue=money and money.of_size(least),
    )


def _coarse(table: Table, small: Small, order: Sequence[str], least: int) -> Table:
    """The table with pooled levels, and without the first keys of `order` that are too many."""
    found = pooled(table, small)
    dropped: list[str] = []
    for key in (k for k in order if k in table.keys):
        if _sizes(found).min(initial=least) >= least:
            break
        dropped.append(key)
        found = found.by(*(k for k in found.keys if k != key))
    changed = {"dropped": dropped, "pooled": [k for k in found.keys if k in small]}
    if not any(changed.values()):
        return found
    said = {**json.loads(found.definition or "{}"), "kept": changed}
    return dataclasses.replace(found, definition=json.dumps(said, sort_keys=True))


def _sizes(table: LifeTable | Repeats | Activity) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Customers by cell."""
    if isinstance(table, LifeTable):
        return np.bincount(table.cell, weights=table.n, minlength=table.cells).astype(np.int64)
    return table.customers
