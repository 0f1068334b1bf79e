"""Chances of units in; who can be compared, what the others have in common, a histogram out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from retention_lab.errors import DataError, counted
from retention_lab.incentives.observed.crossfit import Crossed
from retention_lab.incentives.observed.effects import Floats, Ints
from retention_lab.incentives.observed.sample import LEVEL, MISSING, source_of

Bools = npt.NDArray[np.bool_]
LEAST = 20  # units of each arm that must remain
PART = 0.1  # of one of the two arms must remain
BINS = 20
NOTHING = "nothing that is known of them differs"


@dataclasses.dataclass(frozen=True, slots=True)
class Overlap:
    """Units of an arm and its baseline: all; those with somebody alike in the other; the trimming.

    Alike: the chance is at least `trim`, and within the range of chances of the other arm's units.
    """

    n: int
    n_baseline: int
    left: int
    left_baseline: int
    trim: float

    @property
    def enough(self) -> bool:
        """Whether there is anybody to compare."""
        shares = (self.left / max(self.n, 1), self.left_baseline / max(self.n_baseline, 1))
        return min(self.left, self.left_baseline) >= LEAST and max(shares) >= PART

    @property
    def rule(self) -> str:
        """In words, what the trimming leaves out."""
        if self.trim <= 0.0:
            return "no trimming"
        return f"trimmed at {self.trim:g}"


def comparable(c: Crossed, one: int, base: int, trim: float) -> Bools:
    """Units [m] whose chance of either arm is at least `trim`."""
    return np.minimum(c.chance[:, one], c.chance[:, base]) >= trim


def comparable_treated(c: Crossed, one: int, base: int, trim: float) -> Bools:
    """Units [m] that, being in either arm, are in the baseline with a chance of at least `trim`.

    For the effect on the treated only they need somebody alike in the baseline.
    """
    return c.chance[:, base] >= trim * (c.chance[:, base] + c.chance[:, one])


def overlap(c: Crossed, one: int, base: int, keep: Bools, trim: float) -> Overlap:
    """Counts of the two arms' units, and of those that are kept and have somebody alike.

    A learner that stops early may tell two arms apart for certain without saying so in its chances:
    then hardly any unit's chance lies among those of the other arm.
    """
    mine, theirs = c.arm == one, c.arm == base
    if mine.any() and theirs.any():
        among = c.chance[:, one] / (c.chance[:, one] + c.chance[:, base] + 1e-300)
        highest, lowest = among[theirs].max(), among[mine].min()
        keep = keep & ((mine & (among <= highest)) | (theirs & (among >= lowest)))
    left, left_base = int((mine & keep).sum()), int((theirs & keep).sum())
    return Overlap(int(mine.sum()), int(theirs.sum()), left, left_base, trim)


def no_overlap(
    c: Crossed, one: int, base: int, found: Overlap, x: Floats, names: Sequence[str]
) -> str:
    """Why two arms cannot be compared, with the region that tells them apart; x [m, p]."""
    arm, other = c.arms[one], c.arms[base]
    where, mine, theirs = region(x, c.arm == one, c.arm == base, names)
    rare = found.n / max(found.n + found.n_baseline, 1)
    told = (
        f"of {counted(found.n, 'unit')} of {arm!r} and {found.n_baseline:,} of {other!r}, "
        f"{few(found.left)} and {few(found.left_baseline)} have anybody alike in the other (a "
        f"chance of at least {found.trim:g})"
    )
    if rare < 2.0 * found.trim:
        return f"{told}; {arm!r} is rare ({rare:.2%} of them), so set incentive.trim lower"
    return f"{told}; where {where} there are {few(mine)} of {arm!r} and {few(theirs)} of {other!r}"


def few(n: int) -> str:
    """A count in words that give no small group away.

    >>> few(0), few(3), few(1200)
    ('0', 'fewer than 20', '1,200')
    """
    return f"fewer than {LEAST}" if 0 < n < LEAST else f"{n:,}"


def refuse(c: Crossed, whys: Sequence[str]) -> DataError:
    """The error where no arm can be compared with the control."""
    return DataError(
        f"no overlap in {c.outcome!r}: {'; '.join(whys)}. Nobody alike was left without, so no "
        "adjustment can say what the incentive did: compare only units that could have got either "
        "arm, leave out a covariate that is the rule itself, or use strategy: threshold if a "
        "number decided who got it"
    )


def region(x: Floats, one: Bools, base: Bools, names: Sequence[str]) -> tuple[str, int, int]:
    """Where one arm is and the other is not: a rule of at most two conditions, and their units.

    The purest part of a tree of depth two; where parts are alike, one of the arm, not the baseline.
    """
    from sklearn.tree import DecisionTreeClassifier  # type: ignore[import-untyped]

    rows = one | base
    if not names or not rows.any():
        return NOTHING, int(one.sum()), int(base.sum())
    side = one[rows].astype(np.int64)
    least = max(1, min(int(side.sum()), int((1 - side).sum())) // 10)
    tree = DecisionTreeClassifier(
        max_depth=2,
        min_samples_leaf=least,
        min_impurity_decrease=1e-6,  # rounding is no reason to split what is pure
        class_weight="balanced",
        random_state=1,
    )
    leaf = tree.fit(x[rows], side).apply(x[rows])
    paths = dict(_paths(tree.tree_, names))
    told = []
    for at in np.unique(leaf):
        mine, n = int(side[leaf == at].sum()), int((leaf == at).sum())
        share = mine / max(int(side.sum()), 1)
        other = (n - mine) / max(len(side) - int(side.sum()), 1)
        purity = max(share, other) / max(share + other, 1e-300)
        told.append((round(purity * max(share, other), 6), mine, paths[int(at)], n - mine))
    _, mine, rule, theirs = max(told)
    return rule, mine, theirs


def _paths(tree: object, names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """By leaf, its conditions in words."""
    left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
    column, cut = tree.feature, tree.threshold  # type: ignore[attr-defined]
    waiting: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while waiting:
        node, said = waiting.pop()
        if left[node] < 0:
            yield node, " and ".join(said) or NOTHING
            continue
        name, value = names[column[node]], float(cut[node])
        waiting.append((int(left[node]), (*said, _said(name, value, False))))
        waiting.append((int(right[node]), (*said, _said(name, value, True))))


def _said(name: str, cut: float, above: bool) -> str:
    """A condition in words; that of an indicator names its level."""
    covariate, equals, level = name.partition(LEVEL)
    if equals or name.endswith(MISSING):
        what = repr(level) if equals else MISSING.strip()
        return f"{source_of(name)} is {'' if above else 'not '}{what}"
    return f"{covariate.strip()} {'>' if above else '<='} {cut:.4g}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Shares of each of two arms' units by their chance of the first: edges [B + 1], shares [B]."""

    edges: Floats
    arm: Floats
    baseline: Floats


def histogram(c: Crossed, one: int, base: int, bins: int = BINS) -> Histogram:
    """Of units in either arm, by the chance of `one` among the two."""
    both = c.chance[:, one] + c.chance[:, base]
    chance = c.chance[:, one] / np.where(both > 0.0, both, 1.0)
    edges = np.linspace(0.0, 1.0, bins + 1)
    shares = []
    for k in (one, base):
        found = np.histogram(chance[c.arm == k], edges)[0]
        shares.append(found / max(found.sum(), 1))
    return Histogram(edges, *shares)


def shown(counts: Ints, least: int) -> Bools:
    """Which counts [B] of units may be told: none from 1 to `least` - 1, nor what gives it away.

    The sum is known. So what is hidden adds up to `least` or more, in two parts at least: the
    smallest further ones are hidden until it does (an empty part tells as much as a small one).
    """
    hide = (counts > 0) & (counts < least)
    for i in np.argsort(counts, kind="stable"):
        if not hide.any() or (hide.sum() > 1 and counts[hide].sum() >= least):
            break
        hide[i] = hide[i] or counts[i] > 0
    return ~hide
