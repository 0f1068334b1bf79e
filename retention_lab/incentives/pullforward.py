"""Weekly totals by arm in; weekly and cumulative effects, what was given back, and their rows out.

A coupon may only move orders forward: first more, then fewer. Read over a window that ends at the
peak such a coupon seems to pay.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import special

from retention_lab.incentives.arms.fieller import critical, fieller
from retention_lab.incentives.arms.means import LEAST_UNITS, TOO_FEW
from retention_lab.multiplicity import SIMULTANEOUS
from retention_lab.results import Row

if TYPE_CHECKING:
    from retention_lab.data.weeks import Weeks
    from retention_lab.experiment.plan import Plan

Floats = npt.NDArray[np.float64]
DRAWS, SEED = 20_000, 20  # of the largest of several normals

NOT_FOLLOWED = "not_followed: no customer of the arm has been followed for all {weeks} weeks yet"
NO_EVENTS = "no_events: nothing happened in these weeks, in neither arm"
NOT_FINITE = "not_finite: weekly totals are not finite numbers"
CLUSTERED = "clusters: weekly effects where clusters were randomised cannot be analysed yet"
NO_PEAK = "no_peak: at no time had the arm more than the control, so there is nothing to give back"
STILL_FALLING = (
    "still_falling: in weeks {first} to {last} the arm still has clearly less than the control; a "
    "longer horizon would show more given back"
)
MISSING = "values_missing: {count} events without a value add nothing"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Effects by week on the mean of a customer; arrays are [W], entry w - 1 is week w.

    `weekly` with `weekly_error`; `cumulative` with `cumulative_error` and `band`, by how many
    errors a band reaches to hold the whole path at once. `peak` is the week of the greatest
    cumulative effect, `back` the share of it that is gone at the horizon (None without a peak
    above 0), `back_low` and `back_high` its interval, None where it is unbounded; `p_back` tests
    that nothing was given back. `net_p` tests the cumulative effect at the horizon. `falling` is
    the first of the last weeks in which the effect is still clearly negative.
    """

    weekly: Floats
    weekly_error: Floats
    cumulative: Floats
    cumulative_error: Floats
    band: float
    peak: int | None
    back: float | None
    back_low: float | None
    back_high: float | None
    p_back: float | None
    net_p: float | None
    falling: int | None


