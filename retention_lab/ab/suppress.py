"""Units by segment, level and arm in; the levels that must not be shown out.

What is shown of a level is its units, mean and error by arm. A hidden level could be worked out
from a total less the levels that are shown, so levels are hidden in groups: within a segment,
whose levels add up to everyone, and within a level of another segment that is made of whole
levels of this one (countries of a region).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Arms = Mapping[str, int]
Levels = Mapping[str, Arms]


def suppressed(
    counts: Iterable[Mapping[str, Levels]],
    min_cell: int,
    cells: Iterable[Mapping[str, str]] = (),
) -> dict[str, frozenset[str]]:
    """The levels to hide, by segment.

    `counts` holds, for every metric, segment -> level -> arm -> units; a level that one metric
    hides is hidden in all, or their counts would give it away. `cells` are the combinations of
    levels that there are (segment -> level), from which it is seen what is made of what.

    A level is hidden where any arm has some, but fewer than `min_cell` units in it; then the
    smallest further levels of its groups, until what is hidden of a group is, in every arm, two
    levels or more with `min_cell` units or more together.
    """
    metrics = list(counts)
    segments = list(dict.fromkeys(s for by in metrics for s in by))
    hidden: dict[str, set[str]] = {
        s: {
            level
            for by in metrics
            for level, arms in by.get(s, {}).items()
            if any(0 < n < min_cell for n in arms.values())
        }
        for s in segments
    }
    unions = _unions(segments, list(cells))
    while True:
        before = {s: set(levels) for s, levels in hidden.items()}
        for by in metrics:
            for s, levels in by.items():
                _close(hidden[s], levels, levels, min_cell)
            for s, level, inner, members in unions:
                if level in hidden[s]:
                    if not hidden[inner] & members:
                        hidden[inner].add(_smallest(members, by[inner]))
                else:
                    _close(hidden[inner], members, by[inner], min_cell)
        if hidden == before:
            return {s: frozenset(levels) for s, levels in hidden.items()}


def _close(hidden: set[str], group: Iterable[str], counts: Levels, min_cell: int) -> None:
    """Hide further levels of a `group` whose total is shown until no hidden one stands alone."""
    members = set(group)

    def recoverable() -> bool:
        inside = hidden & members
        arms = {a for level in inside for a in counts.get(level, {})}
        together = (sum(counts.get(level, {}).get(a, 0) for level in inside) for a in arms)
        return len(inside) == 1 or any(0 < n < min_cell for n in together)

    while hidden & members and members - hidden and recoverable():
        hidden.add(_smallest(members - hidden, counts))


def _smallest(levels: Iterable[str], counts: Levels) -> str:
    return min(levels, key=lambda level: (sum(counts.get(level, {}).values()), level))


def _unions(
    segments: list[str], cells: list[Mapping[str, str]]
) -> list[tuple[str, str, str, set[str]]]:
    """(segment, level, other segment, its levels that together are exactly that level)."""
    found = []
    for outer in segments:
        for inner in segments:
            if inner == outer:
                continue
            inside: dict[str, set[str]] = {}
            for cell in cells:
                inside.setdefault(cell[outer], set()).add(cell[inner])
            for level, members in inside.items():
                elsewhere = set().union(*(m for lv, m in inside.items() if lv != level), set())
                if not members & elsewhere:
                    found.append((outer, level, inner, members))
    return found
