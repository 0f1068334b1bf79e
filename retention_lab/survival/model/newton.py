"""A partial likelihood in; the coefficients that make it largest, and how the search ended, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
STEPS = 60
HALVINGS = 40
EARLY = 10
ROUNDING = 1e-7  # of twice the log-likelihood: a step that gains less and fails meets rounding
CLOSE = 1e-9  # of a standard error: the next step would be shorter
TAIL = (0.25, 0.5)  # a step of Newton in an exponential tail leaves exp(-1) of what was to gain
IN_TAIL = 3  # steps of that kind in a row that are no accident


class Point(Protocol):
    """A likelihood at one set of coefficients."""

    @property
    def beta(self) -> Floats: ...

    @property
    def loglik(self) -> float: ...

    @property
    def score(self) -> Floats: ...

    def information(self) -> Floats: ...


P = TypeVar("P", bound=Point)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Search(Generic[P]):
    """Where the search began and ended; `ended` is converged, monotone or not_converged."""

    null: P
    point: P
    information_null: Floats
    information: Floats
    step: Floats
    iterations: int
    ended: str


def maximise(
    at: Callable[[Floats], P],
    begin: tuple[P, Floats],
    reach: Callable[[Floats], Floats] | None = None,
    steps: int = STEPS,
    curvature: Callable[[P], Floats] | None = None,
    close: float = CLOSE,
) -> Search[P]:
    """Newton's steps, halved as long as the likelihood does not rise.

    `begin` is the point at coefficients 0 and its information. `reach(step)` [K] is by how much
    each part of the step changes the log hazards of the rows at most. Where it is given, a
    likelihood is called monotone where Newton's steps go on at full length, change log hazards by
    more than a quarter, and each leaves exp(-1) or so of what there was to gain, though that is
    less than one event is worth: that is how they run along the tail of a likelihood without a
    maximum, while near a maximum they shrink quadratically. It is, too, where such a run ends
    because numbers overflow. `curvature` is used in place of the information after the first
    `EARLY` steps, where the two differ. The search ends where the next step would be shorter than
    `close` standard errors.
    """
    (null, information_null), (point, information) = begin, begin
    step, gain = _step(information, point.score)
    iterations, tail, full = 0, 0, True
    while math.sqrt(gain) > close and iterations < steps:
        following = _halved(at, point, step, gain)
        full = following is not None and np.array_equal(following.beta, point.beta + step)
        if following is None or (not full and gain < ROUNDING):
            break
        point, iterations, before = following, iterations + 1, gain
        information = point.information()
        inner = information
        if curvature is not None and iterations >= EARLY:
            bent = curvature(point)
            inner = bent if np.all(np.linalg.eigvalsh(bent) > 0) else information
        step, gain = _step(inner, point.score)
        slow = TAIL[0] < gain / before < TAIL[1]
        far = reach is not None and float(np.max(reach(step), initial=0.0)) > 0.25
        stopped = tail >= IN_TAIL and far and not full
        tail = tail + 1 if slow and far and full else 0
        if stopped or (tail >= IN_TAIL and gain < 1.0):
            return Search(null, point, information_null, information, step, iterations, "monotone")
    done = gain <= max(close * close, 1e-13 * abs(point.loglik), ROUNDING if not full else 0.0)
    ended = "converged" if done else "not_converged"
    return Search(null, point, information_null, information, step, iterations, ended)


def _halved(at: Callable[[Floats], P], point: P, step: Floats, gain: float) -> P | None:
    """The next point: the step, or the first of its halves that does not lower the likelihood."""
    noise = 1e-13 * abs(point.loglik)
    for halvings in range(HALVINGS):
        following = at(point.beta + step * 0.5**halvings)
        if following.loglik >= point.loglik - (noise if gain < 1e-3 else 0.0):
            return following
    return None


def _step(information: Floats, score: Floats) -> tuple[Floats, float]:
    """Newton's step, and the gain of twice the log-likelihood that it promises."""
    try:
        step = np.linalg.solve(information, score)
    except np.linalg.LinAlgError:
        step = np.linalg.lstsq(information, score, rcond=None)[0]
    gain = float(score @ step)
    if gain < 0 or not math.isfinite(gain):
        step = np.linalg.lstsq(information, score, rcond=1e-10)[0]
        gain = max(float(score @ step), 0.0)
    return np.asarray(step, np.float64), gain
