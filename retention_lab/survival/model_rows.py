"""A life table and its covariates in; a fitted Cox model and its rows of the result table out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from retention_lab.data.codes import kind_of
from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.experiment.sections import CUSTOMERS, EVENT, EXPOSURE, PROMOTION
from retention_lab.multiplicity import SIMULTANEOUS, simultaneous_alpha
from retention_lab.results import Row
from retention_lab.survival.curve_rows import Asked
from retention_lab.survival.intervals import NO_VARIANCE, critical
from retention_lab.survival.model.concordance import concordance
from retention_lab.survival.model.cox import fit_cox
from retention_lab.survival.model.coxfit import CoxFit
from retention_lab.survival.model.data import SurvivalData
from retention_lab.survival.model.design import design
from retention_lab.survival.model.discrete import fit_discrete, person_periods
from retention_lab.survival.model.finegray import subdistribution
from retention_lab.survival.model.predict import CoxModel
from retention_lab.survival.model.profile import profile
from retention_lab.survival.model.proportional import proportionality
from retention_lab.survival.model.riskset import RiskSets
from retention_lab.survival.views import reference_of

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan

COX = "Cox, Efron"
FINE_GRAY = "Fine-Gray, Efron"
LIN_WEI = ", Lin-Wei errors"
FIRTH = ", Firth's penalty, "
PROFILE = "profile penalised likelihood"
OF_INFORMATION = "errors of the information"
MOST_PROFILED = 10  # columns: with more of them only those that separate have a profile
CLOGLOG = "hazard by week, complementary log-log"
WEEK = 7.0
SCORE = "score test of a change with time (km)"


@dataclasses.dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted Cox model, the rows it was fitted to, its covariates, and days to predict for.

    `min_cell` is how many customers have to be at risk on a day to predict for, and how many every
    level of a covariate has to have.
    """

    fit: CoxFit
    data: SurvivalData
    covariates: tuple[str, ...]
    days: tuple[int, ...]
    min_cell: int = 1

    @property
    def model(self) -> CoxModel | None:
        """What predictions on `days` need, up to the last one with enough customers at risk.

        A prediction for a level rests on everyone's baseline and on all the customers of that
        level, not on those who still wait on the day, so that a level with few of these ends
        nothing. None, and so nothing to serve, where no number could be predicted: the fit has no
        estimate, a level has fewer than `min_cell` customers, or nobody is followed to any day.
        """
        known = len(self.fit.coef) > 0 and bool(np.isfinite(self.fit.coef).all())
        if not known or self._fewest() < self.min_cell:
            return None
        days = [day for day in self.days if self._at_risk(day) >= self.min_cell]
        return CoxModel.of(self.fit, self.data, days) if days else None

    def _at_risk(self, day: float) -> int:
        data = self.data
        return int(data.n[(data.start < day) & (data.stop >= day)].sum())

    def _fewest(self) -> int:
        """Customers of the level that has the fewest."""
        data = self.data
        found = [data.size]
        place = {name: i for i, name in enumerate(data.names)}
        for coding in data.coding:
            if coding.reference is None:
                continue
            columns = data.x[:, [place[c] for c in coding.names]] == 1.0
            found += (data.n @ columns).tolist()
            found.append(int(data.n[~columns.any(axis=1)].sum()))
        return int(min(found))


def covariates_of(plan: Plan, life: LifeTable) -> tuple[str, ...]:
    """The covariates of the file's model: its arms, the groups that the lab makes, and the file's.

    One of a single level stays in: the model says that it is constant. A promotion that has
    existing customers as a level of its own says who is new.
    """
    survival, design_ = plan.spec.survival, plan.spec.design
    assert survival is not None
    arm = [design_.arm] if design_ is not None and survival.origin == EXPOSURE else []
    made = [k for k in (PROMOTION, CUSTOMERS) if k in life.keys]
    made = [PROMOTION] if survival.among_new else made
    return tuple(k for k in dict.fromkeys([*arm, *made, *survival.columns]) if k in life.keys)


