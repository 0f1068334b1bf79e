"""Effects of past experiments and their errors in; their mean, a prediction, discounts out."""

from __future__ import annotations

import dataclasses
import math

from scipy import special

from retention_lab.ab.estimate import critical
from retention_lab.ab.shrink import NOTHING, Shrunk, Values, between, levels_of, shrink

ONE = "one_experiment: its own interval; how far experiments differ is not known"
TWO = "no_prediction: fewer than three experiments do not tell what the next one may be"


@dataclasses.dataclass(frozen=True, slots=True)
class Pooled:
    """The mean effect of k experiments; None where there is none, and `note` says why.

    `low` to `high` is for the mean, `predict_low` to `predict_high` for the true effect of one more
    experiment of the same family; `tau2` is the between-variance.
    """

    mean: float | None = None
    std_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    tau2: float | None = None
    predict_low: float | None = None
    predict_high: float | None = None
    k: int = 0
    note: str | None = None


def pool(effects: Values, errors: Values, alpha: float = 0.05) -> Pooled:
    """Random-effects mean of experiments, its interval and that of the next experiment's effect.

    Weights w_i = 1 / (e_i^2 + tau^2) with tau^2 by Paule and Mandel. The interval is Hartung,
    Knapp, Sidik and Jonkman's: Student's t with k - 1 degrees of freedom on the variance
    h / sum w, h = sum w_i (y_i - m)^2 / (k - 1), with h at least 1 (Knapp and Hartung 2003): else
    the interval is a point where the effects happen to agree. By Paule and Mandel h is 1 wherever
    tau^2 is above 0, so the error of the mean is 1 / sqrt(sum w).
    The prediction is m +- t_(k-2) sqrt(tau^2 + 1 / sum w), from three experiments on.
    What 95% intervals cover: 95% or more where experiments are alike in size; 93% with errors from
    1 to 5; down to 89% where one experiment is five times as precise as all others and tau is not
    0. Predictions cover 80% or more, worst where tau is half an error and k is 10.

    Arguments: k effects in a common unit, their k standard errors, alpha. Entries that are not
    finite, or without a positive error, are left out. One experiment has its own normal interval.
    ValueError for unequal shapes or an alpha outside (0, 1).
    Source: Hartung and Knapp (2001), Statistics in Medicine 20(24), 3875-3889; Sidik and Jonkman
    (2002), ibid. 21(21), 3153-3159; Knapp and Hartung (2003), ibid. 22(17), 2693-2710; prediction:
    Higgins, Thompson and Spiegelhalter (2009), JRSS A 172(1), 137-159.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is between 0 and 1, not {alpha}")
    levels = levels_of(effects, errors)
    k, unit = levels.k, levels.unit
    if k == 0:
        return Pooled(note=NOTHING)
    tau2 = between(levels)
    weights, offset, _ = levels.pooled(tau2)
    error = 1.0 / math.sqrt(float(weights.sum()))
    t = -abs(levels.centre / unit + offset) / error
    if k == 1:
        reach, p_value = float(special.ndtri(1.0 - alpha / 2.0)), 2.0 * float(special.ndtr(t))
    else:
        reach, p_value = critical(k - 1.0, alpha), 2.0 * float(special.stdtr(k - 1.0, t))
    half, around = reach * error, None
    if k > 2:
        around = unit * critical(k - 2.0, alpha) * math.hypot(math.sqrt(tau2), error)
    mean = levels.centre + unit * offset
    return Pooled(
        mean=mean,
        std_error=unit * error,
        low=mean - unit * half,
        high=mean + unit * half,
        p_value=p_value,
        tau2=tau2 * unit**2 if k > 1 else None,
        predict_low=None if around is None else mean - around,
        predict_high=None if around is None else mean + around,
        k=k,
        note={1: ONE, 2: TWO}.get(k),
    )


def discounted(effects: Values, errors: Values, alpha: float = 0.05) -> Shrunk:
    """What experiments' effects are likely to be worth, less the winner's curse.

    The largest of several noisy effects is larger than the truth: it was picked for its noise too.
    The empirical-Bayes effect of `shrink` does not depend on which experiments are looked at
    afterwards, as long as `effects` holds the losers of the family as well as the winners; with
    winners alone it cannot see what was left out. With tau of one error the winner of ten exceeded
    its truth by 1.16 errors, discounted by 0.25; of four, where little is known of tau, by 0.72 and
    0.47. Arguments, answer and errors as in `shrink`: one to three experiments come back as they
    are, with a note, and nan stays nan.
    Source: Efron (2011), "Tweedie's Formula and Selection Bias", JASA 106(496), 1602-1614; van
    Zwet and Cator (2021), "The Significance Filter, the Winner's Curse and the Need to Shrink",
    Statistica Neerlandica 75(4), 437-452.
    """
    return shrink(effects, errors, alpha)
