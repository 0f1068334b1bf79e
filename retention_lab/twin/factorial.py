"""A scenario with factors in; the true main effects and interactions of every metric out."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator

from retention_lab.twin.model import WINDOW
from retention_lab.twin.scenario import Factor, Scenario
from retention_lab.twin.truth import truth_of


def effects_of(scenario: Scenario, within: int = WINDOW) -> dict[str, dict[str, float]]:
    """By metric, then by term: ``"coupon: $10 off"`` or ``"coupon: $10 off, returns: free"``.

    A main effect is the mean of the arms with that level less the mean of those with the first
    arm's level. An interaction is what the two levels do together beyond the sum of what each
    does alone: ab - a - b + neither, each a mean over the arms that have just these levels.
    Every combination of levels must be an arm; of a ratio the effects are those of its value in
    each arm.
    """
    truth = truth_of(scenario, within)
    out = {}
    for metric in truth.metrics:
        means = [truth.mean(metric, arm.name) for arm in scenario.arms]
        out[metric] = dict(_main(scenario, means)) | dict(_together(scenario, means))
    return out


def _main(scenario: Scenario, means: list[float]) -> Iterator[tuple[str, float]]:
    for f in scenario.factors:
        for level in _others(f):
            with_it = [m for m, own in zip(means, f.levels, strict=True) if own == level]
            without = [m for m, own in zip(means, f.levels, strict=True) if own == f.levels[0]]
            yield f"{f.name}: {level}", statistics.fmean(with_it) - statistics.fmean(without)


def _together(scenario: Scenario, means: list[float]) -> Iterator[tuple[str, float]]:
    for f, g in itertools.combinations(scenario.factors, 2):

        def mean(a: str, b: str, f: Factor = f, g: Factor = g) -> float:
            own = zip(means, f.levels, g.levels, strict=True)
            return statistics.fmean(m for m, x, y in own if (x, y) == (a, b))

        for a, b in itertools.product(_others(f), _others(g)):
            effect = mean(a, b) - mean(a, g.levels[0]) - mean(f.levels[0], b)
            yield f"{f.name}: {a}, {g.name}: {b}", effect + mean(f.levels[0], g.levels[0])


def _others(factor: Factor) -> list[str]:
    return [level for level in dict.fromkeys(factor.levels) if level != factor.levels[0]]
