"""P-values of a family, or its size, in; adjusted p-values, or the level of each, out."""

from __future__ import annotations

from collections.abc import Sequence

SIMULTANEOUS = "simultaneous interval"  # what a method says of an interval that holds with others


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment; a missing p-value stays missing and is not counted.

    Source: Holm (1979), Scandinavian Journal of Statistics 6(2), 65-70.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(known):
        running = max(running, min(1.0, (len(known) - rank) * p))
        adjusted[i] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's step-up adjustment; a missing p-value stays missing, uncounted.

    Calling effects found where it is at most q keeps the expected share of false ones among them at
    most q, for independent or positively dependent tests (arms against one control are such).
    Source: Benjamini and Hochberg (1995), JRSS B 57(1), 289-300.

    >>> benjamini_hochberg([0.01, None, 0.04, 0.03])
    [0.03, None, 0.04, 0.04]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 1.0
    for rank in range(len(known), 0, -1):
        p, i = known[rank - 1]
        running = min(running, p * len(known) / rank)
        adjusted[i] = running
    return adjusted


def simultaneous_alpha(alpha: float, family_size: int) -> float:
    """The alpha of each interval of a family, so that all cover together with 1 - alpha or more.

    Bonferroni's alpha / m. An interval at it that excludes 0 belongs to a test that Holm rejects at
    `alpha`; Holm may reject more. A family of none is one of one. ValueError for an alpha outside
    (0, 1) or a negative size.
    Source: Dunn (1961), "Multiple Comparisons Among Means", JASA 56(293), 52-64.
    """
    if not 0.0 < alpha < 1.0 or family_size < 0:
        raise ValueError(f"alpha {alpha} must be in (0, 1) and family_size {family_size} >= 0")
    return alpha / max(family_size, 1)
