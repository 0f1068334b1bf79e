"""Estimates at looks in time order in; bounds and p-values that hold at all looks out.

A confidence sequence may be looked at whenever and for as long as one likes. A group-sequential
test has looks at fractions of a planned size, and wins back power for that. Both rest on the normal
limit and on independent increments: a look has all units of earlier looks with the same outcomes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from retention_lab.ab.estimate import NO_VARIANCE, NOT_FINITE, Estimate

Floats = npt.NDArray[np.float64]
Kind = Literal["obrien_fleming", "pocock"]
KINDS: tuple[Kind, ...] = ("obrien_fleming", "pocock")

MIN_UNITS = 1000  # see `confidence_sequence`
MIN_STEP = 1e-3  # the least growth of the fraction that makes a look
MIN_P = 1e-16  # repeated p-values stop here

NO_ERROR = "no_error: there is no estimate with a standard error at this look"
TOO_EARLY = "too_early: too few units so far for a bound that holds at every look"
NOT_A_LOOK = "no_new_units: hardly any unit is new, so this is not a look of its own"
NOTHING_TO_SPEND = "nothing_to_spend: none of the error rate is left, or due yet, at this look"
CONTRADICTION = "contradiction: no value is within the bounds of every look so far"

_ROOT_2PI = math.sqrt(2.0 * math.pi)
_X, _WEIGHT = np.polynomial.legendre.leggauss(12)
_PANEL = 4.0  # width of an integration panel in standard deviations of an increment
_FAR = 38.0  # z values from here on have a tail that doubles take for 0
_LEAST = 1e-100  # a share of alpha that is not worth a look


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Bounds at K looks; every array has shape (K,), nan where there is no number.

    ========================= ==========================================================
    n                         units in both arms so far (nan: not given)
    estimate, std_error       as given
    critical                  the bounds are estimate -+ critical x std_error
    low, high, p_at_look      of this look alone
    low_so_far, high_so_far   intersection of the bounds up to this look
    p_value                   least `p_at_look` up to this look
    notes                     why a look has no bounds, or what is odd; None elsewhere
    ========================= ==========================================================

    Where no value is within all bounds so far, `low_so_far` and `high_so_far` are nan from there on
    and `notes` say so: that happens with probability alpha at most.
    """

    n: Floats
    estimate: Floats
    std_error: Floats
    critical: Floats
    low: Floats
    high: Floats
    p_at_look: Floats
    low_so_far: Floats
    high_so_far: Floats
    p_value: Floats
    notes: tuple[str | None, ...]

    def looks(self, so_far: bool = True) -> tuple[Estimate, ...]:
        """One `Estimate` a look, with the bounds and p-value `so_far`, or of the look alone."""
        ends = (self.low_so_far, self.high_so_far) if so_far else (self.low, self.high)
        numbers = (self.estimate, self.std_error, *ends, self.p_value if so_far else self.p_at_look)
        table = [[None if math.isnan(v) else v for v in c.tolist()] for c in numbers]
        return tuple(map(Estimate, *table, self.notes))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Boundaries:
    """Two-sided critical z values of a group-sequential test, and alpha spent so far; shape (K,).

    A critical value is infinite where the look has nothing to spend.
    """

    fractions: Floats
    critical: Floats
    spent: Floats


def tightest_rho(alpha: float, target: float) -> float:
    """The rho at which the boundary of `confidence_sequence` is tightest at n = target.

    With u = 1 + target rho^2 the squared boundary is u / (u - 1) (log u - 2 log alpha). Its
    derivative is 0 where u - log u = 1 - 2 log alpha, so u = -W(-alpha^2 / e) with the lower branch
    of Lambert's W, and the boundary there is sqrt(u) standard errors.
    Source: Waudby-Smith et al. (2024), as in `confidence_sequence`, appendix B.2.
    """
    _check_alpha(alpha)
    if not (math.isfinite(target) and target > 0):
        raise ValueError(f"target must be a positive number of units, not {target}")
    u = -special.lambertw(-alpha * alpha / math.e, -1).real
    return math.sqrt((u - 1.0) / target)