def references_of(plan: Plan, life: LifeTable) -> Mapping[str, str]:
    """The level that others are compared with, by covariate: the one that curves have as well."""
    found = {}
    for key in covariates_of(plan, life):
        if kind_of(life.levels[key]) == "text":
            sizes = {str(level): part.size for (level,), part in life.parts(key)}
            found[key] = reference_of(key, sizes)
    if plan.spec.design is not None:
        found[plan.spec.design.arm] = plan.arms[0]
    return found


def fitted(asked: Asked, plan: Plan, life: LifeTable) -> Fitted | None:
    """Cox's model of the covariates of the file; None where it has none, or too few customers.

    Raises DataError where a covariate is missing for a customer, or has too many levels.
    """
    names = covariates_of(plan, life)
    if not names or life.size < asked.min_cell:
        return None
    _all_known(life, names)
    data = design(life, names, references=references_of(plan, life))
    days = asked.milestones or (asked.horizon,)
    return Fitted(fit_cox(data, robust=True), data, names, days, asked.min_cell)


def _all_known(life: LifeTable, names: Sequence[str]) -> None:
    """Say which covariates are missing, for how many customers, and what helps."""
    lost = np.zeros(life.cells, bool)
    odd = []
    for name in names:
        none = np.array([v is None or v != v for v in life.levels[name].tolist()], bool)
        odd += [repr(name)] if none.any() else []
        lost |= none
    if odd:
        n = int(life.n[lost[life.cell]].sum())
        raise DataError(
            f"{n:,} of {life.size:,} customers have no value of {', '.join(odd)}; give it bins, "
            "where they are a group of their own, or take it out of covariates"
        )


def refused(asked: Asked, error: DataError) -> Row:
    """The row in place of a model that could not be fitted."""
    return asked.row("log_hazard_ratio", note=f"not_fitted: {error}", method=COX)


def model_rows(asked: Asked, plan: Plan, life: LifeTable, model: Fitted) -> Iterator[Row]:
    """Log hazard ratios with the tests of proportionality, concordance, and Fine and Gray's."""
    yield from _ratios(asked, plan, "log_hazard_ratio", model.fit, COX, model.data, None)
    test = proportionality(model.fit, model.data)
    for i, term in enumerate(test.terms):
        name = "global" if i == len(test.terms) - 1 else term
        chi2, p = (_finite(v[i]) for v in (test.chisq, test.p_value))
        said = {"term": name, "note": test.note, "method": f"{SCORE}, {test.df[i]} df"}
        yield asked.row("proportionality", estimate=chi2, p_value=p, **said)
    c = concordance(model.fit, model.data)
    n = model.fit.size
    value = {"estimate": c.estimate, "std_error": c.std_error, "note": c.note, "n": n}
    yield asked.row("concordance", **value, method="Harrell's C")
    if len(life.causes) > 1:
        name = "log_subdistribution_hazard_ratio"
        try:
            data, risk = _first_events(plan, life, model)
            other = fit_cox(data, robust=True, risk=risk)
        except DataError as error:
            yield asked.row(name, note=f"not_fitted: {error}", method=FINE_GRAY)
        else:
            yield from _ratios(asked, plan, name, other, FINE_GRAY, data, risk)
    yield from _by_period(asked, model)


def _by_period(asked: Asked, model: Fitted) -> Iterator[Row]:
    """The model once more with time in weeks: the hazard of each week, complementary log-log."""
    name = "discrete_log_hazard_ratio"
    edges = np.append(np.arange(0.0, asked.horizon, WEEK), float(asked.horizon))
    try:
        fit = fit_discrete(person_periods(model.data, edges))
    except DataError as error:
        yield asked.row(name, note=f"not_fitted: {error}", method=CLOGLOG)
        return
    z = critical(asked.alpha)
    for i, term in enumerate(fit.names):
        if term not in model.data.names:
            continue
        value, error_ = _finite(fit.coef[i]), _finite(fit.std_error[i])
        numbers: dict[str, Any] = {}
        if value is not None and error_:
            p = 2.0 * float(special.ndtr(-abs(value) / error_))
            numbers = {"ci_low": value - z * error_, "ci_high": value + z * error_, "p_value": p}
        said = {"term": term, "n": model.fit.size, "method": CLOGLOG, "note": fit.note}
        yield asked.row(name, estimate=value, std_error=error_, **numbers, **said)


