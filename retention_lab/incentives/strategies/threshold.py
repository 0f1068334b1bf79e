"""The plan and the units about a threshold in; the jump there, and whether to believe it, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from retention_lab.data.evidence import Evidence
from retention_lab.data.moments import Floats
from retention_lab.data.threshold import Running
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms.ledger import FEW_BUYERS, Line, Terms, ledger
from retention_lab.incentives.arms.means import Contrast, Means
from retention_lab.incentives.threshold.bins import binned
from retention_lab.incentives.threshold.density import density_test, few_values
from retention_lab.incentives.threshold.local import Estimate, Jump, line, sides
from retention_lab.incentives.threshold.local import jump as jump_at
from retention_lab.incentives.threshold.measure import Measured, measure
from retention_lab.incentives.threshold.placebo import at_placebo, placebo_cutoffs
from retention_lab.results import Row

POINTS = 11  # of each fitted line
HEAP = 0.05  # of the units near the limit at one value
BELOW, ABOVE = "below", "above"
ROBUST = (
    "local linear, triangular kernel, MSE-optimal bandwidth, robust bias-corrected interval "
    "(Calonico, Cattaneo and Titiunik 2014)"
)
PLAIN = "local linear, triangular kernel, MSE-optimal bandwidth, not bias-corrected"
DENSITY = "local polynomial density, jackknife (Cattaneo, Jansson and Ma 2020)"
LEDGER = "effect at the limit, each unit above it costs the same"
NO_DENSITY = (
    "no_density: the density near the limit cannot be estimated; it takes 23 different values of "
    "the running variable on each side"
)
HEAPS = (
    "heaps: more than one unit in twenty near the limit has one and the same value; a heap can "
    "look like sorting, and need not be"
)


def rows(plan: Plan, evidence: Evidence) -> Iterator[Row]:
    """The effect of passing the limit on every outcome, its figure, and tests of the design.

    An effect is that on units at the limit: treated less not treated, so that where units below
    the limit are treated (`above: false`) it is left less right.
    """
    units, offer = evidence.running, plan.offer
    assert units is not None
    assert offer is not None
    asked = _Asked(plan, units)
    for metric in offer.outcomes:
        if metric in plan.faults:
            yield Row(analysis="incentive", metric=metric, estimand="threshold_effect",
                      method=ROBUST, note=plan.faults[metric])  # fmt: skip
            continue
        found = measure(units.running, units.outcomes[metric], asked.cutoff, asked.alpha)
        yield from asked.effect(metric, found)
        yield from asked.placebos(metric)
        yield from asked.picture(metric, found)
    yield asked.density()
    yield from asked.covariates()
    yield from asked.ledger()


class _Asked:
    """The plan's question of its units, and the rows that answer it."""

    def __init__(self, plan: Plan, units: Running) -> None:
        said = plan.spec.incentive
        assert said is not None
        assert said.cutoff is not None
        self.plan, self.units, self.said = plan, units, said
        self.cutoff = float(said.cutoff)
        self.alpha = plan.spec.inference.alpha
        self.sign = 1.0 if said.above else -1.0

    def effect(self, metric: str, found: Measured) -> Iterator[Row]:
        """The headline, the same without correction, and the bandwidths."""
        if found.jump is None or found.bandwidths is None:
            yield Row(analysis="incentive", metric=metric, estimand="threshold_effect",
                      method=ROBUST, note=found.note)  # fmt: skip
            return
        jump = found.jump
        counts = jump.n
        yield self._row("threshold_effect", jump.robust, counts, metric, ROBUST, note=found.note)
        yield self._row("threshold_effect", jump.conventional, counts, metric, PLAIN,
                        term="conventional", note=found.note)  # fmt: skip
        for term, width in (("h", jump.h), ("b", jump.b)):
            yield Row(analysis="incentive", metric=metric, estimand="bandwidth", term=term,
                      estimate=width, method="MSE-optimal, regularised")  # fmt: skip

    def placebos(self, metric: str) -> Iterator[Row]:
        """Jumps where nothing happens, each from units of one side only."""
        x = self.units.running
        for at in self.said.placebo_cutoffs or placebo_cutoffs(x, self.cutoff):
            found = at_placebo(x, self.units.outcomes[metric], self.cutoff, at, self.alpha)
            yield self._tested("placebo_cutoff", found, metric, at=_plain(at))

    def covariates(self) -> Iterator[Row]:
        """Jumps of what was known before, which the limit cannot move."""
        for term, values in self.units.covariates.items():
            found = measure(self.units.running, values, self.cutoff, self.alpha)
            yield self._tested("covariate_jump", found, None, term=term)

    def density(self) -> Row:
        """Whether units sort themselves to one side."""
        none = Row(analysis="incentive", estimand="density_test", method=DENSITY, note=NO_DENSITY)
        if few_values(self.units.running, self.cutoff):
            return none
        try:
            found = density_test(self.units.running, self.cutoff)
        except ValueError:
            return none
        left, right = found.n
        return Row(
            analysis="incentive",
            estimand="density_test",
            estimate=found.difference,
            std_error=found.error,
            p_value=found.p_value,
            n=right,
            n_baseline=left,
            method=DENSITY,
            note=HEAPS if _heaped(self.units.running, self.cutoff, found.widths) else None,
        )

    def picture(self, metric: str, found: Measured) -> Iterator[Row]:
        """Means in bins, and the two fitted lines."""
        least = self.plan.spec.privacy.min_cell
        quantile = _quantile(self.alpha)
        for side, term in zip(found.both, (BELOW, ABOVE), strict=True):
            for b in binned(side, least):
                half = quantile * b.error
                yield Row(
                    analysis="incentive",
                    metric=metric,
                    estimand="binned_mean",
                    term=term,
                    at=_plain(self.cutoff + b.u),
                    estimate=b.mean,
                    std_error=b.error or None,
                    ci_low=b.mean - half if half else None,
                    ci_high=b.mean + half if half else None,
                    n=b.n,
                    method="quantile-spaced bins",
                )
        if found.jump is None:
            return
        h = found.jump.h
        for side, term in zip(found.both, (BELOW, ABOVE), strict=True):
            end = max(-h, side.u[0]) if term == BELOW else min(h, side.u[-1])
            drawn = line(side, h, np.linspace(0.0, end, POINTS))
            for u, value, error in zip(drawn.u, drawn.value, drawn.error, strict=True):
                yield Row(
                    analysis="incentive",
                    metric=metric,
                    estimand="threshold_fit",
                    term=term,
                    at=_plain(self.cutoff + float(u)),
                    estimate=float(value),
                    std_error=float(error),
                    ci_low=float(value - quantile * error),
                    ci_high=float(value + quantile * error),
                    method=PLAIN,
                )

    def ledger(self) -> Iterator[Row]:
        """What a unit at the limit brings and costs, where the file says what it costs."""
        said, name = self.said, self.said.revenue
        if said.margin is None or name is None:
            return
        wanted = [name, *([said.returns] if said.returns is not None else [])]
        notes = [self.plan.faults[m] for m in wanted if m in self.plan.faults]
        kept = None
        sold = self.units.outcomes[name] if not notes else None
        if sold is not None:
            back = None if said.returns is None else self.units.outcomes[said.returns]
            kept = self._measured(sold if back is None else sold - back)
            notes = [str(kept.note)] if kept.jump is None else []
        if notes or sold is None or kept is None:
            yield Row(analysis="incentive", metric=name, estimand="incremental_profit",
                      method=LEDGER, note=notes[0])  # fmt: skip
            return
        goods = self._contrast(kept.jump)
        terms = Terms(said.margin, said.cost.contact, 0.0, said.min_roi)
        lines = ledger(("revenue",), goods, terms, self.alpha)
        if back is not None:
            # At the bandwidth of the goods that are kept, and of their units, so that lines add up.
            unknown = np.isnan(sold - back)
            own, gone = (
                {x.estimand: x for x in ledger(("revenue",), c, terms, self.alpha)}
                for c in (self._beside(kept, np.where(unknown, np.nan, v)) for v in (sold, back))
            )
            first, last = own["incremental_revenue"], own["revenue_ratio"]
            sent = dataclasses.replace(gone[first.estimand], estimand="incremental_returns")
            if sent.note == FEW_BUYERS:  # is about revenue
                sent = dataclasses.replace(sent, note=None)
            rest = [x for x in lines if x.estimand not in (first.estimand, last.estimand)]
            lines = [first, sent, *rest, last]
        for x in lines:
            yield self._line(name, x, goods, kept.note)

    def _line(self, metric: str, x: Line, found: Contrast, doubt: str | None) -> Row:
        """A line of the ledger; what is unsure bears the doubt of the jump that it rests on."""
        return Row(
            analysis="incentive",
            metric=metric,
            estimand=x.estimand,
            estimate=x.estimate,
            std_error=x.std_error,
            ci_low=x.low,
            ci_high=x.high,
            p_value=x.p_value,
            n=found.arm.units,
            n_baseline=found.base.units,
            method=f"{ROBUST}; {LEDGER}",
            note=x.note or (doubt if x.std_error is not None else None),
        )

    def _measured(self, outcome: Floats) -> Measured:
        return measure(self.units.running, outcome, self.cutoff, self.alpha)

    def _beside(self, measured: Measured, outcome: Floats) -> Contrast:
        """The limits of another outcome at the bandwidths of the one that was measured."""
        assert measured.bandwidths is not None
        h, b = measured.bandwidths.h, measured.bandwidths.b
        both = sides(self.units.running, outcome, self.cutoff)
        return self._contrast(jump_at(*both, h, b, self.alpha))

    def _contrast(self, found: Jump | None) -> Contrast:
        """The two limits of an outcome, the treated one first, as the means of two arms."""
        assert found is not None
        both = [
            Means(np.array([limit]), np.array([[error**2]]), n, n)
            for limit, error, n in zip(found.limits, found.errors, found.n, strict=True)
        ]
        base, arm = both if self.said.above else both[::-1]
        zero = np.zeros((1, 1))
        return Contrast(arm, base, zero, zero, zero)

    def _tested(
        self,
        estimand: str,
        found: Measured,
        metric: str | None,
        at: str | None = None,
        term: str | None = None,
    ) -> Row:
        """A jump that should not be there."""
        if found.jump is None:
            return Row(analysis="incentive", metric=metric, estimand=estimand, at=at, term=term,
                       method=ROBUST, note=found.note)  # fmt: skip
        jump = found.jump
        return self._row(estimand, jump.robust, jump.n, metric, ROBUST, at, term, found.note)

    def _row(
        self,
        estimand: str,
        e: Estimate,
        counts: tuple[int, int],
        metric: str | None,
        method: str,
        at: str | None = None,
        term: str | None = None,
        note: str | None = None,
    ) -> Row:
        """An estimate as a row, the treated side less the other."""
        low, high = sorted((self.sign * e.low, self.sign * e.high))
        others, treated = counts if self.said.above else counts[::-1]
        return Row(
            analysis="incentive",
            metric=metric,
            estimand=estimand,
            at=at,
            term=term,
            estimate=self.sign * e.value,
            std_error=e.error,
            ci_low=low,
            ci_high=high,
            p_value=e.p_value,
            n=treated,
            n_baseline=others,
            method=method,
            note=note,
        )


def _heaped(running: Floats, cutoff: float, widths: tuple[float, float]) -> bool:
    """Whether one value has more than `HEAP` of the units about the cutoff."""
    near = running[(running >= cutoff - widths[0]) & (running <= cutoff + widths[1])]
    _, counts = np.unique(near, return_counts=True)
    return bool(len(near) and counts.max() > HEAP * len(near) and len(counts) > 1 / HEAP)


def _quantile(alpha: float) -> float:
    from scipy import stats

    return float(stats.norm.isf(alpha / 2))


def _plain(value: float) -> str:
    """A number as text, short and without an exponent where it can be."""
    return f"{value:.10g}"
