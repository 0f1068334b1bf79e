"""Units or a design, with traffic, in; how long a test takes, and what it can see when, out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from retention_lab.ab.power import (
    TOO_LITTLE_TRAFFIC,
    Design,
    Floats,
    Outcome,
    detectable_effect,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Duration:
    """Day (1 is the first) on which the last unit enters, and at whose end results can be read."""

    last_entry: int | None = None
    read_out: int | None = None
    units: float | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """For D days of entry: the day of read-out, units so far, detectable effects (nan: none)."""

    last_entry: npt.NDArray[np.int64]
    read_out: npt.NDArray[np.int64]
    units: Floats
    absolute: Floats
    relative: Floats


def duration(units: float, traffic: npt.ArrayLike, window: float = 0.0) -> Duration:
    """Days until `units` have entered and the last one's `window` (days) has elapsed.

    `traffic` (D,) is the number of new units a day; see `decaying`. A unit that enters on day d
    counts at the end of day d + window, rounded up to whole days: the window is of its own. A
    metric without a window can be read at the end of the last day of entry. ValueError for
    traffic or a window that is negative or not a number.
    """
    so_far = _entered(traffic, window)
    enough = np.flatnonzero(so_far >= units * (1 - 1e-12))
    if not len(enough):
        return Duration(note=TOO_LITTLE_TRAFFIC)
    last = int(enough[0]) + 1
    return Duration(last, last + math.ceil(window), float(so_far[last - 1]))


def curve(outcome: Outcome, design: Design, traffic: npt.ArrayLike, window: float = 0.0) -> Curve:
    """The detectable effect, were entry to stop after each day of `traffic`; see `duration`."""
    so_far = _entered(traffic, window)
    found = [detectable_effect(float(n), outcome, design) for n in so_far]
    last = np.arange(1, len(so_far) + 1)
    columns = ([e.absolute for e in found], [e.relative for e in found])
    absolute, relative = (np.array(c, dtype=np.float64) for c in columns)
    return Curve(last, last + math.ceil(window), so_far, absolute, relative)


def decaying(first: float, days: int, half_life: float, floor: float = 0.0) -> Floats:
    """New units a day after a peak: floor + (first - floor) 2^(-day / half_life), day 0, 1, ..."""
    return np.asarray(floor + (first - floor) * 0.5 ** (np.arange(days) / half_life), np.float64)


def _entered(traffic: npt.ArrayLike, window: float) -> Floats:
    daily = np.asarray(traffic, np.float64)
    if (
        daily.ndim != 1
        or not np.all((daily >= 0) & (daily < math.inf))
        or not 0 <= window < math.inf
    ):
        raise ValueError("traffic is one number of 0 or more a day, window 0 days or more")
    return np.cumsum(daily)
