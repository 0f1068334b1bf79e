"""A sample and its folds in; estimates that should be nothing, or should not change, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from retention_lab.incentives.observed.aipw import average_effect
from retention_lab.incentives.observed.crossfit import Fitted, cross_fit
from retention_lab.incentives.observed.effects import Floats, Ints, Solved
from retention_lab.incentives.observed.nuisance import Learner, Linear
from retention_lab.incentives.observed.sample import Sample

TIMES = 20
Key = tuple[str, str]  # outcome, arm


@dataclasses.dataclass(frozen=True, slots=True)
class Placebo:
    """Effects of treatments that nobody got: their mean, deviation, and central 1 - alpha range.

    `p_value` is the share of effects, the real one among them, that are at least as large as it.
    """

    mean: float
    deviation: float
    low: float
    high: float
    p_value: float
    times: int


def placebo_treatment(
    sample: Sample, fitted: Fitted, outcomes: Sequence[str], times: int = TIMES, seed: int = 1
) -> dict[Key, Floats]:
    """By outcome and arm, average effects [times] where the arms are dealt anew in each fold.

    The chance of a dealt arm is its share of the fold, so it is known and nobody is trimmed;
    outcomes are fitted by the linear learner whatever the estimate used. Where units belong to
    clusters they are dealt one by one all the same.
    """
    rng = np.random.default_rng([seed, times])
    found: dict[Key, list[float]] = {}
    for _ in range(times):
        arm, chance = _deal(sample.arm, fitted.fold, len(sample.arms), rng)
        again = dataclasses.replace(sample, arm=arm, known=chance)
        crossed = cross_fit(
            again, Linear(), fitted.folds, outcomes=outcomes, fold=fitted.fold,
            most_threads=fitted.threads,
        ).crossed  # fmt: skip
        for name, c in crossed.items():
            for k, at in enumerate(c.arms[1:], 1):
                found.setdefault((name, at), []).append(average_effect(c, k, 0, 0.0).theta)
    return {k: np.array(v) for k, v in found.items() if len(v) == times}


def placebo_range(effects: Floats, real: float, alpha: float = 0.05) -> Placebo | None:
    """What placebo effects [times] say beside the `real` one; None where they are not numbers.

    The range is mean -+ t deviation sqrt(1 + 1 / times), where one more such effect lies.
    """
    times = len(effects)
    if times < 2 or not np.isfinite(effects).all():
        return None
    mean, deviation = float(effects.mean()), float(effects.std(ddof=1))
    half = float(special.stdtrit(times - 1, 1.0 - alpha / 2.0)) * deviation
    half *= math.sqrt(1.0 + 1.0 / times)
    p_value = (1 + int((np.abs(effects) >= abs(real)).sum())) / (times + 1)
    return Placebo(mean, deviation, mean - half, mean + half, p_value, times)


def _deal(arm: Ints, fold: Ints, arms: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Arms dealt anew within folds, and the share of each arm in the unit's fold."""
    dealt, chance = np.empty_like(arm), np.empty((len(arm), arms))
    for f in np.unique(fold):
        here = np.flatnonzero(fold == f)
        dealt[here] = rng.permutation(arm[here])
        chance[here] = np.bincount(arm[here], minlength=arms) / len(here)
    return dealt, np.clip(chance, 1e-12, 1.0)


def random_common_cause(
    sample: Sample,
    fitted: Fitted,
    outcomes: Sequence[str],
    trim: float,
    learner: Learner,
    seed: int = 1,
) -> Mapping[Key, Solved]:
    """By outcome and arm, the average effect with one more covariate, which is drawn at random.

    Learner and folds are those of the estimate, which should hardly change.
    """
    noise = np.random.default_rng([seed, 2]).standard_normal(sample.size)
    more = dataclasses.replace(
        sample, x=np.column_stack([sample.x, noise]), names=(*sample.names, "random")
    )
    crossed = cross_fit(
        more, learner, fitted.folds, outcomes=outcomes, fold=fitted.fold,
        most_threads=fitted.threads,
    ).crossed  # fmt: skip
    return {
        (name, at): average_effect(c, k, 0, trim)
        for name, c in crossed.items()
        for k, at in enumerate(c.arms[1:], 1)
    }
