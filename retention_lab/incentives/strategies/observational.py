"""The plan and the rows of an incentive that nobody randomised in; effects and their doubts out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from retention_lab.data.evidence import Evidence
from retention_lab.errors import DataError
from retention_lab.experiment.incentive import BOUGHT, REDEEMED, RETURNS, REVENUE
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms.carriers import few_carry_values
from retention_lab.incentives.arms.contrasts import hidden
from retention_lab.incentives.arms.ledger import FEW_BUYERS, ledger
from retention_lab.incentives.arms.means import LEAST_UNITS, Contrast, Means
from retention_lab.incentives.observed.aipw import (
    average_effect,
    effect_on_treated,
    like_the_treated,
)
from retention_lab.incentives.observed.crossfit import Crossed, Fitted, cross_fit
from retention_lab.incentives.observed.effects import Effect, Solved, effect, naive
from retention_lab.incentives.observed.money import treated_levels
from retention_lab.incentives.observed.nuisance import LEARNERS, Boosting, Learner
from retention_lab.incentives.observed.overlap import (
    Overlap,
    comparable,
    comparable_treated,
    no_overlap,
    overlap,
    refuse,
)
from retention_lab.incentives.observed.plr import partially_linear_effect
from retention_lab.incentives.observed.sample import Sample, make_sample
from retention_lab.incentives.strategies.doubts import (
    benchmark_rows,
    comparison_rows,
    refutation_rows,
)
from retention_lab.incentives.strategies.terms import terms_of
from retention_lab.results import Row

FEW_ALIKE = (
    "few_alike: a few units of the control carry most of the weight, as if there were fewer than "
    f"{LEAST_UNITS}; the interval may be too short"
)
FEW_CARRY = (
    "few_carry: in effect a few units of an arm carry its outcome (fewer than five, or than 25 "
    "where the arm makes nearly all of the error); the interval is likely too short"
)
MUCH = 0.1  # share of units left out from which on an effect says so
ROLES = (REVENUE, RETURNS, REDEEMED, BOUGHT)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The plan's question, its checked units, and what was fitted to them.

    `columns` has, by metric whose effect is asked for, the name of its column; `placebo` is one of
    these metrics, or None.
    """

    plan: Plan
    sample: Sample
    fitted: Fitted
    learner: Learner
    columns: dict[str, str]
    placebo: str | None
    trim: float
    alpha: float

    def crossed(self, metric: str) -> Crossed:
        return self.fitted.crossed[self.columns[metric]]

    @property
    def outcomes(self) -> list[str]:
        """The metrics that the incentive may have moved."""
        return [m for m in self.columns if m != self.placebo]

    @property
    def made_by(self) -> str:
        """How chances and outcomes were fitted, for `method`."""
        known = ", known propensities" if self.sample.known is not None else ""
        return f"{self.fitted.learner}, {self.fitted.folds} folds{known}"

    def row(self, estimand: str, metric: str | None, arm: str, found: Effect, **more: Any) -> Row:
        """An effect of `arm` against the control as a row."""
        return Row(
            analysis="incentive",
            metric=metric,
            estimand=estimand,
            arm=arm,
            baseline=self.plan.arms[0],
            estimate=found.estimate,
            std_error=found.std_error,
            ci_low=found.low,
            ci_high=found.high,
            p_value=found.p_value,
            n=found.n,
            n_baseline=found.n_baseline,
            note=found.note,
            **more,
        )

    def judged(self, solved: Solved, arm: str) -> Effect:
        """The effect of an arm with its interval, by clusters where the file names them."""
        mine = self.sample.arm == self.sample.arms.index(arm)
        return effect(solved, self.sample.cluster, self.alpha, mine)


def rows(plan: Plan, evidence: Evidence) -> Iterator[Row]:
    """Effects of every arm against the control, how they might be wrong, and the ledger.

    Raises DataError where no arm overlaps with the control in any outcome (with the region that
    tells them apart), and for covariates and known propensities that cannot be used.
    """
    faulty = [n for n in _wanted(plan) if n in plan.faults]
    for name in faulty:
        for arm in plan.arms[1:]:
            yield Row(analysis="incentive", metric=name, estimand="average_effect", arm=arm,
                      baseline=plan.arms[0], note=plan.faults[name])  # fmt: skip
    asked = _fit(plan, evidence)
    if asked is None:
        return
    whys = {
        (metric, arm): why
        for metric in asked.columns
        for arm in plan.arms[1:]
        if (why := _why_not(asked, metric, arm)) is not None
    }
    if whys and len(whys) == len(asked.columns) * (len(plan.arms) - 1):
        _refuse(asked, whys)
    for metric in asked.outcomes:
        for arm in plan.arms[1:]:
            yield from _effects(asked, metric, arm, whys.get((metric, arm)))
            if (metric, arm) not in whys:
                yield from benchmark_rows(asked, metric, arm)
    apart = {k: v for k, v in whys.items() if v.startswith(("no_overlap", "suppressed"))}
    yield from comparison_rows(asked, apart)
    yield from refutation_rows(asked, whys)
    yield from _ledger(asked)