def course(difference: Floats, covariance: Floats, alpha: float = 0.05) -> Course:
    """The course of weekly effects `difference` [W] whose covariance is `covariance` [W, W].

    The band takes the quantile of the largest of W correlated normals (max-t; Hothorn, Bretz and
    Westfall 2008, Biometrical Journal 50(3), 346-363), simulated with a fixed seed.

    Given back: with C_k the cumulative effect after week k and H the horizon, "nothing was given
    back" says E C_k <= E C_H for all k, or that no E C_k is above 0. The first is rejected by the
    largest of (C_k - C_H) / error over k < H, the second by the largest of C_k / error, each held
    against the distribution of the largest of as many normals of the same correlations (0 is the
    least favourable mean), so that the week of the peak is chosen at no cost; the p-value is the
    larger of the two (an intersection-union test). The share is 1 - C_H / C_peak, with Fieller's
    interval at the quantile that holds for all k at once.

    `falling`: the effect over the last quarter of the weeks (rounded up), whose weeks are not
    chosen by the data, lies below 0 with its whole interval.
    """
    w = len(difference)
    sums = np.tril(np.ones((w, w)))
    total, spread = sums @ difference, sums @ covariance @ sums.T
    weekly_error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    error = np.sqrt(np.maximum(np.diag(spread), 0.0))
    later = sums[:-1] - sums[-1]  # C_k - C_H
    fallen, fallen_spread = later @ difference, later @ covariance @ later.T
    two_sided = np.sort(np.abs(_normals(spread)).max(axis=1))
    band = float(np.quantile(two_sided, 1.0 - alpha))
    peak = int(np.argmax(total))
    rose = float(total[peak]) > 0.0
    p_back = None
    if rose:
        p_back = max(_largest(total, spread), _largest(fallen, fallen_spread))
    share, low, high = _share(total, spread, peak, band) if rose else (None, None, None)
    last = -(-w // 4)
    recent = float(difference[-last:].sum())
    recent_error = math.sqrt(max(float(covariance[-last:, -last:].sum()), 0.0))
    falls = recent + critical(alpha) * recent_error < 0.0
    return Course(
        weekly=np.asarray(difference),
        weekly_error=weekly_error,
        cumulative=total,
        cumulative_error=error,
        band=band,
        peak=peak + 1 if rose else None,
        back=share,
        back_low=low,
        back_high=high,
        p_back=p_back,
        net_p=_two_sided(float(total[-1]), float(error[-1])),
        falling=w - last + 1 if falls else None,
    )


def _normals(covariance: Floats) -> Floats:
    """Draws [DRAWS, k] of normals with variance 1 and these correlations; 0 where there is none.

    By eigenvalues, because weeks without events make the matrix singular.
    """
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.where(error > 0.0, 1.0 / np.where(error > 0.0, error, 1.0), 0.0)
    values, vectors = np.linalg.eigh(covariance * scale[:, None] * scale)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = np.random.default_rng(SEED).standard_normal((DRAWS, len(error)))
    return np.asarray(draws @ root.T)


def _largest(x: Floats, covariance: Floats) -> float:
    """The chance that the largest of centred normals reaches the largest of x / error."""
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    known = error > 0.0
    if not known.any():
        return 1.0
    found = float((x[known] / error[known]).max())
    draws = _normals(covariance)[:, known].max(axis=1)
    simulated = (1.0 + float((draws >= found).sum())) / (1.0 + DRAWS)
    # Beyond what draws can show, Bonferroni's bound, which is sharp in the tail.
    return min(simulated, float(known.sum()) * float(special.ndtr(-found)), 1.0)


def _share(
    total: Floats, spread: Floats, peak: int, band: float
) -> tuple[float, float | None, float | None]:
    """1 - C_H / C_peak, with Fieller's interval at `band` errors (of which ends may lack)."""
    share = 1.0 - float(total[-1] / total[peak])
    if peak == len(total) - 1:
        return 0.0, None, None
    level = 2.0 * float(special.ndtr(-band))
    region = fieller(
        float(total[-1]), float(total[peak]), float(spread[-1, -1]), float(spread[peak, peak]),
        float(spread[-1, peak]), level,
    )  # fmt: skip
    if region.shape != "interval":
        return share, None, None
    return share, 1.0 - region.high, 1.0 - region.low


def _two_sided(value: float, error: float) -> float | None:
    return 2.0 * float(special.ndtr(-abs(value) / error)) if error > 0.0 else None


def pull_forward_rows(plan: Plan, weeks: Weeks) -> list[Row]:
    """Rows `weekly_effect`, `cumulative_effect`, `pull_forward` and `net_effect`, by arm.

    `metric` is the name of the events. Intervals of weeks and of the net effect hold by themselves,
    those of the cumulative effect together, within an arm.
    """
    out: list[Row] = []
    base = plan.arms[0]
    for arm in plan.arms[1:]:
        why = _why_not(plan, weeks, arm)
        if why is None:
            out += _of_arm(weeks, arm, base, plan.spec.inference.alpha)
            continue
        out.append(_row(weeks, arm, base, "pull_forward", note=why))
        out.append(_row(weeks, arm, base, "net_effect", at=str(weeks.weeks), note=why))
    return out


def _why_not(plan: Plan, weeks: Weeks, arm: str) -> str | None:
    """Why an arm has no course: a note, or None."""
    assert plan.spec.design is not None
    if plan.spec.design.randomised:
        return CLUSTERED
    if arm not in weeks.arms or plan.arms[0] not in weeks.arms:
        return NOT_FOLLOWED.format(weeks=weeks.weeks)
    both = [weeks.arms.index(a) for a in (arm, plan.arms[0])]
    n = weeks.n[both]
    if not n.all():
        return NOT_FOLLOWED.format(weeks=weeks.weeks)
    if n.min() < LEAST_UNITS:
        return TOO_FEW
    if not np.isfinite(weeks.products[both]).all():
        return NOT_FINITE
    return None if weeks.products[both].any() else NO_EVENTS


def _row(weeks: Weeks, arm: str, base: str, estimand: str, **more: Any) -> Row:
    i, j = (weeks.arms.index(a) if a in weeks.arms else None for a in (arm, base))
    return Row(
        analysis="incentive",
        metric=weeks.event,
        estimand=estimand,
        arm=arm,
        baseline=base,
        n=0 if i is None else int(weeks.n[i]),
        n_baseline=0 if j is None else int(weeks.n[j]),
        **more,
    )


def _of_arm(weeks: Weeks, arm: str, base: str, alpha: float) -> list[Row]:
    both = [weeks.arms.index(a) for a in (arm, base)]
    covariance = sum(
        (weeks.covariance(a) / float(weeks.n[i]) for a, i in zip((arm, base), both, strict=True)),
        start=np.zeros((weeks.weeks, weeks.weeks)),
    )
    found = course(weeks.mean(arm) - weeks.mean(base), covariance, alpha)
    z, missing = critical(alpha), int(weeks.missing[both].sum())
    note = MISSING.format(count=f"{missing:,}") if missing else None

    def effect(estimand: str, k: int, value: float, error: float, half: float, how: str) -> Row:
        sure = error > 0.0
        return _row(
            weeks, arm, base, estimand, at=str(k), estimate=value,
            std_error=error if sure else None,
            ci_low=value - half * error if sure else None,
            ci_high=value + half * error if sure else None,
            p_value=_two_sided(value, error) if estimand != "cumulative_effect" else None,
            method=how, note=note,
        )  # fmt: skip

    rows = [
        effect("weekly_effect", k, float(d), float(e), z, "difference of means")
        for k, (d, e) in enumerate(zip(found.weekly, found.weekly_error, strict=True), 1)
    ]
    together = f"difference of means; {SIMULTANEOUS} over {weeks.weeks} weeks (max-t)"
    path = zip(found.cumulative, found.cumulative_error, strict=True)
    rows += [
        effect("cumulative_effect", k, float(d), float(e), found.band, together)
        for k, (d, e) in enumerate(path, 1)
    ]
    rows.append(_given_back(weeks, arm, base, found, note))
    net, error = float(found.cumulative[-1]), float(found.cumulative_error[-1])
    rows.append(effect("net_effect", weeks.weeks, net, error, z, "difference of means"))
    return rows


def _given_back(weeks: Weeks, arm: str, base: str, found: Course, note: str | None) -> Row:
    if found.peak is None:
        return _row(weeks, arm, base, "pull_forward", note=NO_PEAK)
    if found.falling is not None:
        note = STILL_FALLING.format(first=found.falling, last=weeks.weeks)
    return _row(
        weeks, arm, base, "pull_forward", at=str(found.peak), estimate=found.back,
        ci_low=found.back_low, ci_high=found.back_high, p_value=found.p_back,
        method="peak against horizon, over all weeks that may be the peak (max-t); interval by "
        "Fieller at the same quantile",
        note=note,
    )  # fmt: skip
