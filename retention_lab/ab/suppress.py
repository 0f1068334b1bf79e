"""Units by segment, level and arm in; the levels that must not be shown out.

What is shown of a level is its units, mean and error by arm. A hidden level could be worked out
from a total less the levels that are shown, so levels are hidden in groups: within a segment,
whose levels add up to everyone, and within a level of another segment that is made of whole
levels of this one (countries of a region). Where segments are crossed, longer sums and
differences give a level away (a bridge: Gusfield (1988), "A graph theoretic approach to
statistical data security", SIAM Journal on Computing 17(3), 552-571); these are found by linear
algebra, see `_Table`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Arms = Mapping[str, int]
Levels = Mapping[str, Arms]
Named = tuple[str, str]  # a segment and one of its levels
Floats = npt.NDArray[np.float64]

FLAT, FREE = 1e-9, 1e-6  # what is less is 0 but for rounding


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
    levels or more with `min_cell` units or more together; and until no hidden level is a sum of
    multiples of shown ones. (A level that is everyone cannot be hidden so.)

    Costs up to 0.5 s for 200 x 20 levels crossed, and 4 s for 200 x 20 and 200 x 10 at once.
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
    cells = list(cells)
    unions = _unions(segments, cells)
    units = _units(metrics)
    table = _Table(segments, cells) if cells and any(hidden.values()) else None
    while any(hidden.values()):
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
        if hidden == before and table is not None:
            for s, level in table.give_away(hidden, units):
                hidden[s].add(level)
        if hidden == before:
            break
    return {s: frozenset(levels) for s, levels in hidden.items()}


def _units(metrics: Sequence[Mapping[str, Levels]]) -> dict[Named, int]:
    """Units of every level, all metrics and arms together."""
    found: dict[Named, int] = {}
    for by in metrics:
        for s, levels in by.items():
            for level, arms in levels.items():
                found[s, level] = found.get((s, level), 0) + sum(arms.values())
    return found


class _Table:
    """Levels as sets of the combinations (`cells`) that there are; everyone is all of them.

    A hidden level can be worked out where its indicator over the combinations is in the span of
    those of the shown levels and of everyone. The shown levels of one segment do not overlap, so
    they are taken out by subtracting means; what is left is a small matrix of scalar products.
    """

    def __init__(self, segments: Sequence[str], cells: Sequence[Mapping[str, str]]) -> None:
        self.named: list[Named] = sorted({(s, cell[s]) for cell in cells for s in segments})
        place = {named: i for i, named in enumerate(self.named)}
        everyone = len(self.named)
        self.codes = np.array([[place[s, c[s]] for s in segments] + [everyone] for c in cells])
        self.sizes = np.bincount(self.codes.ravel()).astype(np.float64)

    def give_away(
        self, hidden: Mapping[str, Collection[str]], units: Mapping[Named, int]
    ) -> set[Named]:
        """Shown levels to hide as well: for each hidden one that can be worked out, one of them."""
        shown = [i for i, (s, level) in enumerate(self.named) if level not in hidden[s]]
        wanted = [i for i, (s, level) in enumerate(self.named) if level in hidden[s]]
        wanted = [i for i in wanted if self.sizes[i] < len(self.codes)]
        if not wanted or not shown:
            return set()
        segments = [self.named[i][0] for i in shown]
        most = max(dict.fromkeys(segments), key=segments.count)
        blocks = [i for i in shown if self.named[i][0] == most]
        rows = [i for i in shown if self.named[i][0] != most] + [len(self.named)]
        size, to_blocks = self.sizes[blocks], self._products(rows, blocks)
        of_wanted = self._products(wanted, blocks)
        inner = self._products(rows, rows) - (to_blocks / size) @ to_blocks.T
        outer = self._products(rows, wanted) - (to_blocks / size) @ of_wanted.T
        weights = np.linalg.pinv(inner, rcond=FLAT, hermitian=True) @ outer
        left = self.sizes[wanted] - (of_wanted**2 / size).sum(1) - (outer * weights).sum(0)
        more: set[Named] = set()
        for at in np.flatnonzero(left < FREE * self.sizes[wanted]):
            # A level's part in the sum that gives this one away; the greatest cannot be spared.
            parts = (of_wanted[at] - weights[:, at] @ to_blocks) / size
            named = [self.named[i] for i in [*blocks, *rows[:-1]]]
            part = dict(zip(named, np.abs([*parts, *weights[:-1, at]]), strict=True))
            own = {n: x for n, x in part.items() if n[0] == self.named[wanted[at]][0]}
            part = own if max(own.values(), default=0.0) > FREE else part
            best = {n for n, x in part.items() if x > max(part.values()) - FREE}
            if not more & best:
                more.add(min(best, key=lambda n: (units.get(n, 0), n)))
        return more

    def _products(self, some: Sequence[int], others: Sequence[int]) -> Floats:
        """In how many combinations two levels meet: some x others."""
        one, two = (np.full(len(self.named) + 1, -1) for _ in range(2))
        one[list(some)], two[list(others)] = np.arange(len(some)), np.arange(len(others))
        width = len(others)
        meet = [
            (a * width + b)[(a >= 0) & (b >= 0)]
            for a in one[self.codes].T
            for b in two[self.codes].T
        ]
        found = np.bincount(np.concatenate(meet), minlength=len(some) * width)
        return found.astype(np.float64).reshape(-1, width)


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
            homes: dict[str, set[str]] = {}
            for cell in cells:
                inside.setdefault(cell[outer], set()).add(cell[inner])
                homes.setdefault(cell[inner], set()).add(cell[outer])
            for level, members in inside.items():
                if all(len(homes[m]) == 1 for m in members):
                    found.append((outer, level, inner, members))
    return found
