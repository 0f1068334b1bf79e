"""Columns of units in; a checked sample of coded arms, covariates and outcomes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from retention_lab.errors import DataError, counted
from retention_lab.incentives.observed.effects import Floats, Ints

LEVEL = "="  # in the name of an indicator: "channel=Web" is of the covariate "channel"
MISSING = " missing"
CHUNK = 65_536  # rows at a time
SAME = 1e-7  # share of a column's spread that the columns before it must leave open


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Units: their arm, what was known before the exposure, and what came of it.

    ========== =====================================================================
    arms       names, the control first
    arm        [n], position in `arms`
    x, names   [n, p] covariates, none of them made up by others; their names
    y          by outcome, [n]; nan where unknown
    cluster    [n] or None
    known      [n, A] known P(arm | x), or None
    dropped    names of covariates that are constant or made up by others
    order      [n] positions of the units in the columns they came from
    ========== =====================================================================
    """

    arms: tuple[str, ...]
    arm: Ints
    x: Floats
    names: tuple[str, ...]
    y: Mapping[str, Floats]
    cluster: Ints | None = None
    known: Floats | None = None
    dropped: tuple[str, ...] = ()
    order: Ints | None = None

    @property
    def size(self) -> int:
        return len(self.arm)

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """Positions in `names`, by covariate: the indicators of one covariate go together."""
        found: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            found.setdefault(source_of(name), []).append(i)
        return {k: tuple(v) for k, v in found.items()}


def source_of(name: str) -> str:
    """The covariate that a coded column comes from.

    >>> source_of("channel=Web"), source_of("age missing"), source_of("age ")
    ('channel', 'age', 'age')
    """
    return name.partition(LEVEL)[0].removesuffix(MISSING).strip()


def make_sample(
    arm: Any,
    arms: Sequence[str],
    covariates: Mapping[str, Any],
    outcomes: Mapping[str, Any],
    cluster: Any = None,
    propensity: Any = None,
    after: Mapping[str, str] | None = None,
) -> Sample:
    """Check the columns and put them together; `arms` names the levels of `arm`, control first.

    Units are put into an order that follows from their own values, so that neither folds nor sums
    depend on the order in which an engine hands them over.
    `propensity` is the known P(treated) [n] of one treated arm, or [n, A] of all. `after` gives, by
    name, the covariates that are known only after the exposure, and what they are.
    Raises DataError for these, for covariates that are not finite numbers and for known
    propensities that are not probabilities; ValueError for an arm that `arms` does not name.
    """
    for name in covariates:
        why = (after or {}).get(source_of(name))
        if why is not None:
            raise DataError(
                f"covariate {source_of(name)!r} is {why}: known only after the exposure, it may be "
                "moved by the incentive, and adjusting for it takes away a part of the effect; "
                "take it out of incentive.covariates"
            )
    code = _coded(arm, arms)
    n = len(code)
    x = np.empty((n, len(covariates)))
    for j, (name, column) in enumerate(covariates.items()):
        x[:, j] = column
        bad = n - int(np.isfinite(x[:, j]).sum())
        if bad:
            raise DataError(
                f"covariate {name!r} of {counted(bad, 'unit')} is missing or infinite; "
                "code it (a number, and an indicator of what is missing) or leave it out"
            )
    kept, lost = independent(x)
    names = list(covariates)
    known = None
    if propensity is not None:
        known = _known(np.asarray(propensity, np.float64), n, len(arms))
    group = None if cluster is None else np.asarray(cluster)
    y = {k: np.asarray(v, np.float64) for k, v in outcomes.items()}
    order = _order([code, *x.T], [*([] if group is None else [group]), *y.values()])
    return Sample(
        tuple(arms),
        code[order],
        x[order] if not lost else x[order][:, np.array(kept, np.intp)],
        tuple(names[j] for j in kept),
        {k: v[order] for k, v in y.items()},
        None if group is None else group[order],
        None if known is None else known[order],
        tuple(names[j] for j in lost),
        order,
    )


def _order(first: Sequence[Any], then: Sequence[Any]) -> Ints:
    """An order of rows that depends on their values only: by a hash of `first`, ties by `then`.

    So another outcome, last in `then`, moves only rows that are alike in everything before.
    """
    mixed = np.zeros(len(first[0]), np.uint64)
    for column in first:
        # 0.0 is added so that -0.0, which equals it, has the same bits
        mixed ^= (np.asarray(column, np.float64) + 0.0).view(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed ^= mixed >> np.uint64(shift)
            mixed *= np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
        mixed += np.uint64(0x9E3779B97F4A7C15)
    order = np.argsort(mixed, kind="stable")
    ordered = mixed[order]
    if len(order) > 1 and (ordered[1:] == ordered[:-1]).any():
        order = np.lexsort((*reversed(then), mixed))
    return order


def _coded(arm: Any, arms: Sequence[str]) -> Ints:
    levels = np.asarray(arm)
    code = np.full(len(levels), -1, np.int64)
    for i, name in enumerate(arms):
        code[levels == name] = i
    if (code < 0).any():
        raise ValueError(f"an arm that is not one of {', '.join(arms)}: {levels[code < 0][0]!r}")
    return code


def _known(p: Floats, n: int, arms: int) -> Floats:
    if p.ndim == 1:
        if arms != 2:
            raise DataError(
                f"incentive.propensity is one column, the chance of being treated, but there are "
                f"{arms - 1} treated arms; leave it out, or analyse one arm at a time"
            )
        p = np.stack([1.0 - p, p], axis=1)
    if p.shape != (n, arms):
        raise ValueError(f"known propensities have shape {p.shape}, not {(n, arms)}")
    bad = int((~((p > 0.0) & (p < 1.0)).all(axis=1)).sum())
    if bad:
        raise DataError(
            f"incentive.propensity: {counted(bad, 'unit')} without a number above 0 and below 1; "
            "units that could only be in one arm have no comparison: leave them out"
        )
    return p


def independent(x: Floats) -> tuple[list[int], list[int]]:
    """Positions of columns [n, p] that say something new, and of those that do not.

    Columns are taken in turn; one whose spread the columns before it leave open by no more than
    `SAME` is dropped, as is a constant one. (Sweeps of the correlation matrix.)
    """
    n, p = max(len(x), 1), x.shape[1]
    mean = x.mean(axis=0) if len(x) else np.zeros(p)
    parts = (x[at : at + CHUNK] - mean for at in range(0, len(x), CHUNK))
    left = sum((part.T @ part for part in parts), np.zeros((p, p))) / n
    deviation = np.sqrt(np.diag(left))
    varies = deviation > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    scale = np.where(varies, deviation, 1.0)
    left = left / np.outer(scale, scale)
    kept: list[int] = []
    for j in range(p):
        if not varies[j] or left[j, j] <= SAME:
            continue
        kept.append(j)
        left = left - np.outer(left[:, j], left[j, :]) / left[j, j]
    return kept, [j for j in range(p) if j not in kept]