def _first_events(plan: Plan, life: LifeTable, model: Fitted) -> tuple[SurvivalData, RiskSets]:
    """The rows of Fine and Gray's model, and its risk sets. Raises as `subdistribution` does."""
    others = [c for c in life.causes if c != EVENT]
    references = references_of(plan, life)
    data = design(life, model.covariates, event=EVENT, competing=others, references=references)
    return data, subdistribution(data)


def _ratios(
    asked: Asked,
    plan: Plan,
    estimand: str,
    fit: CoxFit,
    method: str,
    data: SurvivalData,
    risk: RiskSets | None,
) -> Iterator[Row]:
    low, high = fit.interval(asked.alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = fit.p_value.copy()
    low, high, said = low.copy(), high.copy(), [method + LIN_WEI] * len(fit.names)
    if fit.penalty != "none":
        said = [method + FIRTH + OF_INFORMATION] * len(fit.names)
        some = fit.names if len(fit.names) <= MOST_PROFILED else fit.separated
        for alpha, columns, more in _families(asked, plan, fit.names):
            columns = [c for c in columns if c in some]
            found = profile(fit, data, alpha, columns, risk)
            for i, name in enumerate(columns):
                at = fit.names.index(name)
                low[at], high[at], p_value[at] = found.low[i], found.high[i], found.p_value[i]
                said[at] = method + FIRTH + PROFILE + more
    for i, term in enumerate(fit.names):
        where: dict[str, Any] = {"term": term, "n": fit.size, "method": said[i]}
        value = _finite(fit.coef[i])
        if fit.error[i] == 0.0:
            yield asked.row(estimand, estimate=value, note=fit.note or NO_VARIANCE, **where)
            continue
        numbers = {
            "estimate": value,
            "std_error": _finite(fit.error[i]),
            "ci_low": _finite(low[i]),
            "ci_high": _finite(high[i]),
            "p_value": _finite(p_value[i]),
        }
        yield asked.row(estimand, **numbers, note=fit.note, **where)
    for term, why in fit.dropped.items():
        yield asked.row(estimand, term=term, n=fit.size, method=method, note=why)


def _families(
    asked: Asked, plan: Plan, names: Sequence[str]
) -> Iterator[tuple[float, list[str], str]]:
    """The columns of each covariate, the alpha of each interval, and what its method says of it.

    Intervals of a profile cannot be stretched afterwards as Wald's are: they are not of one shape.
    """
    of: dict[str, list[str]] = {}
    for name in names:
        of.setdefault(name.partition("=")[0], []).append(name)
    for columns in of.values():
        m = len(columns) if plan.spec.inference.correction != "none" else 1
        more = f"; {SIMULTANEOUS}, {m} comparisons" if m > 1 else ""
        yield simultaneous_alpha(asked.alpha, m), columns, more


def example_of(model: Fitted) -> list[dict[str, Any]]:
    """Inputs that the model can answer for: the levels of its covariates, one after the other.

    Numbers are the covariates' means; no line is a customer's.
    """
    base: dict[str, Any] = {}
    levels: dict[str, Sequence[str]] = {}
    for coding in model.data.coding:
        if coding.reference is None:
            at = model.data.names.index(coding.key)
            weight = model.data.n / model.data.n.sum()
            base[coding.key] = float(weight @ model.data.x[:, at])
        else:
            base[coding.key] = coding.reference
            levels[coding.key] = coding.levels
    changed = [{**base, key: level} for key, known in levels.items() for level in known]
    return [base, *changed]


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if number - number == 0.0 else None
