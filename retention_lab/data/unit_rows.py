"""A plan in; its units as arrays, for learners and limits that need every row, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from retention_lab.data.moments import Floats
from retention_lab.data.units import beside, key, unit_frame, with_caps
from retention_lab.errors import DataError, counted

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan

MOST = 20_000_000  # rows that are brought into memory


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """n units, in no particular order and without their ids; NaN where a number is not known.

    `arm` (n) is text; `outcomes` and `covariates` (n each) are float64, the latter coded: numbers,
    and 1 or 0 for a level of a text (``channel=Web``) or a missing number. `cluster` (n) is a
    position, `propensity` (n) the probability of the arm where the file knows it.
    """

    arm: npt.NDArray[np.object_]
    outcomes: Mapping[str, Floats]
    covariates: Mapping[str, Floats]
    cluster: npt.NDArray[np.int64] | None = None
    propensity: Floats | None = None

    def __len__(self) -> int:
        return len(self.arm)


def unit_rows(plan: Plan) -> UnitRows:
    """The rows of the plan's units; the offer says which columns.

    Raises DataError where there are more than `MOST`.
    """
    offer, spec = plan.offer, plan.spec
    assert offer is not None
    assert spec.design is not None
    rows = plan.look.rows if plan.look is not None else 0
    if rows > MOST:
        raise DataError(
            f"{counted(rows, 'unit')}: a learner needs them all in memory, and takes at most "
            f"{MOST:,}; give it a sample"
        )
    columns = list(dict.fromkeys(c for need in plan.needed.values() for c in need.columns))
    columns += [c for c in offer.covariates if c not in columns]
    if offer.propensity is not None:
        columns.append(offer.propensity)
    frame = unit_frame(plan.source, spec, plan.arms, columns)
    caps = {c.name: c.cap.value for c in columns if c.cap is not None and c.cap.value is not None}
    frame = beside(with_caps(frame, caps), columns)
    extra = {"cluster": key(1 + len(spec.segments))} if spec.design.randomised else {}
    wanted = {"arm": key(0), **{c.name: c.name for c in columns}, **extra}
    found = plan.source.arrays(frame.select(*dict.fromkeys(wanted.values())))
    made: dict[str, Any] = {}
    if extra:
        _, made["cluster"] = np.unique(np.asarray(found[extra["cluster"]]), return_inverse=True)
    if offer.propensity is not None:
        made["propensity"] = _floats(found[offer.propensity.name])
    return UnitRows(
        arm=np.asarray(found[key(0)], dtype=object),
        outcomes={
            c.name: _floats(found[c.name])
            for need in plan.needed.values()
            for c in (need.numerator, *need.together)
        },
        covariates={c.name: _floats(found[c.name]) for c in offer.covariates},
        **made,
    )


def _floats(values: Any) -> Floats:
    return np.asarray(np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan))
