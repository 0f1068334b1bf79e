"""Effects by group and period in; their averages, each with its error, out.

Callaway, Sant'Anna (2021), section 3: over all (`simple`), by group, by time since the start
(`dynamic`) and by calendar period. The influences count how large the groups happen to be as well.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from retention_lab.incentives.rollout.staggered import Bools, Cells, Floats


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Average:
    """A weighted average of cells: `at` is its group, period or time since the start.

    `cells` (K) are its weights; `influence` (M) and `null` (M) the influences of the markets, as
    estimated and where no market has an effect (its mean is the estimate). `share` (M, mean 1) is
    the part that a market's own change has in it; 0 where the market is compared with. `start` (M)
    is the position of a market's first treated period, inf: never. `weight` (M) is how much a
    market counts.
    """

    at: int | None
    estimate: float
    cells: Floats
    influence: Floats
    null: Floats
    share: Floats
    start: Floats
    weight: Floats

    @property
    def treated(self) -> Bools:
        """(M) the markets whose own changes it rests on."""
        return np.asarray(self.share > 0)

    @property
    def n(self) -> int:
        return int(self.treated.sum())

    @property
    def n_controls(self) -> int:
        return int((~self.treated & (self.null != 0)).sum())

    @property
    def std_error(self) -> float:
        """The analytic error, clustered by market, as in large samples."""
        return math.sqrt(float(self.influence @ self.influence)) / len(self.influence)


@dataclasses.dataclass(frozen=True, slots=True)
class Averages:
    """Averages by what they are sorted by, and their `overall` average."""

    overall: Average
    parts: tuple[Average, ...] = ()


class Averager:
    """The averages of `cells`, by groups as large as `adopted` and `weight` (both M) say."""

    def __init__(self, cells: Cells, adopted: Floats, weight: Floats | None = None) -> None:
        markets = len(adopted)
        w = np.ones(markets) if weight is None else weight / weight.mean()
        self.cells, self.own, self.start, self.weight = cells, cells.influence, adopted, w
        self.member = (adopted[None, :] == cells.group[:, None]) * w  # (K, M)
        self.size = self.member.mean(axis=1)

    def simple(self) -> Averages:
        """Every market and period since it began counts the same (by its weight)."""
        return Averages(self._weighted(self.cells.after, None))

    def dynamic(self, earliest: int | None = None, latest: int | None = None) -> Averages:
        """By time since the start, placebos before it included; overall: of the times since."""
        since = self.cells.since
        parts = [
            self._weighted(since == e, int(e))
            for e in np.unique(since)
            if (earliest is None or e >= earliest) and (latest is None or e <= latest)
        ]
        return Averages(self._mean([p for p in parts if (p.at or 0) >= 0]), tuple(parts))

    def calendar(self) -> Averages:
        """By period, of the markets that had begun; overall: each period counts the same."""
        after = self.cells.after
        parts = [
            self._weighted(after & (self.cells.period == t), int(t))
            for t in np.unique(self.cells.period[after])
        ]
        return Averages(self._mean(parts), tuple(parts))

    def groups(self) -> Averages:
        """By group, the mean of its periods since it began; overall: by the groups' sizes."""
        after, group = self.cells.after, self.cells.group
        parts, firsts = [], []
        for g in np.unique(group[after]):
            mine = after & (group == g)
            parts.append(self._average(mine / mine.sum(), int(g)))
            firsts.append(int(np.flatnonzero(mine)[0]))
        sizes = self.size[firsts]
        part = _of_sizes(sizes, self.member[firsts]) @ np.array([p.estimate for p in parts])
        overall = self._average((sizes / sizes.sum()) @ np.array([p.cells for p in parts]), None)
        influence = (sizes / sizes.sum()) @ np.array([p.influence for p in parts]) + part
        return Averages(dataclasses.replace(overall, influence=influence), tuple(parts))

    def cell(self, k: int) -> Average:
        """A cell by itself."""
        alone = np.zeros(len(self.size))
        alone[k] = 1.0
        return self._average(alone, int(self.cells.period[k]))

    def _average(self, cells: Floats, at: int | None) -> Average:
        """An average by given weights."""
        c = self.cells
        return Average(
            at=at,
            estimate=float(cells @ c.att),
            cells=cells,
            influence=np.asarray(cells @ self.own),
            null=np.asarray(cells @ c.raw),
            share=np.asarray(cells @ c.share),
            start=self.start,
            weight=self.weight,
        )

    def _weighted(self, kept: Bools, at: int | None) -> Average:
        """The cells that are `kept`, by the sizes of their groups, which are known by chance."""
        sizes = np.where(kept, self.size, 0.0)
        found = self._average(sizes / sizes.sum(), at)
        part = _of_sizes(self.size[kept], self.member[kept]) @ self.cells.att[kept]
        return dataclasses.replace(found, influence=found.influence + part)

    def _mean(self, parts: Sequence[Average]) -> Average:
        """Every part counts the same."""
        found = self._average(np.mean([p.cells for p in parts], axis=0), None)
        influence = np.mean([p.influence for p in parts], axis=0)
        return dataclasses.replace(found, influence=influence)


def _of_sizes(sizes: Floats, member: Floats) -> Floats:
    """(M, K): what a market changes in the weights sizes / sum(sizes)."""
    total = sizes.sum()
    own = member - sizes[:, None]
    return np.asarray((own / total - sizes[:, None] * own.sum(axis=0) / total**2).T)
