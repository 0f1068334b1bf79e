"""A plan, its Moments and one metric in; the metric's rows for everyone and by segment out."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from retention_lab.ab import estimate as est
from retention_lab.ab.margin import Comparison, Margin
from retention_lab.ab.quantile import quantile_difference, quantile_level, quantile_lift
from retention_lab.ab.rare import POOLED, without_rare
from retention_lab.ab.rolled import Rolled
from retention_lab.ab.shrink import heterogeneity, shrink
from retention_lab.ab.split import MISMATCH, same_levels
from retention_lab.data.moments import Moments
from retention_lab.data.values import Distribution
from retention_lab.experiment.needs import Column, Needs
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.spec import CROSS, Metric
from retention_lab.results import Row

FEW_EVENTS = 5
LARGE = 0.5
IMPLAUSIBLE = f"implausible: a change above {LARGE:.0%} is rare; look for a fault before believing"


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a comparison is made: everyone, or a level of a segment (crossed ones have several).

    `hidden` arms are too small to be shown; `fault` says why nothing can be had here.
    """

    segment: str | None = None
    level: str | None = None
    levels: tuple[str, ...] = ()
    hidden: frozenset[str] = frozenset()
    fault: str | None = None


class MetricRows:
    """What is said of one metric."""

    def __init__(
        self,
        plan: Plan,
        moments: Rolled,
        metric: Metric,
        hide: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        """`hide` are the hidden levels by segment; covariates' rare levels go with them."""
        assert plan.spec.design is not None
        self.plan, self.moments, self.metric = plan, moments, metric
        self.need: Needs = plan.needed[metric.name]
        self.arm_key, self.arms = plan.spec.design.arm, plan.arms
        self.cluster = plan.spec.design.randomised
        self.alpha, self.least = plan.spec.inference.alpha, plan.spec.privacy.min_cell
        self.ratio = self.need.denominator is not None
        column = self.need.numerator
        self.share = not (self.ratio or self.cluster) and (column.binary or column.how == "any")
        self.quantile = metric.quantile
        self.everyone = self.margin()
        if hide is not None and self.need.covariates:
            self.need = without_rare(self.need, self.everyone.units, self.least, hide)
            self.everyone = self.margin()
        self.pooled = len(self.need.covariates) < len(plan.needed[metric.name].covariates)
        self.fault = plan.faults.get(metric.name) or self._uneven()

    def margin(self, *segments: str, alpha: float | None = None) -> Margin:
        """The metric by arm and `segments`."""
        keys = (self.arm_key, *segments)
        return Margin(self.moments, self.need, self.cluster, keys, alpha or self.alpha)

    def alone(self) -> Margin:
        """The metric by arm as if every unit had been randomised by itself."""
        return Margin(self.moments, self.need, None, (self.arm_key,), self.alpha)

    def column(self, column: Column, covariates: tuple[Column, ...] = ()) -> Margin:
        """The mean of another column by arm."""
        alone = Needs(self.metric.name, column, covariates=covariates)
        return Margin(self.moments, alone, self.cluster, (self.arm_key,), self.alpha)

    @property
    def estimand(self) -> str:
        """What a comparison of two arms is called."""
        if self.quantile:
            return "quantile_difference"
        return "ratio_difference" if self.ratio else "mean_difference"

    @property
    def test(self) -> str:
        """The name of the test, as it stands in `method`."""
        if self.quantile:
            return "order statistics, MOVER"
        parts = ["delta method"] if self.ratio else []
        parts += ["sums by cluster"] if self.cluster else []
        return ", ".join([*parts, "Welch t"])

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Units that count for the metric: segment -> level -> arm -> n."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for segments in by_segment(self.plan):
            keys = (self.arm_key, *segments)
            m = Margin(self.moments, self.need, None, keys, self.alpha)
            levels = dict.fromkeys(c[1:] for c in m.units.cells)
            found[CROSS.join(segments)] = {
                CROSS.join(lv): {a: m.n(a, *lv) for a in self.arms} for lv in levels
            }
        return found

    def rows(self, hide: Mapping[str, Collection[str]]) -> Iterator[Row]:
        yield from self._quality()
        counts = {arm: self.everyone.n(arm) for arm in self.arms}
        hidden = frozenset(a for a, n in counts.items() if 0 < n < self.least)
        place = Place(hidden=hidden, fault=self.fault)
        yield from self._compared(self.everyone, place)
        yield from self._before(place)
        yield from self._uncapped(place)
        for segments in by_segment(self.plan):
            yield from self._segment(segments, hide[CROSS.join(segments)])

    def _uneven(self) -> str | None:
        """Values missing in one arm more than in another: what is left is not comparable."""
        if self.cluster is not None or not any(c.missing == "drop" for c in self.need.columns):
            return None  # of whole clusters a count of units is not independent
        known = [self.everyone.n(arm) for arm in self.arms]
        sizes = [size(self.everyone.units, arm) for arm in self.arms]
        test = same_levels([[n, whole - n] for n, whole in zip(known, sizes, strict=True)])
        if test is None or test.p_value >= MISMATCH:
            return None
        return (
            "uneven_missing: the arms differ beyond chance in how many values are missing "
            f"(chi-square p = {test.p_value:.2g}), so those that are left cannot be compared"
        )

    def _quality(self) -> Iterator[Row]:
        """Units that do not count: their window has not elapsed, or they have no value."""
        column, units = self.need.numerator, self.everyone.units
        known = int(units.n[:, units.pair(column.name)].sum())
        gone = units.units - known
        immature = gone if column.matures is not None else 0
        if self.need.mature is not None:
            name = self.need.mature.name
            at, cells = units.pair(name), range(len(units.cells))
            immature = units.units - round(sum(units.n[i, at] * units.mean(i, name) for i in cells))
        hide = any(0 < size(units, arm) < self.least for arm in self.arms)
        for estimand, count in (("immature", immature), ("missing", gone - immature)):
            if count == 0:
                continue
            small = estimand == "missing" and count < self.least
            yield Row(
                analysis="quality",
                metric=self.metric.name,
                estimand=estimand,
                estimate=None if small else count,
                n=None if hide else known,
                note=too_small(self.least) if small else None,
            )

    def _compared(self, m: Margin, place: Place) -> Iterator[Row]:
        """Levels of all arms, then each arm against the control (or each pair of arms)."""
        where: dict[str, Any] = {
            "analysis": "ab",
            "metric": self.metric.name,
            "segment": place.segment,
            "level": place.level,
        }
        for arm in self.arms:
            no = self.reason(place, arm)
            found = est.Estimate(note=no) if no else self._level(m, (arm, *place.levels))
            estimand = "ratio" if self.ratio else "quantile" if self.quantile else "mean"
            n = None if arm in place.hidden else m.n(arm, *place.levels)
            method = "Wilson" if self.share else self.test.replace("Welch t", "Student t")
            method = "order statistics" if self.quantile else method
            yield row(found, **where, estimand=estimand, arm=arm, n=n, method=method)
        for arm, base in pairs(self.plan):
            yield from self._pair(m, place, where, arm, base)

    def _pair(
        self, m: Margin, place: Place, where: dict[str, Any], arm: str, base: str
    ) -> Iterator[Row]:
        no = self.reason(place, arm, base)
        both: dict[str, Any] = {**where, **self.sizes(m, place, arm, base)}
        found = Comparison(est.Estimate(note=no), est.Estimate(note=no))
        if no is None:
            found = self._compare(m, (arm, *place.levels), (base, *place.levels))
        few = None if no else self._few(m, place, arm, base) or found.unadjusted
        if no is None and self.pooled and not self.need.covariates:
            few = few or POOLED
        adjusted = self.test if found.plain is None else f"{self.test} after Lin's adjustment"
        estimand = self.estimand
        yield row(noted(found.difference, few), **both, estimand=estimand, method=adjusted)
        lift = noted(found.lift, few)
        if lift.estimate is not None and abs(lift.estimate) > LARGE and place.segment is None:
            lift = noted(lift, IMPLAUSIBLE)
        way = adjusted if self.quantile else f"Fieller, {adjusted}"
        yield row(lift, **both, estimand="relative_lift", method=way)
        if found.plain is not None:
            yield row(found.plain, **both, estimand="unadjusted_difference", method=self.test)
        if found.reduction is not None:
            gain = est.Estimate(found.reduction, note=POOLED if self.pooled else None)
            yield row(gain, **both, estimand="variance_reduction", method="Lin's adjustment")

    def _level(self, m: Margin, cell: tuple[str, ...]) -> est.Estimate:
        if self.quantile:
            return quantile_level(self._values(m, cell), self.quantile, self.alpha)
        interval = est.share_interval if self.share else est.level_interval
        return interval(m.level(*cell), self.alpha)

    def _compare(self, m: Margin, arm: tuple[str, ...], base: tuple[str, ...]) -> Comparison:
        if not self.quantile:
            return m.compare(arm, base)
        a, b = self._values(m, arm), self._values(m, base)
        return Comparison(
            quantile_difference(a, b, self.quantile, self.alpha),
            quantile_lift(a, b, self.quantile, self.alpha),
        )

    def _values(self, m: Margin, cell: tuple[str, ...]) -> Distribution:
        return self.moments.counts(self.need.numerator.name, *m.keys).distribution(*cell)

    def reason(self, place: Place, *arms: str) -> str | None:
        """Why nothing is said of `arms` here."""
        if place.fault is not None:
            return place.fault
        if not place.hidden.intersection(arms):
            return None
        beside = ", or hidden with such a level, which it would give away" if place.segment else ""
        return too_small(self.least) + beside

    def sizes(self, m: Margin, place: Place, arm: str, base: str) -> dict[str, Any]:
        """Who is compared with whom, and how many units each has."""
        n = {a: None if a in place.hidden else m.n(a, *place.levels) for a in (arm, base)}
        return {"arm": arm, "baseline": base, "n": n[arm], "n_baseline": n[base]}

    def _few(self, m: Margin, place: Place, *arms: str) -> str | None:
        """A warning where a share rests on a handful of events or non-events."""
        if not self.share:
            return None
        for arm in arms:
            n, share = m.n(arm, *place.levels), m.level(arm, *place.levels).estimate
            if n and min(share, 1.0 - share) * n < FEW_EVENTS:
                return f"few_events: an arm has fewer than {FEW_EVENTS} with or without the event"
        return None

    def _uncapped(self, place: Place) -> Iterator[Row]:
        """What a capped metric's difference is without the cap."""
        if self.need.uncapped is None:
            return
        m = self.column(self.need.uncapped, self.need.covariates)
        for arm, base in pairs(self.plan):
            no = self.reason(place, arm, base)
            found = Comparison(est.Estimate(note=no), est.Estimate(note=no))
            if no is None:
                found = m.compare((arm,), (base,))
            after = "" if found.plain is None else " after Lin's adjustment"
            yield row(
                found.difference,
                analysis="ab",
                metric=self.metric.name,
                estimand="uncapped_difference",
                method=f"{self.test}{after}",
                **self.sizes(m, place, arm, base),
            )

    def _before(self, place: Place) -> Iterator[Row]:
        """The same measure before exposure: a randomised arm cannot have changed it."""
        if self.need.before is None:
            return
        m = self.column(self.need.before)
        for arm, base in pairs(self.plan):
            no = self.reason(place, arm, base)
            found = est.Estimate(note=no) if no else m.compare((arm,), (base,)).difference
            yield row(
                found,
                analysis="ab",
                metric=self.metric.name,
                estimand="pre_period_difference",
                method="Welch t",
                **self.sizes(m, place, arm, base),
            )

    def _segment(self, segments: Sequence[str], hide: Collection[str]) -> Iterator[Row]:
        m = self.margin(*segments)
        levels = sorted({c[1:] for c in m.units.cells})
        table = [[size(m.units, a, *lv) for lv in levels] for a in self.arms]
        test, name = same_levels(table), CROSS.join(segments)
        fault = self.fault
        if test is not None and test.p_value < MISMATCH and self.cluster is None:
            fault = fault or (
                f"post_treatment: the arms differ in {name!r} beyond chance "
                f"(chi-square p = {test.p_value:.2g}), so it may be a result of the treatment"
            )
        shown: list[Row] = []
        for lv in levels:
            level = CROSS.join(lv)
            hidden = frozenset(self.arms) if level in hide else frozenset()
            shown += self._compared(m, Place(name, level, lv, hidden, fault))
        yield from shown
        if self.cluster is None:  # a cluster spans levels, whose effects are then not independent
            yield from self._between(name, shown)

    def _between(self, segment: str, shown: Sequence[Row]) -> Iterator[Row]:
        """Do the levels' effects differ, and what is left of each after shrinkage?"""
        estimand = self.estimand
        for arm, base in pairs(self.plan):
            known = [
                r
                for r in shown
                if (r.estimand, r.arm, r.baseline) == (estimand, arm, base) and r.std_error
            ]
            if len(known) < 2:
                continue
            effects = np.array([r.estimate for r in known], float)
            errors = np.array([r.std_error for r in known], float)
            where: dict[str, Any] = {
                "analysis": "ab",
                "metric": self.metric.name,
                "segment": segment,
                "arm": arm,
                "baseline": base,
            }
            test = heterogeneity(effects, errors)
            yield Row(
                **where,
                estimand="heterogeneity",
                estimate=None if test.tau2 is None else test.tau2**0.5,
                p_value=test.p_value,
                term=f"standard deviation between {len(known)} levels; chi-square, {test.df} df",
                note=test.note,
                method="Cochran's Q; Paule-Mandel",
            )
            pulled = shrink(effects, errors, self.alpha)
            for i, r in enumerate(known):
                yield Row(
                    **where,
                    level=r.level,
                    estimand="shrunken_difference",
                    estimate=_known(pulled.estimate[i]),
                    std_error=_known(pulled.std_error[i]),
                    ci_low=_known(pulled.low[i]),
                    ci_high=_known(pulled.high[i]),
                    n=r.n,
                    n_baseline=r.n_baseline,
                    note=pulled.note,
                    method="empirical Bayes, Paule-Mandel",
                )


def by_segment(plan: Plan) -> list[tuple[str, ...]]:
    """The segments of the file, each alone, then the crossed ones."""
    return [*((s,) for s in plan.spec.segments), *plan.spec.crossed_segments]


def pairs(plan: Plan) -> list[tuple[str, str]]:
    """Which arm is compared with which: all with the control, then, if asked, the others."""
    arms = plan.arms
    first = [(arm, arms[0]) for arm in arms[1:]]
    if plan.spec.inference.comparisons == "control":
        return first
    return first + [(b, a) for i, a in enumerate(arms[1:], 1) for b in arms[i + 1 :]]


def size(m: Moments, *levels: str) -> int:
    """Units in the cell with these levels."""
    cell = m.cell(*levels)
    return 0 if cell is None else int(m.size[cell])


def too_small(least: int) -> str:
    return f"suppressed: fewer than {least} units"


def row(found: est.Estimate, **where: Any) -> Row:
    """An estimate and where it belongs, as a row."""
    return Row(
        estimate=found.estimate,
        std_error=found.std_error,
        ci_low=found.low,
        ci_high=found.high,
        p_value=found.p_value,
        note=found.note,
        **where,
    )


def noted(found: est.Estimate, note: str | None) -> est.Estimate:
    """The estimate with a note, where it has none."""
    return dataclasses.replace(found, note=found.note or note)


def _known(value: float) -> float | None:
    return None if value != value else float(value)
