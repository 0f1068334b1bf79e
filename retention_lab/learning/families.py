"""Lessons in; the mean effect of every family of incentive, and what each effect is worth, out."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retention_lab.learning.lessons import ArmEffect, Lesson

if TYPE_CHECKING:
    from retention_lab.ab.pool import Pooled


@dataclasses.dataclass(frozen=True, slots=True)
class Learnt:
    """One arm's relative lift as it was seen, and what it is likely to be worth (`low`, `high`)."""

    experiment: str
    arm: str
    seen: float
    worth: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """What the experiments of one family did to one metric, as relative lifts.

    `pooled` is the random-effects mean over experiments; `effects` are the arms' lifts less the
    winner's curse, and `note` says why they are not drawn together, where they are not.
    """

    name: str
    metric: str
    experiments: tuple[str, ...]
    pooled: Pooled
    effects: tuple[Learnt, ...]
    note: str | None


def families(lessons: Sequence[Lesson], alpha: float = 0.05) -> tuple[Family, ...]:
    """Pool lessons that name a family, by family and metric: lifts of unlike metrics do not mix.

    Every experiment with an effect counts, whatever its verdict: a mean of winners alone would be
    too large. Its arms share a control, so they enter the mean as one: the mean of their lifts,
    with the mean of their errors, which is never too small, whatever their correlation. The
    discount is made from all arms, as if they were independent: those of one experiment are not,
    which draws effects together a little too much. Capitals and spaces do not make a family: it
    has the name that its first lesson gives it.
    Source: ab/pool.py. Families stand in the order of their names.
    """
    groups: dict[tuple[str, str], list[Lesson]] = defaultdict(list)
    for lesson in lessons:
        if lesson.family and lesson.metric and _known(lesson):
            groups[same_family(lesson.family), lesson.metric].append(lesson)
    return tuple(
        _family(str(groups[key][0].family), key[1], groups[key], alpha) for key in sorted(groups)
    )


def same_family(name: str | None) -> str:
    """What two spellings of one family share."""
    return " ".join((name or "").split()).casefold()


def _family(name: str, metric: str, members: Sequence[Lesson], alpha: float) -> Family:
    # scipy is imported where there is something to pool, so that an empty log is quick.
    from retention_lab.ab.pool import discounted, pool

    means = [statistics.fmean(lift for _, lift, _ in _known(x)) for x in members]
    errors = [statistics.fmean(error for *_, error in _known(x)) for x in members]
    arms = [(x.experiment, *known) for x in members for known in _known(x)]
    worth = discounted([a[2] for a in arms], [a[3] for a in arms], alpha)
    found = zip(arms, worth.estimate, worth.low, worth.high, strict=True)
    effects = tuple(
        Learnt(experiment, arm, lift, float(estimate), float(low), float(high))
        for (experiment, arm, lift, _), estimate, low, high in found
    )
    experiments = tuple(x.experiment for x in members)
    return Family(name, metric, experiments, pool(means, errors, alpha), effects, worth.note)


def _known(lesson: Lesson) -> list[tuple[str, float, float]]:
    """Arm, lift and error of the arms that have both."""
    return [(a.arm, a.lift, a.std_error) for a in lesson.arms if _has_both(a)]  # type: ignore[misc]


def _has_both(arm: ArmEffect) -> bool:
    lift, error = arm.lift, arm.std_error
    if lift is None or error is None:
        return False
    return math.isfinite(lift) and math.isfinite(error) and error > 0
