"""Starts, stops, causes and counts as they come in; checked rows, and what was left out, out."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

NEGATIVE = "negative_duration"  # it stops before 0
EMPTY = "empty_interval"  # it stops at or before its start
MISSING = "missing_time"  # NaN, or a stop without end
TIMES = ("start", "stop", "cause", "n")

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Cause = npt.NDArray[np.int8]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spells:
    """Rows of units at risk on (start, stop], each array [rows]; neither unique nor sorted."""

    start: Floats
    stop: Floats
    cause: Cause
    n: Counts

    @classmethod
    def checked(cls, stop: Any, cause: Any, n: Any, start: Any, causes: int) -> Spells:
        """From what callers give; ValueError for shapes, causes or counts that cannot be."""
        time = np.asarray(stop, np.float64)
        given = {
            "cause": np.asarray(cause),
            "n": np.ones(time.shape, np.int64) if n is None else np.asarray(n),
            "start": np.full(time.shape, -np.inf) if start is None else np.asarray(start),
        }
        for name, values in given.items():
            if time.ndim != 1 or values.shape != time.shape:
                raise ValueError(f"{name} has shape {values.shape}, but stop {time.shape}")
        what, count = _whole(given["cause"], "cause"), _whole(given["n"], "n")
        if not 1 <= causes <= 127:
            raise ValueError(f"{causes} causes; there may be 1 to 127")
        if len(what) and not (what.min() >= 0 and what.max() <= causes):
            raise ValueError(f"causes must lie in 0 .. {causes}")
        if len(count) and count.min() < 0:
            raise ValueError("n must not be negative")
        began = given["start"].astype(np.float64) + 0.0
        return cls(began, time + 0.0, what.astype(np.int8), count)

    def usable(self) -> tuple[Spells, npt.NDArray[np.bool_] | None, dict[str, int]]:
        """The rows that can be used, which these are (None: all), and units left out by code."""
        faults = {
            MISSING: np.isnan(self.stop) | np.isnan(self.start) | np.isposinf(self.stop),
            NEGATIVE: self.stop < 0,
            EMPTY: self.stop <= self.start,
        }
        bad = self.n == 0
        left_out = {}
        for code, fault in faults.items():
            units = int(self.n[fault & ~bad].sum())
            if units:
                left_out[code] = units
            bad |= fault
        if not bad.any():
            return self, None, {}
        kept = ~bad
        return Spells(*(getattr(self, k)[kept] for k in TIMES)), kept, left_out


def _whole(values: npt.NDArray[Any], name: str) -> Counts:
    if len(values) == 0:
        return np.zeros(0, np.int64)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be whole numbers, not {values.dtype}")
    if values.dtype.kind == "f" and not np.all(np.isfinite(values) & (values == np.floor(values))):
        raise ValueError(f"{name} must be whole numbers")
    return values.astype(np.int64)
