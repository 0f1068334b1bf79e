"""The plan and the moments of arms that differ in their dose in; response and best dose out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from retention_lab.data.evidence import Evidence
from retention_lab.data.moments import Floats, Moments
from retention_lab.experiment.incentive import REDEEMED, RETURNS, REVENUE
from retention_lab.experiment.plan import Plan
from retention_lab.incentives.arms import dose as response
from retention_lab.incentives.arms.contrasts import hidden
from retention_lab.incentives.arms.fieller import critical
from retention_lab.incentives.arms.means import FLAT, LEAST_UNITS, TOO_FEW, Means, means_of
from retention_lab.incentives.strategies import randomised
from retention_lab.results import Row

POINTS = 21  # of a curve that is drawn
MISFIT = 0.001  # p-value below which the means are said not to lie on a curve
NONE = 1e-7  # of the largest error of a mean: an error below it is rounding
KNOTS = 6  # of the spline, at most
CURVES = {"linear": 2, "spline": 4}  # by name, the fewest doses that it takes
FEW_DOSES = "few_doses: a curve needs {least} doses or more"
AT_END = (
    "at_the_end: the best dose is the {end} of those that were tried; a test further out may find "
    "a better one"
)
OFF_CURVE = (
    "off_curve: the means lie off this curve by more than chance does, and its intervals do not "
    "know of that; read the means"
)
NOT_MONOTONE = "not_monotone: the means at these doses go up and down by more than chance does"
CLUSTERED = "clusters: responses to a dose where clusters were randomised cannot be analysed yet"


def rows(plan: Plan, evidence: Evidence) -> Iterator[Row]:
    """Means by dose, curves of the response, its slope, and the dose of the greatest profit."""
    said, offer, design = plan.spec.incentive, plan.offer, plan.spec.design
    assert said is not None
    assert offer is not None
    assert design is not None
    assert evidence.moments is not None
    arms = sorted((a for a in plan.arms if a in said.dose), key=lambda a: said.dose[a])
    whole = evidence.moments.roll_up(design.arm)
    for metric in offer.outcomes:
        if metric in plan.faults or design.randomised:
            note = CLUSTERED if design.randomised else plan.faults[metric]
            yield Row(analysis="incentive", metric=metric, estimand="dose_effect", note=note)
            continue
        column = plan.needed[metric].numerator.name
        found = {a: _cell(whole, a, (column,)) for a in arms}
        yield from _response(plan, metric, said.dose, found)
    if said.margin is not None and said.revenue not in plan.faults and not design.randomised:
        yield from _profit(plan, whole, arms)
    yield from randomised.rows(plan, evidence)


def _cell(whole: Moments, arm: str, columns: tuple[str, ...]) -> Means | None:
    at = whole.cell(arm)
    return None if at is None else means_of(whole, at, columns)


def _response(
    plan: Plan, metric: str, dose: Mapping[str, float], found: Mapping[str, Means | None]
) -> Iterator[Row]:
    """The means at each dose, and the curves through them."""
    same: dict[str, Any] = {"analysis": "incentive", "metric": metric, "baseline": plan.arms[0]}
    z = critical(plan.spec.inference.alpha)
    kept = {a: m for a, m in found.items()
            if m is not None and m.n >= LEAST_UNITS and not hidden(plan, m.n)}  # fmt: skip
    for arm, m in found.items():
        why = None if m is None else hidden(plan, m.n)
        if why is not None:
            yield Row(**same, estimand="dose_mean", arm=arm, at=_text(dose[arm]), method="mean",
                      note=why)  # fmt: skip
            continue
        value = None if m is None or not m.n else float(m.mean[0])
        error = float(np.sqrt(m.covariance[0, 0])) if m is not None and arm in kept else None
        error = error or None  # where all have one value there is none
        yield Row(
            **same, estimand="dose_mean", arm=arm, at=_text(dose[arm]), estimate=value,
            std_error=error,
            ci_low=None if error is None or value is None else value - z * error,
            ci_high=None if error is None or value is None else value + z * error,
            n=0 if m is None else m.n, method="mean",
            note=TOO_FEW if arm not in kept else FLAT if error is None else None,
        )  # fmt: skip
    cells = _cells([dose[a] for a in kept], list(kept.values()), np.ones(1))
    yield from _curves(plan, same, cells)
    if len(np.unique(cells.dose)) >= 2:
        yield from _monotone(plan, same, cells)


def _cells(doses: list[float], means: list[Means], weights: Floats) -> response.Cells:
    """The cells of a weighted sum of columns."""
    n = np.array([m.n for m in means], dtype=np.float64)
    mean = np.array([float(weights @ m.mean) for m in means])
    variance = np.array([float(weights @ m.covariance @ weights) for m in means])
    return response.Cells(np.array(doses, dtype=np.float64), n, mean, variance * n * (n - 1))


def _knots(doses: Floats) -> Floats:
    """Knots of the spline: every dose, or six of them where there are more.

    With a knot at each dose the curve goes through the means, so that nothing is assumed of the
    doses that were tried; with fewer it may miss them all, and its errors do not know of that.
    """
    values = np.unique(doses)
    return np.asarray(values[np.unique(np.linspace(0, len(values) - 1, KNOTS).round().astype(int))])


def _curves(plan: Plan, same: dict[str, Any], cells: response.Cells) -> Iterator[Row]:
    values = np.unique(cells.dose)
    assert plan.spec.incentive is not None
    base = plan.spec.incentive.dose.get(plan.arms[0], float(values[0]) if len(values) else 0.0)
    for name, least in CURVES.items():
        if len(values) < least:
            yield Row(**same, estimand="dose_effect", term=name,
                      note=FEW_DOSES.format(least=least))  # fmt: skip
            continue
        basis = response.linear if name == "linear" else response.spline(_knots(values).tolist())
        fit = response.fit(cells, basis)
        alpha = plan.spec.inference.alpha
        grid = np.linspace(values[0], values[-1], POINTS)
        poor = response.lack_of_fit(cells, basis)
        rounding = NONE * float(np.sqrt(cells.spread / cells.n / (cells.n - 1.0)).max())
        note = OFF_CURVE if poor is not None and poor < MISFIT else None
        for estimand, at, table in (
            ("dose_response", grid, fit.at(grid, alpha)),
            ("dose_effect", values, fit.effect(values, base, alpha)),
            ("marginal_effect", values, fit.slope(values, alpha)),
        ):
            for x, (value, error, low, high) in zip(at, table, strict=True):
                if estimand == "dose_effect" and x == base:
                    continue
                sure = error > rounding
                tested = sure and estimand != "dose_response"
                yield Row(
                    **same, estimand=estimand, term=name, at=_text(x), estimate=float(value),
                    std_error=float(error) if sure else None, ci_low=float(low) if sure else None,
                    ci_high=float(high) if sure else None,
                    p_value=_p(value, error) if tested else None, n=int(cells.n.sum()),
                    method=f"least squares, {name}, HC2 errors", note=note if sure else FLAT,
                )  # fmt: skip


def _monotone(plan: Plan, same: dict[str, Any], cells: response.Cells) -> Iterator[Row]:
    """The response made monotone, in the direction in which it moves as a whole.

    Arms with the same dose count as one: a dose has one value.
    """
    doses, place = np.unique(cells.dose, return_inverse=True)
    n = np.asarray(np.bincount(place, cells.n), dtype=np.float64)
    mean = np.bincount(place, cells.n * cells.mean) / n
    variance = np.bincount(place, cells.n * cells.spread / (cells.n - 1)) / n**2
    rising = bool(np.polyfit(cells.dose, cells.mean, 1, w=np.sqrt(cells.n))[0] >= 0)
    fitted = response.isotonic(n, mean, rising)
    band = response.isotonic_band(mean, variance, rising, plan.spec.inference.alpha)
    flat = not variance.any()
    why = FLAT if flat else NOT_MONOTONE if band is None else None
    band = None if flat else band
    for i, (x, value) in enumerate(zip(doses, fitted, strict=True)):
        yield Row(
            **same, estimand="dose_response", term="isotonic", at=_text(x), estimate=float(value),
            ci_low=None if band is None else float(min(band[0][i], value)),
            ci_high=None if band is None else float(max(band[1][i], value)), n=int(n.sum()),
            method="isotonic regression, all intervals hold together if the response is monotone",
            note=why,
        )  # fmt: skip


def _profit(plan: Plan, whole: Moments, arms: list[str]) -> Iterator[Row]:
    """Profit a customer at each dose, and the dose at which its fitted curve is greatest."""
    said, offer = plan.spec.incentive, plan.offer
    assert said is not None
    assert offer is not None
    assert said.margin is not None
    roles = tuple(r for r in (REVENUE, RETURNS, REDEEMED) if r in offer.money)
    columns = tuple(offer.money[r] for r in roles)
    doses, means, z = [], [], critical(plan.spec.inference.alpha)
    profit, spread, contacts = [], [], []
    same: dict[str, Any] = {"analysis": "incentive", "metric": said.revenue,
                            "baseline": plan.arms[0]}  # fmt: skip
    for arm in arms:
        m = _cell(whole, arm, columns)
        if m is None or m.n < LEAST_UNITS or hidden(plan, m.n):
            continue
        value = {REVENUE: said.margin, RETURNS: -said.margin, REDEEMED: -said.redemption(arm)}
        weights = np.array([value[r] for r in roles])
        contact = said.cost.contact if arm != plan.arms[0] else 0.0
        estimate = float(weights @ m.mean) - contact
        error = float(np.sqrt(weights @ m.covariance @ weights))
        doses.append(said.dose[arm])
        means.append(m)
        profit.append(estimate)
        spread.append(error**2 * m.n * (m.n - 1))
        contacts.append(contact)
        yield Row(
            **same, estimand="profit_at_dose", arm=arm, at=_text(said.dose[arm]),
            estimate=estimate, std_error=error or None,
            ci_low=estimate - z * error if error else None,
            ci_high=estimate + z * error if error else None, n=m.n,
            method="margin less cost a customer", note=None if error else FLAT,
        )  # fmt: skip
    values = np.unique(doses)
    if len(values) < 3:
        note = FEW_DOSES.format(least=3)
        yield Row(**same, estimand="best_dose", note=note)
        return
    n = np.array([m.n for m in means], dtype=np.float64)
    # The curve is of what comes after the contact: a cost that is there or not has no slope.
    cells = response.Cells(np.array(doses), n, np.array(profit) + contacts, np.array(spread))
    basis = response.spline(_knots(values).tolist())
    alpha = plan.spec.inference.alpha
    best = response.best(
        response.fit(cells, basis), float(values[0]), float(values[-1]), values,
        alpha, said.seed, said.cost.contact, said.dose.get(plan.arms[0]),
        cells if len(values) > KNOTS else None,
    )  # fmt: skip
    low, high = response.around(values, best.chance, alpha)
    ends = {float(values[0]): "lowest", float(values[-1]): "highest"}
    edge = AT_END.format(end=ends[best.dose]) if best.dose in ends else None
    yield Row(
        **same, estimand="best_dose", term="spline", estimate=best.dose,
        ci_low=min(low, best.low), ci_high=max(high, best.high), n=int(n.sum()),
        method="top of a natural cubic spline; interval from and to the doses about those that may "
        "be the best one tried", note=edge,
    )  # fmt: skip
    for x, chance in zip(values, best.chance, strict=True):
        yield Row(**same, estimand="chance_best", at=_text(x), estimate=float(chance),
                  method="normal draws of the spline's coefficients" if len(values) <= KNOTS
                  else "normal draws of the means at these doses")  # fmt: skip


def _p(value: float, error: float) -> float | None:
    from scipy import special

    return 2.0 * float(special.ndtr(-abs(value) / error)) if error > 0 else None


def _text(dose: float) -> str:
    """A dose as text, without digits that say nothing.

    >>> _text(10.0), _text(2.50)
    ('10', '2.5')
    """
    return f"{dose:.10g}"
