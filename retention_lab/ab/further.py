"""A metric's levels in; further views of the same effect out.

Factors of a factorial design, non-inferiority, intervals that hold together, and the posterior.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy import special

from retention_lab.ab import estimate as est
from retention_lab.ab.adjust import Adjusted
from retention_lab.ab.bayes import compare
from retention_lab.ab.metric import MetricRows, pairs, row
from retention_lab.ab.sequential import TOO_EARLY
from retention_lab.results import Row

NOT_ESTIMABLE = "not_estimable: not every combination of the factors has one arm with units"
Weights = dict[str, float]


class Further:
    """The arms of one metric, at the same covariates where it has any."""

    def __init__(self, metric: MetricRows) -> None:
        self.metric, self.arms, self.alpha = metric, metric.arms, metric.alpha
        self.levels = [metric.everyone.level(a) for a in self.arms]
        self.adjusted: Adjusted | None = None
        if metric.need.covariates:
            found = metric.everyone.adjusted(*((a,) for a in self.arms))
            if not isinstance(found, str):
                self.adjusted, self.levels = found, list(found.levels)
        self.after = " after Lin's adjustment" if self.adjusted is not None else ""
        small = any(0 < metric.everyone.n(a) < metric.least for a in self.arms)
        self.silent = metric.fault is not None or small

    def contrast(
        self,
        weights: Sequence[float],
        alpha: float | None = None,
        times: Sequence[float] | None = None,
    ) -> est.Estimate:
        """sum of weight x level of the arms, in their order."""
        shared = self.adjusted.variance(weights) if self.adjusted is not None else 0.0
        return est.contrast(self.levels, weights, alpha or self.alpha, shared, times)

    def _where(self, estimand: str, **more: Any) -> dict[str, Any]:
        return {
            "analysis": "ab",
            "metric": self.metric.metric.name,
            "estimand": estimand,
            "method": f"{self.metric.test}{self.after}",
            **more,
        }

    def factors(self, factors: Mapping[str, Mapping[str, str]], control: str) -> Iterator[Row]:
        """Main effects (averaged over the other factors, equally) and interactions of two."""
        if self.silent:
            return
        there = {a for a in self.arms if self.metric.everyone.n(a)}
        full = len(there) == math.prod(len(set(levels.values())) for levels in factors.values())
        for term, weights in effects(factors, control):
            estimand = "main_effect" if "," not in term else "interaction"
            found = est.Estimate(note=NOT_ESTIMABLE)
            if full:
                found = self.contrast([weights.get(a, 0.0) for a in self.arms])
            yield row(found, **self._where(estimand, term=term))

    def non_inferiority(
        self, base: str, looks: Mapping[str, float | None] | None = None
    ) -> Iterator[Row]:
        """How far each arm lies on the good side of the margin of harm; one-sided p-value.

        `looks` is, by arm, the level of the last look of a sequential test: the interval is at it,
        and there is none, and no p-value, where the look has no bounds.
        """
        metric = self.metric.metric
        margin, relative = metric.margin, metric.relative_margin
        if metric.role != "guardrail" or (margin is None and relative is None) or self.silent:
            return
        sign = 1.0 if metric.direction == "increase" else -1.0
        at = self.arms.index(base)
        room = 0.0 if relative is None else relative * math.copysign(1, self.levels[at].estimate)
        for arm in self.arms[1:]:
            weights = [0.0] * len(self.arms)
            weights[self.arms.index(arm)], weights[at] = sign, -sign + room
            level = looks.get(arm) if looks is not None else self.alpha
            times = [1.0] * len(self.arms)
            times[self.arms.index(arm)] = _at_margin(
                self.levels[at].estimate, sign * (margin or 0.0), sign * (relative or 0.0)
            )
            found = self.contrast(weights, level, times)
            if found.estimate is None or found.std_error is None:
                yield row(found, **self._where("non_inferiority", arm=arm, baseline=base))
                continue
            step = margin or 0.0
            estimate = found.estimate + step
            half = (found.high or 0.0) - found.estimate
            free = _freedom(est.alike(self.levels, weights, times)[0], weights)
            p_value = float(special.stdtr(free, -estimate / found.std_error))
            if level is None:
                early = est.Estimate(estimate, found.std_error, note=TOO_EARLY)
                yield row(early, **self._where("non_inferiority", arm=arm, baseline=base))
                continue
            once = p_value if looks is None else None
            kept = est.Estimate(estimate, found.std_error, estimate - half, estimate + half, once)
            said = (
                f"margin {margin:g}" if margin is not None else f"margin {relative:.3g} of control"
            )
            yield row(kept, **self._where("non_inferiority", arm=arm, baseline=base, term=said))

    def simultaneous(self, alpha: float) -> Iterator[Row]:
        """The differences with intervals at `alpha` each, so that a family holds together."""
        m = self.metric.margin(alpha=alpha)
        for arm, base in pairs(self.metric.plan):
            if self.silent:
                continue
            found = m.compare((arm,), (base,)).difference
            method = f"{self.metric.test}{self.after}, Bonferroni"
            yield row(
                found,
                **self._where("simultaneous_difference", arm=arm, baseline=base)
                | {"method": method},
            )

    def posterior(self, prior_sd: float | None) -> Iterator[Row]:
        """Which arm is best, what choosing another loses, and the credible difference."""
        if self.silent or any(
            level.doubt or level.n < 2 or not 0 < level.variance < math.inf for level in self.levels
        ):
            return
        levels, _ = est.alike(self.levels, [1.0] * len(self.levels))
        found = compare(
            [level.estimate for level in levels],
            [level.variance for level in levels],
            prior_sd,
            self.metric.metric.direction == "increase",
            self.alpha,
        )
        prior = "flat prior" if prior_sd is None else f"normal prior, sd {prior_sd:g}"
        for arm, one in zip(self.arms, found, strict=True):
            said = {"arm": arm, "method": f"normal posterior, {prior}{self.after}"}
            best = est.Estimate(one.prob_best)
            yield row(best, **self._where("probability_best") | said)
            yield row(est.Estimate(one.expected_loss), **self._where("expected_loss") | said)


def _freedom(levels: Sequence[est.Level], weights: Sequence[float]) -> float:
    parts = [(w * w * v.variance, v.freedom) for v, w in zip(levels, weights, strict=True) if w]
    own = math.fsum(v for v, _ in parts)
    return 1.0 / math.fsum((v / own) ** 2 / free for v, free in parts)


def _at_margin(base: float, good: float, relative: float) -> float:
    """How many times as many events the arm has at the margin of harm, where that is more.

    `good` and `relative` are the margin, positive where more is good.
    """
    if base <= 0.0:
        return 1.0
    return max(1.0, 1.0 - relative - good / base)


def effects(
    factors: Mapping[str, Mapping[str, str]], control: str
) -> Iterator[tuple[str, Weights]]:
    """Contrasts of arms: each factor's levels against the control's, and interactions of two.

    >>> arms = {"f": {"a": "0", "b": "1", "c": "0", "d": "1"}}
    >>> arms["g"] = {"a": "0", "b": "0", "c": "1", "d": "1"}
    >>> dict(effects(arms, "a"))["f: 1"]
    {'a': -0.5, 'b': 0.5, 'c': -0.5, 'd': 0.5}
    """
    for name, levels in factors.items():
        for level in _others(levels, control):
            yield f"{name}: {level}", _apart(levels, level, levels[control])
    for (f, one), (g, two) in itertools.combinations(factors.items(), 2):
        for a in _others(one, control):
            for b in _others(two, control):
                sides = ((x, y) for x in (a, one[control]) for y in (b, two[control]))
                weights: Weights = {}
                for x, y in sides:
                    arms = [arm for arm in one if one[arm] == x and two[arm] == y]
                    sign = 1.0 if (x == a) == (y == b) else -1.0
                    weights |= {arm: sign / len(arms) for arm in arms}
                yield f"{f}: {a}, {g}: {b}", weights


def _others(levels: Mapping[str, str], control: str) -> list[str]:
    return [level for level in dict.fromkeys(levels.values()) if level != levels[control]]


def _apart(levels: Mapping[str, str], level: str, base: str) -> Weights:
    """Mean of the arms with `level` less the mean of those with `base`."""
    up = [a for a, x in levels.items() if x == level]
    down = [a for a, x in levels.items() if x == base]
    weights = dict.fromkeys(levels, 0.0)
    return weights | {a: 1.0 / len(up) for a in up} | {a: -1.0 / len(down) for a in down}
