"""Baseline, design and effect (or units, or traffic) in; units, effect, power and days out.

The tests are those of this package: Welch's t of each arm against the control, so the noncentral t
where there is one look, and the bounds of `sequential` where there are several. Effects are counted
in the wanted direction, absolute, or relative to |baseline mean| where the design says so.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

Floats = npt.NDArray[np.float64]
Kind = Literal["obrien_fleming", "pocock", "confidence_sequence"]

MOST = 1e15  # units beyond which a size is not to be had
MANY = 1e8  # degrees of freedom from which Student's t is the normal

NO_EFFECT = "no_effect: the effect, with its margin, is not above 0, so no size shows it"
ZERO_VARIANCE = "zero_variance: every unit has the same value, so there is nothing to plan"
NOT_FINITE = "not_finite: the baseline's mean or variance is not a number"
ZERO_BASELINE = "zero_baseline: the baseline mean is 0, so a relative effect has no meaning"
OUT_OF_RANGE = "out_of_range: the effect would take the share below 0 or above 1"
TOO_FEW = "too_few_units: an arm has fewer than two units, or clusters"
TOO_MANY = "too_many_units: the effect is too small for any number of units"
TOO_LITTLE_TRAFFIC = "too_little_traffic: the days given bring fewer units than are needed"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """The control's mean and variance per unit; an arm's is the same, or p (1 - p) of a `share`."""

    mean: float
    variance: float
    share: bool = False

    @classmethod
    def of_share(cls, p: float) -> Outcome:
        """A share of units, `p` in the control; ValueError outside 0 to 1."""
        if not 0 <= p <= 1:
            raise ValueError(f"a share is between 0 and 1, not {p}")
        return cls(p, p * (1 - p), share=True)

    @classmethod
    def of_ratio(cls, x: float, y: float, xx: float, yy: float, xy: float) -> Outcome:
        """A ratio of means x / y; variances xx and yy and covariance xy of its parts, per unit.

        The variance is that of the linearisation, (xx - 2 R xy + R^2 yy) / y^2 (delta method).
        Source: Deng, Knoblich and Lu (2018), KDD '18, section 2. nan where y is 0.
        """
        ratio = x / y if y else math.nan
        return cls(ratio, max(xx - 2 * ratio * xy + ratio * ratio * yy, 0.0) / (y * y or math.nan))

    def of_arm(self, change: float) -> float:
        """The variance per unit in an arm whose mean is changed; nan where there is no such."""
        p = self.mean + change
        if not self.share:
            return self.variance
        return max(p * (1 - p), 0.0) if -1e-12 <= p <= 1 + 1e-12 else math.nan


@dataclasses.dataclass(frozen=True, slots=True)
class Clusters:
    """What is randomised holds `size` units in the mean, with coefficient of variation `cv`."""

    size: float
    icc: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        if not (self.size >= 1 and 0 <= self.icc <= 1 and self.cv >= 0):
            raise ValueError("clusters have size 1 or more, icc from 0 to 1, cv 0 or more")

    @property
    def effect(self) -> float:
        """Design effect 1 + ((1 + cv^2) size - 1) icc; never below 1.

        Source: Eldridge, Ashby and Kerry (2006), International Journal of Epidemiology 35(5),
        1292-1300.
        """
        return 1 + ((1 + self.cv**2) * self.size - 1) * self.icc


@dataclasses.dataclass(frozen=True, slots=True)
class Sequential:
    """Looks at equal steps to the planned size, where a confidence sequence is tightest."""

    kind: Kind
    looks: int

    def __post_init__(self) -> None:
        if self.looks < 1 or self.kind not in get_args(Kind):
            raise ValueError("sequential needs a known kind of bound and one look or more")


@dataclasses.dataclass(frozen=True, slots=True)
class Design:
    """How an experiment is run and judged; what the sizes and effects of this module refer to.

    =========== ===============================================================================
    shares      of the arms, the control first; they need not add up to 1
    alpha       of the whole family; `sides` 2 or 1 (one-sided: only the wanted direction counts)
    power       wanted for each comparison, so for the arm with the smallest share
    comparisons in the family: each is tested at alpha / comparisons, Bonferroni, which is the
                first step of Holm; None: one for each arm beside the control (or each pair
                of arms, where all are compared); 1: no correction
    pairs       whether all arms are compared with one another: the smallest two then need most
    r2          share of the variance that adjustment takes away
    clusters    where what is randomised is coarser than the unit
    sequential  where there is more than one look
    margin      of non-inferiority: how much worse may be borne. An arm passes where the lower end
                of its interval (at alpha / 2, where `sides` is 2) is above -margin
    relative    effects and margin are relative to the size of the baseline mean
    increase    whether more is better
    =========== ===============================================================================
    """

    shares: tuple[float, ...] = (1.0, 1.0)
    alpha: float = 0.05
    power: float = 0.8
    sides: int = 2
    comparisons: int | None = None
    pairs: bool = False
    r2: float = 0.0
    clusters: Clusters | None = None
    sequential: Sequential | None = None
    margin: float | None = None
    relative: bool = False
    increase: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", tuple(map(float, self.shares)))
        if len(self.shares) < 2 or not all(0 < s < math.inf for s in self.shares):
            raise ValueError("shares are two positive numbers or more, the control's first")
        if not (0 < self.alpha < 1 and 0 < self.power < 1 and self.sides in (1, 2)):
            raise ValueError("alpha and power are between 0 and 1, sides is 1 or 2")
        if not 0 <= self.r2 < 1 or (self.comparisons is not None and self.comparisons < 1):
            raise ValueError("r2 is from 0 to below 1, comparisons 1 or more")
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise ValueError("a margin is a positive number")
        if 2 * self.level >= self.power:
            raise ValueError("power must be above twice alpha")

    @property
    def level(self) -> float:
        """Alpha of one comparison."""
        arms = len(self.shares)
        family = arms * (arms - 1) // 2 if self.pairs else arms - 1
        return self.alpha / (self.comparisons or family)

    @property
    def fractions(self) -> tuple[float, float]:
        """Of all units: those in the control, and in the smallest other arm.

        Of `pairs` those in the two smallest arms; their variances are those of control and arm.
        """
        first, second = self.shares[0], min(self.shares[1:])
        if self.pairs:
            least = sorted(range(len(self.shares)), key=self.shares.__getitem__)[:2]
            first, second = (self.shares[i] for i in sorted(least))
        return first / sum(self.shares), second / sum(self.shares)

    @property
    def both(self) -> bool:
        """Whether a difference in either direction counts as found."""
        return self.sides == 2 and self.margin is None


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """Units needed: `exact` in all (a real number), `arms` rounded up, their `total`."""

    total: int | None = None
    arms: tuple[int, ...] | None = None
    clusters: tuple[int, ...] | None = None
    exact: float | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """The smallest effect that is found with the wanted power; `relative` to |mean|, if not 0."""

    absolute: float | None = None
    relative: float | None = None
    note: str | None = None


def power(units: float, effect: float, outcome: Outcome, design: Design) -> float:
    """Probability that a true `effect` is found in the smallest arm; `units` are in all arms.

    One look: T = (difference + margin) / error is noncentral t with Welch's degrees of freedom
    and noncentrality (effect + margin) / error; error^2 = v0 / n0 + v1 / n1, with v the variance
    per unit times (1 - r2) times the design effect, and degrees of freedom from clusters where
    there are any. Several looks: the probability to cross the bounds at any of them, on the normal
    scale, at either side. nan where there is no test (too few units, no variance ...).
    Source: Cohen (1988), "Statistical Power Analysis", chapter 2; Jennison and Turnbull (2000),
    "Group Sequential Methods", chapter 19.
    """
    if _cannot(outcome, design, units):
        return math.nan
    scale = abs(outcome.mean) if design.relative else 1.0
    return _power(units, effect * scale, outcome, _absolute(outcome, design))


def sample_size(effect: float, outcome: Outcome, design: Design) -> Size:
    """Units that find a true `effect` with the design's power; with a margin it may be 0 or less.

    None, and a note, where there is no size: see the texts at the top of this module.
    """
    why = _cannot(outcome, design)
    if why is not None:
        return Size(note=why)
    effect *= abs(outcome.mean) if design.relative else 1.0
    design = _absolute(outcome, design)
    error = _error(1.0, effect, outcome, design)
    if math.isnan(error):
        return Size(note=OUT_OF_RANGE)
    distance = _distance(effect, design)
    if not (distance > 0 and math.isfinite(distance)):
        return Size(note=NO_EFFECT)
    exact: float | None = max((_drift(design) * error / distance) ** 2, _least(design))
    if design.sequential is None:
        exact = _root_size(effect, outcome, design)
    if exact is None or exact > MOST:
        return Size(note=TOO_MANY)
    whole, size = sum(design.shares), design.clusters.size if design.clusters else None
    of_arm = [exact * s / whole * (1 - 1e-9) for s in design.shares]
    arms = tuple(math.ceil(n) for n in of_arm)
    clusters = tuple(math.ceil(n / size) for n in of_arm) if size else None
    return Size(sum(arms), arms, clusters, exact)


def detectable_effect(units: float, outcome: Outcome, design: Design) -> Effect:
    """The smallest true effect that `units` in all arms find with the design's power.

    With a margin it may be below 0: an arm that is truly so much worse still passes.
    """
    why = _cannot(outcome, design, units)
    if why is not None:
        return Effect(note=why)
    design = _absolute(outcome, design)
    low, most = -(design.margin or 0.0), math.inf
    if outcome.share:
        down, most = outcome.mean, 1 - outcome.mean
        if not design.increase:
            down, most = most, down
        low = max(low, -down)
    step = 4 * _error(units, 0.0, outcome, design)

    def missing(effect: float) -> float:
        if design.sequential is None:
            return _power(units, effect, outcome, design) - design.power
        error = _error(units, effect, outcome, design)
        return _distance(effect, design) - _drift(design) * error

    low += 1e-12 * step
    high = min(low + step, most)
    while high < most and missing(high) < 0:
        step *= 2
        high = min(low + step, most)
    if missing(high) < 0:
        return Effect(note=OUT_OF_RANGE)
    found = low if missing(low) >= 0 else _root(missing, low, high)
    return Effect(found, found / abs(outcome.mean) if outcome.mean else None)


def bounds(design: Design) -> tuple[Floats, Floats]:
    """Fractions of the planned size at which there are looks, and the critical z there (K,)."""
    from retention_lab.ab import sequential

    plan = design.sequential or Sequential("pocock", 1)
    level = design.level * 2 / design.sides
    at = np.arange(1, plan.looks + 1) / plan.looks
    if plan.kind != "confidence_sequence":
        return at, np.asarray(sequential.boundaries(at, level, plan.kind).critical)
    x = at * sequential.tightest_rho(level, 1.0) ** 2
    return at, np.sqrt((1 + 1 / x) * (np.log1p(x) - 2 * math.log(level)))


def inflation(design: Design) -> float:
    """Units of a sequential design over those of one look at the same power, for the normal.

    Source: Jennison and Turnbull (2000), chapter 2: the ratio R(K, alpha, beta).
    """
    return (_drift(design) / _drift(dataclasses.replace(design, sequential=None))) ** 2


def width(design: Design) -> float:
    """Width of the interval at the last look over that of one look with the same units."""
    return float(bounds(design)[1][-1] / bounds(dataclasses.replace(design, sequential=None))[1][0])


def _cannot(outcome: Outcome, design: Design, units: float = MOST) -> str | None:
    if not (math.isfinite(outcome.mean) and math.isfinite(outcome.variance)):
        return NOT_FINITE
    if outcome.variance <= 0:
        return ZERO_VARIANCE
    if design.relative and outcome.mean == 0:
        return ZERO_BASELINE
    return None if _least(design) <= units < math.inf else TOO_FEW


def _absolute(outcome: Outcome, design: Design) -> Design:
    if not design.relative:
        return design
    margin = None if design.margin is None else design.margin * abs(outcome.mean)
    return dataclasses.replace(design, relative=False, margin=margin)


def _distance(effect: float, design: Design) -> float:
    """From the hypothesis to the effect."""
    return abs(effect) if design.both else effect + (design.margin or 0.0)


def _least(design: Design) -> float:
    """Units that give two to each of both arms, or two clusters."""
    return 2 * (design.clusters.size if design.clusters else 1.0) / min(design.fractions)


def _variances(effect: float, outcome: Outcome, design: Design) -> tuple[float, float]:
    """Of the means of control and arm, times the units in all arms."""
    factor = (1 - design.r2) * (design.clusters.effect if design.clusters else 1.0)
    arm = outcome.of_arm(effect if design.increase else -effect)
    return outcome.variance * factor / design.fractions[0], arm * factor / design.fractions[1]


def _error(units: float, effect: float, outcome: Outcome, design: Design) -> float:
    return math.sqrt(sum(_variances(effect, outcome, design)) / units)


def _power(units: float, effect: float, outcome: Outcome, design: Design) -> float:
    a, b = _variances(effect, outcome, design)
    drift = _distance(effect, design) / math.sqrt((a + b) / units)
    if design.sequential is not None or not math.isfinite(drift):
        return _crossed(drift, design) if math.isfinite(drift) else math.nan
    size = design.clusters.size if design.clusters else 1.0
    n0, n1 = (units * f / size for f in design.fractions)
    share = a / (a + b)
    df = 1 / (share * share / (n0 - 1) + (1 - share) ** 2 / (n1 - 1))
    upper = _beyond(df, drift, design)
    return min(upper + _beyond(df, -drift, design), 1.0) if design.both else upper


def _beyond(df: float, drift: float, design: Design) -> float:
    """Probability that noncentral t is above the critical value."""
    tail = design.level / design.sides
    normal = -float(special.ndtri(tail))
    if df > MANY or abs(drift) > normal + 37:
        return float(special.ndtr(drift - normal))
    t = float(special.stdtrit(df, tail))
    found = float(special.nctdtr(df, -drift, t))
    if math.isnan(found):  # scipy's far tail; by the normal approximation of Johnson and Welch
        return float(special.ndtr((t * (1 - 0.25 / df) + drift) / math.sqrt(1 + t * t / 2 / df)))
    return found


def _crossed(drift: float, design: Design) -> float:
    """Probability to cross the bounds at any look; `drift` is the mean of z at the last."""
    from retention_lab.ab import sequential

    at, critical = _bounds(design)
    if drift > critical[-1] + 37:
        return 1.0
    return min(float(np.sum(sequential.crossing(at, critical, drift))), 1.0)


_bounds = functools.lru_cache(maxsize=64)(bounds)


@functools.lru_cache(maxsize=64)
def _drift(design: Design) -> float:
    """The mean of z at the last look that gives the design its power."""
    top = float(_bounds(design)[1][-1]) + float(special.ndtri(design.power)) + 1
    return _root(lambda drift: _crossed(drift, design) - design.power, 0.0, top)


def _root_size(effect: float, outcome: Outcome, design: Design) -> float | None:
    def missing(log_units: float) -> float:
        return _power(math.exp(log_units), effect, outcome, design) - design.power

    low = math.log(_least(design) * (1 + 1e-12))
    if missing(low) >= 0:
        return math.exp(low)
    while missing(low + 1) < 0:
        low += 1
        if low > math.log(MOST):
            return None
    return math.exp(_root(missing, low, low + 1))


def _root(missing: Callable[[float], float], low: float, high: float) -> float:
    return float(optimize.brentq(missing, low, high, xtol=1e-14 * (high - low), rtol=1e-14))
