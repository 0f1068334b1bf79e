"""The plan and the panel of a rollout in; its effects, and whether to believe them, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from retention_lab.data.evidence import Evidence
from retention_lab.data.panel import Panel
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.observed.sample import independent
from retention_lab.incentives.rollout.aggregate import Average, Averager, Averages
from retention_lab.incentives.rollout.few import ALONE, Error, error_of, sides_of
from retention_lab.incentives.rollout.pretrend import trend_test
from retention_lab.incentives.rollout.staggered import (
    NO_CONTROL,
    NO_OVERLAP,
    Cells,
    group_time_effects,
)
from retention_lab.incentives.rollout.synthetic import synthetic_difference
from retention_lab.incentives.rollout.wild import simultaneous, wild_p
from retention_lab.results import Row

FEW = 10  # markets on a side below which an interval rests on few
SYNTHETIC = 5  # treated markets up to which a synthetic control is made
MOST_WILD = 5000  # markets from which on a bootstrap says nothing that the error does not
TOGETHER = "simultaneous"
BIAS = "bias"
ONE = "one_market: one market stands alone on a side; it has no error of its own"
FLAT = "zero_variance: all markets changed alike: there is no error to compare with"
NOTHING = "no_control: no market began while others had not; there is no effect to be had"
FEW_TEXT = (
    "few_markets: in effect fewer than {} markets began, or did not; read the effect with care"
)
DROPPED = (
    "dropped_covariates: covariates that are constant, or follow from the others, are left out"
)
APART = (
    "no_overlap: groups whom the covariates tell from their controls, or that have too few, are "
    "left out; with fewer covariates they need not be"
)
LATER = (
    "some_periods: periods in which every market had begun are left out; nothing is left to "
    "compare them with"
)


def rows(plan: Plan, evidence: Evidence) -> Iterator[Row]:
    """Effects of the rollout on every outcome: overall, by time since the start, group and period.

    A single market that began is compared by synthetic difference-in-differences alone, which is
    then its average effect.
    """
    assert plan.offer is not None
    assert evidence.panel is not None
    for metric in plan.offer.outcomes:
        if metric in plan.faults:
            yield _row(metric, "average_effect", note=plan.faults[metric])
            continue
        yield from _Metric(plan, evidence.panel, metric).rows()


def _row(metric: str, estimand: str, **more: Any) -> Row:
    return Row(analysis="incentive", metric=metric, estimand=estimand, **more)


class _Metric:
    """The rows of one outcome."""

    def __init__(self, plan: Plan, panel: Panel, metric: str) -> None:
        said = plan.spec.incentive
        assert said is not None
        self.said, self.panel, self.metric = said, panel, metric
        self.alpha = plan.spec.inference.alpha
        self.y, self.weight = panel.square(metric), panel.market_weight()
        compared = "never" if said.controls == "never" else "not yet"
        adjusted = ", doubly robust" if panel.covariates else ""
        self.method = f"Callaway-Sant'Anna, {compared} treated controls{adjusted}, t by market"

    def rows(self) -> Iterator[Row]:
        known = np.isfinite(self.y).any(axis=1) & (self.weight > 0)
        treated = int((np.isfinite(self.panel.adopted) & known).sum())
        if treated > 1:
            yield from self._staggered()
        if treated <= SYNTHETIC:
            row = self._synthetic(known)
            if treated == 1 and row.estimate is not None:
                yield dataclasses.replace(row, estimand="average_effect")
            elif treated < 2:
                yield _row(self.metric, "average_effect", n=treated, method=self.method, note=ONE)
            yield row

    def _staggered(self) -> Iterator[Row]:
        panel = self.panel
        x = np.column_stack(list(panel.covariates.values())) if panel.covariates else None
        cells = group_time_effects(self.y, panel.adopted, self.weight, x, self.said.controls)
        if not cells.after.any():
            why = next((w for g, t, w in cells.missing if t >= g and w != NO_CONTROL), NOTHING)
            yield _row(self.metric, "average_effect", method=self.method, note=why)
            return
        made = Averager(cells, panel.adopted, self.weight)
        lost = any(t >= g and w == NO_CONTROL for g, t, w in cells.missing)
        simple, dynamic = made.simple().overall, made.dynamic()
        dropped = x is not None and bool(independent(x)[1])
        apart = any(t >= g and w == NO_OVERLAP for g, t, w in cells.missing)
        doubt = APART if apart else LATER if lost else DROPPED if dropped else None
        yield self._effect("average_effect", simple, doubt)
        if panel.weight.size and len(panel.markets) <= MOST_WILD:
            yield self._wild(simple)
        for term, found in (
            ("group", made.groups()),
            ("event_time", dynamic),
            ("calendar", made.calendar()),
        ):
            yield self._overall(term, found)
            if term == "group":
                for p in found.parts:
                    yield self._effect("group_effect", p, term=panel.periods[p.at or 0])
            elif term == "calendar":
                for p in found.parts:
                    yield self._effect("calendar_effect", p, at=panel.periods[p.at or 0])
        yield from self._course(dynamic.parts)
        yield from self._trend(dynamic.parts, made, simple)
        yield from self._cells(made, cells)

    def _effect(self, estimand: str, found: Average, doubt: str | None = None, **more: Any) -> Row:
        """An average with its interval by the t of its markets."""
        return self._with(estimand, found, error_of(found), doubt, **more)

    def _with(
        self, estimand: str, found: Average, error: Error, doubt: str | None = None, **more: Any
    ) -> Row:
        numbers: dict[str, Any] = {}
        if error.std_error is not None:
            half = error.half(self.alpha)
            numbers = {
                "std_error": error.std_error,
                "ci_low": found.estimate - half,
                "ci_high": found.estimate + half,
                "p_value": error.p_value(found.estimate),
            }
        return _row(
            self.metric,
            estimand,
            estimate=found.estimate,
            n=found.n,
            n_baseline=found.n_controls,
            method=self.method,
            note=_note(found, error, doubt),
            **numbers,
            **more,
        )

    def _overall(self, term: str, found: Averages) -> Row:
        """An overall average of parts; without an error where a part is one market.

        But for groups: how their effects differ is in the error, as the groups' sizes are.
        """
        after = [p for p in found.parts if (p.at or 0) >= 0] if term != "group" else []
        alone = any(error_of(p).std_error is None for p in after)
        error = Error(None, 0.0) if alone else error_of(found.overall)
        row = self._with("average_effect", found.overall, error, term=term)
        return dataclasses.replace(row, note=ONE) if alone else row

    def _course(self, parts: Sequence[Average]) -> Iterator[Row]:
        """By time since the start, each by itself and all together."""
        errors = [error_of(p) for p in parts]
        halves = simultaneous(parts, errors, self.alpha, self.said.seed)
        for p, error, half in zip(parts, errors, halves, strict=True):
            row = self._with("event_time_effect", p, error, at=str(p.at))
            yield row
            if half is not None:
                low, high = p.estimate - half, p.estimate + half
                yield dataclasses.replace(row, term=TOGETHER, ci_low=low, ci_high=high,
                                          p_value=None)  # fmt: skip

    def _wild(self, simple: Average) -> Row:
        p = wild_p(simple, self.said.seed)
        error = error_of(simple)
        return _row(self.metric, "wild_bootstrap_p", estimate=simple.estimate, p_value=p,
                    n=simple.n, n_baseline=simple.n_controls,
                    method="wild cluster bootstrap, Webb weights, no effect imposed",
                    note=_note(simple, error if p is not None else Error(None, 0.0)))  # fmt: skip

    def _trend(self, parts: Sequence[Average], made: Averager, simple: Average) -> Iterator[Row]:
        """Whether the markets ran apart before, what that would have shown, and what it hides."""
        before = [p for p in parts if (p.at or 0) < 0]
        trend = trend_test(before, self.alpha)
        if trend is None:
            why = "no_period_before: a test of trends needs two periods before a market began"
            note = FEW_TEXT.format(FEW) if before else why
            yield _row(self.metric, "pretrend_test", note=note)
            yield _row(self.metric, "pretrend_power", note=note)
            return
        sides = {"n": trend.n, "n_baseline": trend.n_controls}
        few = FEW_TEXT.format(FEW) if min(s for s in sides.values() if s) < FEW else None
        yield _row(self.metric, "pretrend_test", estimate=trend.statistic, p_value=trend.p_value,
                   method=f"Hotelling's F, {trend.terms} and {trend.df:.3g} degrees of freedom",
                   note=few, **sides)  # fmt: skip
        method = "slope that the test sees with 80 % power (Roth)"
        if not np.isfinite(trend.slope):
            yield _row(self.metric, "pretrend_power", note=few or FLAT, method=method, **sides)
            return
        # Such a trend adds up from the last period before the start.
        grown = trend.slope * float(simple.cells @ (made.cells.since + 1.0))
        yield _row(self.metric, "pretrend_power", estimate=trend.slope, method=method, note=few,
                   **sides)  # fmt: skip
        yield _row(self.metric, "pretrend_power", term=BIAS, estimate=grown, method=method,
                   note=few, **sides)  # fmt: skip

    def _cells(self, made: Averager, cells: Cells) -> Iterator[Row]:
        names = self.panel.periods
        for k in range(len(cells.att)):
            yield self._effect("group_time_effect", made.cell(k), term=names[cells.group[k]],
                               at=names[cells.period[k]])  # fmt: skip
        for g, t, why in cells.missing:
            yield _row(self.metric, "group_time_effect", term=names[g], at=names[t],
                       method=self.method, note=why)  # fmt: skip

    def _synthetic(self, known: np.ndarray) -> Row:
        """Synthetic difference-in-differences of the markets that are known in every period."""
        y, adopted = self.y[known], self.panel.adopted[known]
        whole = np.isfinite(y).all(axis=1)
        said: dict[str, Any] = {"method": "synthetic difference-in-differences"}
        if not whole[np.isfinite(adopted)].all():
            return _row(self.metric, "synthetic_difference", **said,
                        note="gaps: a market that began is not known in every period")  # fmt: skip
        found = synthetic_difference(y[whole], adopted[whole], self.said.seed)
        if found is None:
            return _row(self.metric, "synthetic_difference", **said,
                        note="too_few_controls: a synthetic market needs two that never began, "
                        "and two periods before")  # fmt: skip
        said["method"] += f", {found.method}"
        numbers: dict[str, Any] = {"p_value": found.p_value}
        note: str | None = FEW_TEXT.format(FEW)
        if found.std_error is None:
            note = ONE if found.n == 1 else FLAT
        else:
            half = Error(found.std_error, found.df).half(self.alpha)
            numbers |= {
                "std_error": found.std_error,
                "ci_low": found.estimate - half,
                "ci_high": found.estimate + half,
            }
        return _row(self.metric, "synthetic_difference", estimate=found.estimate, n=found.n,
                    n_baseline=found.n_controls, note=note, **numbers, **said)  # fmt: skip


def _note(found: Average, error: Error, doubt: str | None = None) -> str | None:
    """What an average rests on, the greatest doubt first."""
    sides = [n for n in sides_of(found) if n]
    if error.std_error is None:
        return ONE if min(sides, default=0.0) < ALONE else FLAT
    if doubt == APART:  # the average is not of all that began
        return doubt
    return FEW_TEXT.format(FEW) if min(sides) < FEW - 1e-9 else doubt
