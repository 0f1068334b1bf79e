"""Times at risk, events and strata of rows in; who is at risk at which event time out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from retention_lab.data.codes import times_of
from retention_lab.survival.model.data import SurvivalData

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]
CHUNK = 1 << 15


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Linger:
    """Rows that stay at risk after their own end, with a weight that goes on changing.

    After its own end row `row` counts at event time g with `factor` x `multiplier[g]`.

    ========== ====== ======================================
    row        L      position of the row, ascending
    begin      L      its first event time after its end (G: none)
    factor     L      its own part of the weight
    multiplier G      the part of the event time
    ========== ====== ======================================
    """

    row: Places
    begin: Places
    factor: Floats
    multiplier: Floats

    def within(self, part: slice) -> slice:
        """Those whose rows are in `part`."""
        low, high = np.searchsorted(self.row, [part.start, part.stop])
        return slice(int(low), int(high))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RiskSets:
    """G event times (of all strata, sorted by stratum and time) and R rows.

    ======== ===== =====================================================================
    time     G     event times, ascending within a stratum
    stratum  G     code of the stratum
    deaths   G     events, each counted n times
    bounds   S + 1 event times bounds[s] .. bounds[s + 1] - 1 are those of stratum s
    upto     R     the last event time at which the row is at risk (G: at none)
    before   R     the last event time at which it is not yet at risk (G: there is none);
                   None where no row enters late
    ======== ===== =====================================================================
    """

    time: Floats
    stratum: Places
    deaths: Counts
    bounds: Places
    upto: Places
    before: Places | None
    linger: tuple[Linger, ...] = ()

    @classmethod
    def of(cls, data: SurvivalData) -> RiskSets:
        """The event times and risk sets of `data`: at risk on (start, stop] in the same stratum."""
        codes, levels = times_of(data.stop)
        width = len(levels) + 1
        strata = max(len(data.strata_names), 1)
        stratum = np.zeros(data.rows, np.intp) if data.strata is None else data.strata
        key = stratum * width + codes
        found, place = np.unique(key[data.event], return_inverse=True)
        deaths = np.zeros(len(found), np.int64)
        np.add.at(deaths, place, data.n[data.event])
        bounds = np.searchsorted(found, np.arange(strata + 1) * width)
        upto = np.searchsorted(found, key, side="right") - 1
        first = bounds[stratum]
        before = None
        if np.any(data.start > -np.inf):
            entry = np.searchsorted(levels, data.start, side="right") - 1
            before = np.searchsorted(found, stratum * width + entry, side="right") - 1
            before[(before < first) | (entry < 0)] = first[(before < first) | (entry < 0)] - 1
            upto = np.where(upto <= before, -1, upto)
            before = np.where((before < first) | (upto < 0), len(found), before)
        upto = np.where(upto < first, len(found), upto)
        return cls(levels[found % width], found // width, deaths, bounds, upto, before)

    @property
    def times(self) -> int:
        return len(self.time)

    def tails(self, values: Floats) -> Floats:
        """Sums over this and all later event times of the same stratum; `values` is [G, ...]."""
        return self._running(values[::-1], self.times - self.bounds[::-1])[::-1]

    def heads(self, values: Floats) -> Floats:
        """Sums over this and all earlier event times of the same stratum."""
        return self._running(values, self.bounds)

    def spread(self, values: Floats) -> Spread:
        """Sums of `values` [G, ...] over the event times at which a row is at risk, by row."""
        after = [_padded(self.tails((group.multiplier * values.T).T)) for group in self.linger]
        return Spread(self, _padded(self.heads(values)), after)

    def _running(self, values: Floats, bounds: Places) -> Floats:
        """Cumulative sums that begin anew at each of `bounds`."""
        lengths = np.diff(bounds)
        if len(lengths) == 1:
            return np.cumsum(values, axis=0)
        out = np.array(values, np.float64)
        if len(lengths) <= (lengths.max() if len(lengths) else 0):
            for low, high in pairwise(bounds.tolist()):
                out[low:high] = np.cumsum(values[low:high], axis=0)
            return out
        order = np.argsort(-lengths, kind="stable")
        first, lengths = bounds[:-1][order], lengths[order]
        for step in range(1, int(lengths[0]) if len(lengths) else 0):
            here = first[: int(np.searchsorted(-lengths, -step, side="left"))] + step
            out[here] += out[here - 1]
        return out


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Running sums from which the sum of a row is looked up."""

    risk: RiskSets
    heads: Floats
    tails: Sequence[Floats]

    def rows(self, part: slice) -> Floats:
        """The sums of the rows of `part`, each time with the weight that the row has then."""
        risk = self.risk
        found = self.heads[risk.upto[part]]
        if risk.before is not None:
            found -= self.heads[risk.before[part]]
        for group, tails in zip(risk.linger, self.tails, strict=True):
            mine = group.within(part)
            more = (group.factor[mine] * tails[group.begin[mine]].T).T
            found[group.row[mine] - part.start] += more
        return found


def chunks(rows: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover `rows` rows."""
    for begin in range(0, rows, size):
        yield slice(begin, min(begin + size, rows))


def _padded(values: Floats) -> Floats:
    return np.concatenate([values, np.zeros((1, *values.shape[1:]))])
