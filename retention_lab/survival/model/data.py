"""Times, events, covariates and counts of rows in; one checked set of arrays out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from retention_lab.data.codes import codes_of
from retention_lab.errors import DataError, counted

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Missing = Literal["error", "drop"]


@dataclasses.dataclass(frozen=True, slots=True)
class Coding:
    """How one covariate becomes columns: a number as it is, text as 0/1 against a reference."""

    key: str
    levels: tuple[str, ...] = ()  # of text, the reference left out; none: a number
    reference: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        if self.reference is None:
            return (self.key,)
        return tuple(f"{self.key}={level}" for level in self.levels)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class SurvivalData:
    """R rows of K covariates; a row with n = 3 is three rows alike.

    ========= ===== =====================================================================
    start     R     at risk after this time (-inf: from the beginning, time 0 included)
    stop      R     at risk up to and including this time
    event     R     whether the event happened at `stop`
    x         R x K covariates, float64, rows contiguous
    n         R     how many such rows there are, 1 or more
    strata    R     code of the stratum, or None: one stratum
    cluster   R     code of the cluster (a customer with several rows), or None
    competing R     whether a competing event happened at `stop`, or None
    pattern   R     rows of one code have the same `x`, or None: not known
    ========= ===== =====================================================================

    `coding` says how the columns `names` came about, `strata_names` what the codes of strata mean,
    `notes` counts by code the rows that were left out.
    """

    names: tuple[str, ...]
    start: Floats
    stop: Floats
    event: Bools
    x: Floats
    n: Counts
    strata: Places | None = None
    cluster: Places | None = None
    competing: Bools | None = None
    pattern: Places | None = None
    strata_names: tuple[str, ...] = ()
    strata_keys: tuple[str, ...] = ()
    coding: tuple[Coding, ...] = ()
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        stop: Any,
        event: Any,
        x: Any,
        names: Sequence[str] | None = None,
        n: Any = None,
        start: Any = None,
        strata: Any = None,
        cluster: Any = None,
        competing: Any = None,
        pattern: Places | None = None,
        missing: Missing = "error",
        coding: Sequence[Coding] | None = None,
        strata_names: Sequence[str] | None = None,
        strata_keys: Sequence[str] = (),
    ) -> SurvivalData:
        """Check arrays of shape (rows,), and `x` of shape (rows, K); nothing is changed in place.

        Rows with n = 0, and rows that stop at or before their start, are left out; the latter are
        counted in `notes`. A covariate or time that is NaN or infinite, and a stratum or cluster
        that is missing, is a DataError that says how many rows, or with `missing="drop"` left out
        and counted. Raises ValueError for shapes that differ and an `n` that is no count.
        """
        stop = np.asarray(stop, np.float64)
        rows = len(stop)
        table = np.ascontiguousarray(x, np.float64).reshape(rows, -1) if rows else _empty(x)
        k = table.shape[1]
        names = tuple(names) if names is not None else tuple(f"x{i + 1}" for i in range(k))
        weights = np.ones(rows, np.int64) if n is None else _counts(n)
        begin = np.full(rows, -np.inf) if start is None else np.asarray(start, np.float64)
        happened = np.asarray(event).astype(bool)
        other = None if competing is None else np.asarray(competing).astype(bool)
        if len(names) != k:
            raise ValueError(f"{len(names)} names for {k} covariates")
        for what, array in {"n": weights, "start": begin, "event": happened}.items():
            if array.shape != (rows,):
                raise ValueError(f"{what} has shape {array.shape}, not {(rows,)}")
        if other is not None and np.any(other & happened):
            raise ValueError("a row has the event and a competing one")
        stratum, labels, lost_stratum = _coded(strata, rows, "strata")
        group, _, lost_group = _coded(cluster, rows, "cluster")
        bad = ~np.isfinite(table)
        lost = bad.any(axis=1) | lost_stratum | lost_group | ~np.isfinite(stop) | np.isnan(begin)
        lost &= weights > 0
        notes: dict[str, int] = {}
        if lost.any():
            missed = int(weights[lost].sum())
            if missing == "error":
                where = [names[i] for i in np.flatnonzero(bad.any(axis=0))]
                where += ["time"] * bool(np.any(~np.isfinite(stop) | np.isnan(begin)))
                where += ["strata"] * bool(lost_stratum.any())
                where += ["cluster"] * bool(lost_group.any())
                raise DataError(
                    f"{counted(missed, 'row')} of {int(weights.sum()):,} lack a finite value of "
                    f"{', '.join(map(repr, where))}; mend them, or leave them out by "
                    "missing: drop"
                )
            notes["missing"] = missed
        never = ~lost & ~(begin < stop) & (weights > 0)
        if never.any():
            notes["no_time_at_risk"] = int(weights[never].sum())
        kept = ~lost & ~never & (weights > 0)
        if not kept.all():
            stop, begin, happened, table = stop[kept], begin[kept], happened[kept], table[kept]
            weights = weights[kept]
            stratum = None if stratum is None else stratum[kept]
            group = None if group is None else group[kept]
            other = None if other is None else other[kept]
            pattern = None if pattern is None else pattern[kept]
        return cls(
            names, begin, stop, happened, table, weights, stratum, group, other, pattern,
            tuple(labels if strata_names is None else strata_names), tuple(strata_keys),
            tuple(Coding(c) for c in names) if coding is None else tuple(coding), notes,
        )  # fmt: skip

    @property
    def rows(self) -> int:
        return len(self.stop)

    @property
    def k(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Rows, each counted n times."""
        return int(self.n.sum())

    @property
    def events(self) -> int:
        """Events, each counted n times."""
        return int(self.n[self.event].sum())

    def columns(self, kept: Sequence[int]) -> SurvivalData:
        """The same rows with only these covariates."""
        if list(kept) == list(range(self.k)):
            return self
        x = np.ascontiguousarray(self.x[:, list(kept)])
        return dataclasses.replace(self, names=tuple(self.names[i] for i in kept), x=x)

    def expanded(self) -> SurvivalData:
        """Every row n times with n = 1."""
        place = np.repeat(np.arange(self.rows), self.n)
        rows: dict[str, Any] = {
            f: None if getattr(self, f) is None else getattr(self, f)[place]
            for f in ("start", "stop", "event", "x", "strata", "cluster", "competing", "pattern")
        }
        return dataclasses.replace(self, n=np.ones(len(place), np.int64), **rows)


def _empty(x: Any) -> Floats:
    table = np.asarray(x, np.float64)
    return table.reshape(0, table.shape[1] if table.ndim == 2 else 0)


def _counts(n: Any) -> Counts:
    given = np.asarray(n)
    whole = np.asarray(given, np.float64)
    if not (np.all(np.isfinite(whole)) and np.all(whole >= 0) and np.all(whole == np.rint(whole))):
        raise ValueError("n holds something that is not a count; weights here are whole numbers")
    return given.astype(np.int64)


def _coded(values: Any, rows: int, what: str) -> tuple[Places | None, list[str], Bools]:
    """Codes, what they mean, and which rows have none."""
    if values is None:
        return None, [], np.zeros(rows, bool)
    array = np.asarray(values)
    if array.shape != (rows,):
        raise ValueError(f"{what} has shape {array.shape}, not {(rows,)}")
    codes, levels = codes_of(array)
    none = np.array([v is None or v != v for v in levels.tolist()], bool)
    return codes, [f"{v:g}" if isinstance(v, float) else str(v) for v in levels], none[codes]