def confidence_sequence(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    n: npt.ArrayLike,
    alpha: float,
    target: float,
    *,
    min_units: int = MIN_UNITS,
) -> Bounds:
    """Asymptotic confidence sequence of an effect that is looked at again and again.

    `estimate`, `std_error` and `n` have shape (K,), looks in time order: the effect from all units
    so far, its standard error, and the number of those units in both arms. With rho from
    `tightest_rho(alpha, target)` the bounds at a look are

        estimate -+ std_error sqrt((1 + 1 / x) log((1 + x) / alpha^2)),   x = n rho^2,

    and hold at all looks together with probability 1 - alpha, for any rule of stopping. The p-value
    is the alpha at which the bound meets 0 (rho as it is): sqrt(1 + x) exp(-z^2 x / (2 (1 + x))), z
    = estimate / std_error, and 1 at most. The clock is n: std_error is to shrink as 1 / sqrt(n), so
    the shares of the arms are to stay about the same.

    A look has no bounds where its estimate or error is nan or infinite, its error 0, or n below
    `min_units`. `MIN_UNITS` comes from the calibration: revenue that is 0 for 95% and log-normal
    for the rest, arms 1 to 3, 60 daily looks: error 5% at most. More unequal arms need more (1 to
    9: 10,000, and 30,000 with heavier tails), rarer purchases too.

    ValueError: shapes differ, n falls, alpha is not in (0, 1), or target is not positive.
    Source: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit
    theory and asymptotic confidence sequences", Annals of Statistics 52(6), theorem 2.2; the
    mixture is Robbins' (1970), Annals of Mathematical Statistics 41(5), 1397-1409.
    """
    centre, error, units = _looks(estimate, std_error, n)
    rho = tightest_rho(alpha, target)
    notes = [
        _no_error(c, e) or (None if u >= max(min_units, 1) else TOO_EARLY)
        for c, e, u in zip(centre, error, units, strict=True)
    ]
    given = np.array([note is None for note in notes], bool)
    x = np.where(given, units, 1.0) * rho * rho
    critical = np.sqrt((1.0 + 1.0 / x) * (np.log1p(x) - 2.0 * math.log(alpha)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        z = np.abs(centre / error)
        log_p = 0.5 * np.log1p(x) - 0.5 * z * z / (1.0 + 1.0 / x)
    p_value = np.exp(np.minimum(np.where(given, log_p, 0.0), 0.0))
    return _bounds(units, centre, error, critical, p_value, notes)


def spending(fraction: npt.ArrayLike, alpha: float, kind: Kind) -> Floats:
    """Two-sided alpha that may be spent up to `fraction` of the planned size (any shape).

    With half of alpha on each side, as functions of t:
    "obrien_fleming": 4 (1 - Phi(z / sqrt(t))), z the upper alpha / 4 point of the normal;
    "pocock": alpha log(1 + (e - 1) t).
    A fraction above 1 counts as 1: then all of alpha is spent.

    ValueError: a fraction below 0 or nan, alpha not in (0, 1), or an unknown kind.
    Source: Lan and DeMets (1983), Biometrika 70(3), 659-663.
    """
    _check_alpha(alpha)
    t = np.asarray(fraction, np.float64)
    if not np.all(t >= 0):
        raise ValueError("a fraction of the planned size must be a number of 0 or more")
    t = np.minimum(t, 1.0)
    if kind == "pocock":
        return np.asarray(alpha * np.log1p((math.e - 1.0) * t))
    if kind != "obrien_fleming":
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    with np.errstate(divide="ignore"):
        return np.asarray(4.0 * special.ndtr(special.ndtri(alpha / 4.0) / np.sqrt(t)))


def boundaries(
    fractions: npt.ArrayLike, alpha: float, kind: Kind, *, over_running: bool = False
) -> Boundaries:
    """Critical z values at looks after `fractions` (K,) of the planned size.

    The critical value of a look is the one at which, under no effect, the probability to cross
    there for the first time is what `spending` grants since the last look. The last fraction may
    be below 1; then some of alpha is not spent. With `over_running` fractions may go above 1: the
    first look from 1 on spends what is left, later ones have nothing. A look less than `MIN_STEP`
    after the last one spends nothing; its share goes to the next.

    ValueError: fractions that are not strictly increasing, or not in (0, 1] (above 0 with
    `over_running`), alpha not in (0, 1), or an unknown kind.
    Source: Lan and DeMets (1983); the probabilities by the recursion of Armitage, McPherson and
    Rowe (1969), JRSS A 132(2), 235-244 (see `crossing`), the critical values by root finding.
    """
    t = _check_fractions(fractions)
    if t.size and t[-1] > 1.0 and not over_running:
        raise ValueError("a fraction above 1 needs over_running=True")
    granted = spending(t, alpha, kind)
    used: list[int] = []
    for k in range(t.size):
        last = (float(t[used[-1]]), float(granted[used[-1]])) if used else (0.0, 0.0)
        if t[k] - last[0] >= MIN_STEP and granted[k] - last[1] > _LEAST:
            used.append(k)
    critical, spent = np.full(t.size, np.inf), np.zeros(t.size)
    spent[used] = granted[used]
    steps, shares = np.diff(t[used], prepend=0.0), np.diff(granted[used], prepend=0.0)
    nodes, mass = np.zeros(1), np.ones(1)
    for i, k in enumerate(used):
        step = float(steps[i])
        edge = _edge(nodes, mass, step, float(t[k]), float(shares[i]))
        critical[k] = edge / math.sqrt(t[k])
        if i + 1 < len(used):
            nodes, mass = _stay(nodes, mass, step, edge, float(steps[i + 1]))
    return Boundaries(t, critical, np.maximum.accumulate(spent))


def crossing(fractions: npt.ArrayLike, critical: npt.ArrayLike, drift: float = 0.0) -> Floats:
    """Probability to cross -+`critical` for the first time at each look; both arguments (K,).

    `drift` is the expectation of z at fraction 1: 0 under no effect; effect / std_error at the
    planned size otherwise, and then the sum is the power. Let S = z sqrt(t), whose increment over
    d is normal with mean drift d and variance d, and f_k the density of S at look k where nothing
    was crossed before. Then f_k(s) is the integral of f_(k-1)(u) phi((s - u - drift d) / sqrt(d)) /
    sqrt(d) over u within the bounds of look k - 1, here by Gauss-Legendre panels.

    ValueError: fractions not positive or not `MIN_STEP` apart, shapes that differ, z not positive.
    Source: Armitage, McPherson and Rowe (1969); Jennison and Turnbull (2000), chapter 19.
    """
    t, z = _check_fractions(fractions), np.asarray(critical, np.float64)
    if z.shape != t.shape or not np.all(z > 0) or np.any(np.diff(t, prepend=0.0) < MIN_STEP):
        raise ValueError(f"one positive z for each fraction, and fractions {MIN_STEP} apart")
    used = np.flatnonzero(z < _FAR)
    steps = np.append(np.diff(t[used], prepend=0.0), np.inf)
    first = np.zeros(t.size)
    nodes, mass = np.zeros(1), np.ones(1)
    for i, k in enumerate(used):
        edge, step = float(z[k]) * math.sqrt(t[k]), float(steps[i])
        first[k] = _leave(nodes, mass, step, edge, drift)
        nodes, mass = _stay(nodes, mass, step, edge, float(steps[i + 1]), drift)
    return first


def repeated_intervals(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    fractions: npt.ArrayLike,
    alpha: float,
    kind: Kind,
    *,
    n: npt.ArrayLike | None = None,
    last_p_only: bool = False,
) -> Bounds:
    """Repeated confidence intervals and p-values of a group-sequential test; all arrays (K,).

    The interval at a look is estimate -+ critical x std_error; all hold together with probability
    1 - alpha, stopped or not. The p-value of a look is the least alpha whose boundary is reached
    there, by root finding; at least `MIN_P`, and 1 where there is none. A look that cannot be used
    (no error, hardly a new unit) spends nothing. Fractions above 1 are over-running: the first
    spends what is left, later ones have no bounds. `n` is only passed on. Time grows with the cube
    of K; with `last_p_only`, when only the last look with bounds gets p-values, with its square.

    ValueError: shapes differ, fractions fall, or as `spending` says.
    Source: Jennison and Turnbull (1989), JRSS B 51(3), 305-361; (2000), "Group Sequential Methods
    with Applications to Clinical Trials", chapter 9.
    """
    centre, error, t = _looks(estimate, std_error, fractions)
    units = np.full(t.shape, np.nan) if n is None else np.asarray(n, np.float64)
    if units.shape != t.shape:
        raise ValueError("n needs one number for each look")
    notes = [
        _no_error(c, e) or (None if math.isfinite(f) else NOT_FINITE)
        for c, e, f in zip(centre, error, t, strict=True)
    ]
    used: list[int] = []
    for k in (k for k, note in enumerate(notes) if note is None):
        if t[k] - (t[used[-1]] if used else 0.0) < MIN_STEP:
            notes[k] = NOT_A_LOOK
        else:
            used.append(k)
    found = boundaries(t[used], alpha, kind, over_running=True)
    bounded = np.flatnonzero(np.isfinite(found.critical))
    critical, p_value = np.full((2, t.size), np.nan)
    for i, k in enumerate(used):
        if i not in bounded:
            notes[k] = NOTHING_TO_SPEND
            continue
        critical[k] = found.critical[i]
        if i == bounded[-1] or not last_p_only:
            with np.errstate(over="ignore"):
                z = abs(float(centre[k] / error[k]))
            p_value[k] = _repeated_p(z, t[used[: i + 1]], kind)
    return _bounds(units, centre, error, critical, p_value, notes)


def _repeated_p(z: float, fractions: Floats, kind: Kind) -> float:
    """The least alpha whose boundary at the last of `fractions` is at most `z`."""

    @functools.cache
    def beyond(x: float) -> float:
        alpha = 2.0 * float(special.ndtr(-x))
        found = boundaries(fractions, alpha, kind, over_running=True)
        return min(float(found.critical[-1]), _FAR) - z

    # In z values of an ordinary test, in which boundaries are nearly linear and never below them.
    least, most = 1e-9, min(1.0000001 * z + 1e-6, -float(special.ndtri(MIN_P / 2.0)))
    if beyond(least) > 0 or beyond(most) <= 0:
        return 1.0 if beyond(least) > 0 else MIN_P
    return 2.0 * float(special.ndtr(-optimize.brentq(beyond, least, most, xtol=1e-11)))


def _leave(nodes: Floats, mass: Floats, step: float, edge: float, drift: float = 0.0) -> float:
    """Probability that S, spread over `nodes` with `mass`, is beyond -+`edge` after `step`."""
    centre, sd = nodes + drift * step, math.sqrt(step)
    return float(mass @ (special.ndtr((-edge - centre) / sd) + special.ndtr((centre - edge) / sd)))


def _edge(nodes: Floats, mass: Floats, step: float, now: float, share: float) -> float:
    """The edge beyond which S is with probability `share` at `now`, under no effect.

    Newton's method on the logarithm of the probability. That is concave (the density stays
    log-concave under truncation and convolution), so that from an edge too far out no iteration
    goes past. Too far out are the edge without earlier looks, and that of a start at the last node.
    """
    if _leave(nodes, mass, step, 0.0) <= share:
        return 0.0
    sd, far = math.sqrt(step), -float(special.ndtri(share / 2.0))
    edge = min(far * math.sqrt(now), float(nodes[-1]) + far * sd)
    for _ in range(50):
        z = (edge + nodes) / sd
        beyond = 2.0 * float(mass @ special.ndtr(-z))
        slope = 2.0 * float(mass @ np.exp(-0.5 * z * z)) / (sd * _ROOT_2PI)
        move = math.log(beyond / share) * beyond / slope
        edge += move
        if abs(move) <= 1e-13 * edge:
            break
    return edge


def _stay(
    nodes: Floats, mass: Floats, step: float, edge: float, following: float, drift: float = 0.0
) -> tuple[Floats, Floats]:
    """Nodes within -+`edge`, and the mass of S on them after `step`; panels suit both steps."""
    sd = math.sqrt(step)
    panels = math.ceil(2.0 * edge / (_PANEL * min(sd, math.sqrt(following))))
    half = edge / panels
    inside = (half * (2.0 * np.arange(panels)[:, None] + 1.0 + _X) - edge).ravel()
    z = (inside[:, None] - nodes - drift * step) / sd
    density = np.exp(-0.5 * z * z) @ mass / (sd * _ROOT_2PI)
    return inside, np.tile(half * _WEIGHT, panels) * density


def _bounds(
    n: Floats, centre: Floats, error: Floats, critical: Floats, p: Floats, notes: list[str | None]
) -> Bounds:
    """Everything of `Bounds`; looks with a note get no bounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = centre - critical * error, centre + critical * error
    for k, note in enumerate(notes):
        if note is None and not (math.isfinite(low[k]) and math.isfinite(high[k])):
            notes[k] = NOT_FINITE
    none = np.array([note is not None for note in notes], bool)
    critical, low, high, p = (np.where(none, np.nan, v) for v in (critical, low, high, p))
    lowest, highest = np.fmax.accumulate(low), np.fmin.accumulate(high)
    empty = lowest > highest
    lowest[empty] = highest[empty] = np.nan
    said = tuple(CONTRADICTION if e and not d else d for e, d in zip(empty, notes, strict=True))
    least = np.fmin.accumulate(p)
    return Bounds(n, centre, error, critical, low, high, p, lowest, highest, least, said)


def _no_error(estimate: float, error: float) -> str | None:
    if math.isnan(estimate) or math.isnan(error):
        return NO_ERROR
    if math.isinf(estimate) or math.isinf(error):
        return NOT_FINITE
    return NO_VARIANCE if error == 0.0 else None


def _looks(*columns: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    estimate, error, size = (np.asarray(c, np.float64) for c in columns)
    if estimate.ndim != 1 or not estimate.shape == error.shape == size.shape:
        raise ValueError("looks need one estimate, one error and one size each")
    if np.any(error < 0):
        raise ValueError("a standard error is not negative")
    if np.any(np.diff(size[np.isfinite(size)]) < 0):
        raise ValueError("sizes must not fall: looks go in time order")
    return estimate, error, size


def _check_fractions(fractions: npt.ArrayLike) -> Floats:
    t = np.asarray(fractions, np.float64)
    if t.ndim != 1 or not np.all(np.isfinite(t)) or not np.all(np.diff(t, prepend=0.0) > 0):
        raise ValueError("fractions must be one row of strictly increasing positive numbers")
    return t


def _check_alpha(alpha: float) -> None:
    if not _LEAST < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