def _wanted(plan: Plan) -> list[str]:
    assert plan.offer is not None
    assert plan.spec.incentive is not None
    placebo = plan.spec.incentive.placebo
    return list(dict.fromkeys([*plan.offer.outcomes, *([placebo] if placebo else [])]))


def _fit(plan: Plan, evidence: Evidence) -> Asked | None:
    """Every fit that the rows need but the refutations'; None where no metric can be computed."""
    said, offer, units = plan.spec.incentive, plan.offer, evidence.rows
    assert said is not None
    assert offer is not None
    assert units is not None
    columns = {n: plan.needed[n].numerator.name for n in _wanted(plan) if n not in plan.faults}
    if not columns:
        return None
    money = [offer.money[r] for r in ROLES if r in offer.money and said.revenue not in plan.faults]
    names = list(dict.fromkeys([*columns.values(), *money]))
    after = {
        m.column: f"what metric {m.name!r} measures" for m in plan.spec.metrics if m.event is None
    }
    sample = make_sample(
        units.arm,
        plan.arms,
        units.covariates,
        {n: units.outcomes[n] for n in names},
        units.cluster,
        units.propensity,
        after,
    )
    if not sample.names and sample.known is None:
        raise DataError(
            "incentive.covariates: none of them differs between units; without covariates a "
            "comparison of customers whom nobody randomised says nothing"
        )
    learner: Learner = LEARNERS[said.learner]()
    if isinstance(learner, Boosting):
        learner = dataclasses.replace(learner, seed=said.seed)
    fitted = cross_fit(sample, learner, said.folds, said.seed)
    alpha = plan.spec.inference.alpha
    return Asked(plan, sample, fitted, learner, columns, said.placebo, said.trim, alpha)


def _why_not(asked: Asked, metric: str, arm: str) -> str | None:
    """Why an arm has no effect on a metric: a note, or None."""
    c = asked.crossed(metric)
    why = _hidden(asked, c, arm)
    if why is not None:
        return why
    if c.doubt is not None or arm not in c.arms:
        return c.few.get(arm) or c.doubt or c.few[arm]
    found = _overlap(asked, c, arm)
    if found.enough:
        return None
    one = c.arms.index(arm)
    x = asked.sample.x[c.rows]
    return f"no_overlap: {no_overlap(c, one, 0, found, x, asked.sample.names)}"


def _hidden(asked: Asked, c: Crossed, arm: str) -> str | None:
    """Why nothing may be told of an arm: it, or the control, has units but too few."""
    known = ~np.isnan(asked.sample.y[c.outcome])
    code = asked.sample.arm[known]
    sizes = [int((code == asked.sample.arms.index(a)).sum()) for a in (arm, asked.plan.arms[0])]
    return hidden(asked.plan, *sizes)


def _overlap(asked: Asked, c: Crossed, arm: str) -> Overlap:
    one = c.arms.index(arm)
    return overlap(c, one, 0, comparable(c, one, 0, asked.trim), asked.trim)


def _refuse(asked: Asked, whys: dict[tuple[str, str], str]) -> None:
    """Raise where nobody can be compared; where arms or outcomes fail otherwise, rows say so."""
    apart = [(m, w) for (m, _), w in whys.items() if w.startswith("no_overlap: ")]
    if apart:
        first = apart[0][0]
        said = [w.removeprefix("no_overlap: ") for m, w in apart if m == first]
        raise refuse(asked.crossed(first), said)


