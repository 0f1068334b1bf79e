"""Units by level in; the levels that must not be shown, so that none can be worked out, out."""

from __future__ import annotations

from collections.abc import Mapping


def suppressed(counts: Mapping[str, Mapping[str, int]], min_cell: int) -> frozenset[str]:
    """Levels to hide, from `counts` of level -> arm -> units.

    A level is hidden where any arm has some, but fewer than `min_cell` units in it. The total is
    shown, so a single hidden level would be the total less the rest: the smallest further levels
    are hidden with it until, in every arm, what is hidden together is two levels or more of
    `min_cell` units or more.
    """
    hidden = {lv for lv, arms in counts.items() if any(0 < n < min_cell for n in arms.values())}
    rest = sorted(set(counts) - hidden, key=lambda lv: (sum(counts[lv].values()), lv))
    arms = {a for by in counts.values() for a in by}

    def recoverable() -> bool:
        together = (sum(counts[lv].get(a, 0) for lv in hidden) for a in arms)
        return len(hidden) == 1 or any(0 < n < min_cell for n in together)

    while hidden and rest and recoverable():
        hidden.add(rest.pop(0))
    return frozenset(hidden)
