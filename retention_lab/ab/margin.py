"""A reduction rolled up for one metric in; levels of arms, and comparisons of two, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from retention_lab.ab import estimate as est
from retention_lab.ab.adjust import Adjusted, adjust
from retention_lab.ab.cluster import by_cluster
from retention_lab.ab.rolled import Rolled
from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import Needs


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Arm against base: what counts, and where it is adjusted, what it was before and gained.

    `reduction` is the share of the difference's variance that the adjustment took away;
    `unadjusted` says why there was none, where covariates were asked for.
    """

    difference: est.Estimate
    lift: est.Estimate
    plain: est.Estimate | None = None
    reduction: float | None = None
    unadjusted: str | None = None


class Margin:
    """One metric in the cells of `keys`, the arm first: whole units, or clusters of them."""

    def __init__(
        self,
        moments: Moments | Rolled,
        need: Needs,
        cluster: str | None,
        keys: Sequence[str],
        alpha: float,
    ) -> None:
        self.need, self.alpha, self.keys = need, alpha, tuple(keys)
        self.units = moments.roll_up(*keys)
        last = need.denominator.name if need.denominator is not None else None
        self._pair = self.units.pair(need.numerator.name, last)
        self._of_clusters = by_cluster(moments, cluster, need, *keys) if cluster else None

    def n(self, *levels: str) -> int:
        """Units that count for the metric in the cell with these levels."""
        cell = self.units.cell(*levels)
        return 0 if cell is None else int(self.units.n[cell, self._pair])

    def level(self, *levels: str) -> est.Level:
        """The mean or ratio in the cell with these levels."""
        if self._of_clusters is not None:
            cell = self._of_clusters.moments.cell(*levels)
            missing = est.Level(float("nan"), float("nan"), 0)
            return missing if cell is None else self._of_clusters.levels[cell]
        cell = self.units.cell(*levels)
        y, d = self.need.numerator.name, self.need.denominator
        if d is not None:
            return est.ratio_level(self.units, cell, y, d.name)
        return est.mean_level(self.units, cell, y)

    def compare(self, arm: Sequence[str], base: Sequence[str]) -> Comparison:
        """The cell `arm` against the cell `base`, adjusted where the metric has covariates."""
        levels = self.level(*arm), self.level(*base)
        plain = est.difference(levels[0], levels[1], self.alpha)
        found = self.adjusted(arm, base) if self.need.covariates else None
        if found is None or isinstance(found, str):
            lift = est.relative_lift(levels[0], levels[1], self.alpha)
            return Comparison(plain, lift, unadjusted=found)
        shared = found.shared(0, 1)
        one, two = found.levels
        difference = est.difference(one, two, self.alpha, shared)
        lift = est.relative_lift(one, two, self.alpha, shared)
        if difference.std_error is None or plain.std_error is None:
            return Comparison(difference, lift, plain)
        reduction = 1.0 - (difference.std_error / plain.std_error) ** 2
        return Comparison(difference, lift, plain, reduction)

    def difference(self, arm: Sequence[str], base: Sequence[str]) -> est.Estimate:
        """That of `compare` alone, which takes a third of the time."""
        found = self.adjusted(arm, base) if self.need.covariates else None
        if found is None or isinstance(found, str):
            return est.difference(self.level(*arm), self.level(*base), self.alpha)
        one, two = found.levels
        return est.difference(one, two, self.alpha, found.shared(0, 1))

    def adjusted(self, *cells: Sequence[str]) -> Adjusted | str:
        """The levels of several cells at their common covariates; a text where that cannot be."""
        levels = [self.level(*c) for c in cells]
        for level in levels:
            if level.doubt is not None or level.n < 2:
                return level.doubt or est.TOO_FEW
        m = self._of_clusters.moments if self._of_clusters is not None else self.units
        last = self.need.denominator.name if self.need.denominator is not None else None
        return adjust(
            m,
            [m.cells.index(tuple(c)) for c in cells],
            levels,
            self.need.numerator.name,
            None if self._of_clusters is not None else last,
            [c.name for c in self.need.covariates],
        )