def _effects(asked: Asked, metric: str, arm: str, why: str | None) -> Iterator[Row]:
    """The plain difference, and the effects that the covariates allow."""
    c, trim = asked.crossed(metric), asked.trim
    aipw = f"AIPW, {asked.made_by}, " + (f"trimmed at {trim:g}" if trim else "not trimmed")
    if c.doubt is None and arm in c.arms and _hidden(asked, c, arm) is None:
        y = asked.sample.y[c.outcome][c.rows]
        plain = naive(c.arm, y, c.arms.index(arm), 0, c.rows, c.size)
        yield asked.row(
            "naive_difference", metric, arm, asked.judged(plain, arm), method="unadjusted"
        )
    if why is not None:
        yield asked.row("average_effect", metric, arm, Effect(note=why), method=aipw)
        if why.startswith("no_overlap") and arm in c.arms:
            yield from _on_treated(asked, metric, arm, aipw)
        return
    one = c.arms.index(arm)
    found = asked.judged(average_effect(c, one, 0, trim), arm)
    note = found.note or _few_carry(asked, c, one) or _doubt(asked, c, found.left_out)
    found = dataclasses.replace(found, note=note)
    yield asked.row("average_effect", metric, arm, found, method=aipw)
    yield from _on_treated(asked, metric, arm, aipw)
    linear = asked.judged(partially_linear_effect(c, one, 0), arm)
    linear = dataclasses.replace(linear, note=linear.note or _few_carry(asked, c, one))
    yield asked.row("partially_linear_effect", metric, arm, linear,
                    method=f"partially linear, {asked.made_by}")  # fmt: skip
    share = Effect(found.left_out, n=found.n, n_baseline=found.n_baseline)
    yield asked.row("trimmed_share", metric, arm, share, method=f"propensity below {trim:g}")


def _on_treated(asked: Asked, metric: str, arm: str, aipw: str) -> Iterator[Row]:
    """The effect on those who got it, for which only they need somebody alike."""
    c = asked.crossed(metric)
    one = c.arms.index(arm)
    keep = comparable_treated(c, one, 0, asked.trim)
    if not overlap(c, one, 0, keep, asked.trim).enough:
        return
    found = asked.judged(effect_on_treated(c, one, 0, asked.trim), arm)
    note = found.note or _few_alike(c, one, asked.trim) or _few_carry(asked, c, one)
    note = note or _doubt(asked, c, found.left_out)
    found = dataclasses.replace(found, note=note)
    yield asked.row("average_effect_treated", metric, arm, found, method=aipw)


def _few_alike(c: Crossed, one: int, trim: float) -> str | None:
    """Said where a few units of the control stand for all who got it."""
    return FEW_ALIKE if like_the_treated(c, one, 0, trim) < LEAST_UNITS else None


def _few_carry(asked: Asked, c: Crossed, one: int) -> str | None:
    """Said where an outcome is so rare, or so uneven, that an interval by t is too short."""
    y = asked.sample.y[c.outcome][c.rows]
    return FEW_CARRY if few_carry_values([y[c.arm == one], y[c.arm == 0]]) else None


def _doubt(asked: Asked, c: Crossed, left_out: float) -> str | None:
    """What an effect does not cover."""
    if left_out > MUCH:
        return (
            "little_overlap: for many units nobody alike is in the other arm; they are left out, "
            "and the effect is that of the others"
        )
    if c.missing:
        return "missing_outcomes: units without a value are left out"
    if asked.sample.dropped:
        return (
            "dropped_covariates: covariates that are constant, or follow from the others, "
            "are left out"
        )
    return None


def _ledger(asked: Asked) -> Iterator[Row]:
    """What the incentive brought and cost, per customer who got it."""
    plan = asked.plan
    said, offer = plan.spec.incentive, plan.offer
    assert said is not None
    assert offer is not None
    if said.margin is None or said.revenue is None or said.revenue in plan.faults:
        return
    roles = tuple(r for r in ROLES if r in offer.money)
    names = [offer.money[r] for r in roles]
    method = f"effect on the treated, {asked.made_by}, Fieller's interval"
    for arm in plan.arms[1:]:
        found = treated_levels(asked.fitted, names, arm, asked.trim, asked.sample.cluster)
        if found is None or hidden(plan, found.n, found.n_baseline):
            continue
        k = len(names)
        v = found.covariance
        zero = v[:k, :k] * 0.0
        both = Contrast(
            Means(found.arm, v[:k, :k], found.n, found.n),
            Means(found.base, v[k:, k:], found.n_baseline, found.n_baseline),
            zero,
            zero,
            v[:k, k:],
            found.groups,
        )
        c = asked.fitted.crossed[offer.money[REVENUE]]
        doubt = _few_alike(c, c.arms.index(arm), asked.trim)
        for line in ledger(roles, both, terms_of(plan, arm), asked.alpha):
            told = Effect(
                line.estimate,
                line.std_error,
                line.low,
                line.high,
                line.p_value,
                found.n,
                found.n_baseline,
                note=doubt if doubt and line.note == FEW_BUYERS else line.note or doubt,
            )
            yield asked.row(line.estimand, said.revenue, arm, told, method=method)
