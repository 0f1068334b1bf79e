"""A plan about a threshold in; its units as arrays out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from retention_lab.data.moments import Floats
from retention_lab.data.sql import literal, quoted
from retention_lab.data.unit_rows import MOST
from retention_lab.errors import DataError, counted
from retention_lab.experiment.needs import MISSING_LEVEL, Column

if TYPE_CHECKING:
    from retention_lab.data.source import Source
    from retention_lab.experiment.plan import Plan
    from retention_lab.experiment.spec import Cap


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Running:
    """n units, in no particular order and without their ids; NaN where a number is not known.

    `running` (n) is what the threshold is a value of; `outcomes` (n each) by metric, capped where
    the file says so; `covariates` (n each) are numbers, or 1 and 0 for a level of a text
    (``channel=Web``) or a missing number. Units without a running variable are not in here.
    """

    running: Floats
    outcomes: Mapping[str, Floats]
    covariates: Mapping[str, Floats] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.running)


def read_running(plan: Plan) -> Running:
    """The units of the plan's table, one row a unit; the offer says which covariates.

    Metrics that cannot be computed (the plan's faults) are left out. Raises DataError where there
    are more than 20 million units.
    """
    spec, offer = plan.spec, plan.offer
    assert spec.incentive is not None
    assert offer is not None
    ref = str(spec.data.units)
    running = number(plan.source, ref, str(spec.incentive.running))
    (rows,) = plan.source.query(f"select count({running}) as n from t", t=ref)
    if rows["n"] > MOST:
        raise DataError(
            f"{counted(int(rows['n']), 'unit')}: a threshold needs them all in memory, and takes "
            f"at most {MOST:,}; give it those near the limit"
        )
    metrics = [m for m in spec.metrics if m.name not in plan.faults]
    wanted = {
        "running": running,
        **{f"y{i}": f"{quoted(m.column)}::double" for i, m in enumerate(metrics)},
        **{f"x{i}": _coded(c) for i, c in enumerate(offer.covariates)},
    }
    found = {
        k: _floats(v)
        for k, v in plan.source.arrays(plan.source.table(ref, {}, derived=wanted)).items()
    }
    kept = np.isfinite(found["running"])
    outcomes = {}
    for i, m in enumerate(metrics):
        values = found[f"y{i}"][kept]
        values = np.nan_to_num(values) if m.missing == "zero" else values
        outcomes[m.name] = values if m.cap is None else _capped(values, m.cap)
    covariates = {c.name.strip(): found[f"x{i}"][kept] for i, c in enumerate(offer.covariates)}
    return Running(found["running"][kept], outcomes, covariates)


def number(source: Source, ref: str, column: str) -> str:
    """SQL for a column as a Float64 that can be held against a limit.

    A single-precision 49.7 would become 49.70000076: it is taken as it is written.
    """
    name = quoted(column)
    if column not in source.fractional(ref):
        return f"{name}::double"
    (kind,) = source.query(f"select typeof({name}) as kind from t limit 1", t=ref)
    return f"{name}::varchar::double" if kind["kind"] == "FLOAT" else f"{name}::double"


def _coded(column: Column) -> str:
    """SQL for a covariate as a number."""
    name = quoted(str(column.value))
    if column.how == "missing":
        return f"({name} is null)::double"
    if column.how == "level":
        level = literal(str(column.level))
        return f"(coalesce({name}::varchar, {literal(MISSING_LEVEL)}) = {level})::double"
    return f"{name}::double"


def _capped(values: Floats, cap: Cap) -> Floats:
    """Values above the cap count as the cap; a quantile is that of all units."""
    top = cap.value
    if top is None and np.isfinite(values).any():
        top = float(np.nanquantile(values, float(cap.quantile or 1.0)))
    return values if top is None else np.minimum(values, top)


def _floats(values: Any) -> Floats:
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
