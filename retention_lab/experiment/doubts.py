"""A table and its arms in; what looks wrong in it but stops nothing, as checks, out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from retention_lab.data.look import UnitLook
from retention_lab.data.missing import WORDS
from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.experiment.findings import Check
from retention_lab.experiment.needs import Column
from retention_lab.experiment.spec import Spec

MISMATCH = 0.001  # as ab/split.py, which the verdict goes by
NEARLY = 0.95  # of the rows have a value of their own
SPACES = "differ in spaces or capitals only"
MISSING = frozenset(WORDS) - {"none"}  # which is a good name of an arm
ID = re.compile(r"(id|key|uuid|guid)$", re.IGNORECASE)


def doubts(
    spec: Spec,
    source: Source,
    ref: str,
    look: UnitLook,
    columns: Sequence[Column],
) -> list[Check]:
    """Arms and segments that are one but for their spelling, and metrics made of an id.

    `look` is what was seen of the table `ref`. Arms alike are a fault; the rest is a remark.
    """
    arms = [a for a in look.by_arm if a is not None]
    found = [_missing_arm(arms), _alike_arms(arms), *_alike_segments(spec, source, ref, look)]
    for c in columns:
        if spec.design is not None and c.how == "value" and c.value == spec.design.unit:
            text = f"metric {c.name!r} is made of {c.value!r}, which only names the units"
            found.append(Check("id_metric", False, text))
            continue
        fractional = c.how == "value" and c.value in source.fractional(ref)
        if c.how == "value" and c.value is not None and not fractional and ID.search(c.value):
            n, levels = source.counts(ref, c.value)
            if levels >= max(2, NEARLY * n) and source.columns(ref).get(c.value) == "number":
                text = f"metric {c.name!r}: nearly every row has its own {c.value!r}; is it an id?"
                found.append(Check("id_metric", True, text, {"metric": c.name}))
    return [c for c in found if c is not None]


def by_number(name: str) -> tuple[list[tuple[float, str]], str]:
    """Sorts names as people do: 5 before 10, c4 before c12; texts by their characters."""
    parts = re.findall(r"(\d+(?:\.\d+)?)|(\D+)", name)
    return [(float(digits) if digits else math.inf, text) for digits, text in parts], name


def split_doubt(
    arms: Sequence[str], counts: Mapping[str, int], weights: Mapping[str, float]
) -> Check | None:
    """A fault where the split is not the planned one (p < 0.001), by which a test is invalid.

    An arm without units is a fault by itself, which is told elsewhere.
    """
    total, whole = sum(counts.values()), sum(weights.get(a, 0.0) for a in arms)
    planned = {a: total * weights.get(a, 0.0) / whole for a in arms}
    if len(arms) < 2 or min(planned.values()) <= 0 or not all(counts[a] for a in arms):
        return None
    chi2 = sum((counts[a] - planned[a]) ** 2 / planned[a] for a in arms)
    if _tail(chi2, len(arms) - 1) >= MISMATCH:
        return None
    text = "the arms do not hold as many units as planned, beyond chance: the test will be invalid"
    return Check("split", False, f"{text} (say how they were drawn: design.expected_split)")


def _tail(chi2: float, df: int) -> float:
    """P(X > chi2) of a chi-square with `df` degrees of freedom (Abramowitz and Stegun, 26.4.4-5).

    Not scipy's, which takes longer to import than all else that `validate` does.
    """
    half = chi2 / 2
    if df % 2:
        tail, k = math.erfc(math.sqrt(half)), 0.5
        term = 2 * math.sqrt(half / math.pi) * math.exp(-half)
    else:
        tail, term, k = 0.0, math.exp(-half), 0.0
    while k < df / 2:
        tail += term
        k += 1
        term *= half / k
    return tail


def _missing_arm(arms: Iterable[str]) -> Check | None:
    """(A file that says what its missing values are called would have none of these.)"""
    odd = [a for a in arms if a.strip().lower() in MISSING]
    named = ", ".join(repr(a) for a in odd)
    text = f"arm {named}: is that a missing value? Leave such fields empty"
    return Check("missing_arm", True, text, {"arms": odd}) if odd else None


def _alike_arms(arms: Iterable[str]) -> Check | None:
    said = [", ".join(repr(a) for a in group) for group in _groups(arms)]
    if not said:
        return None
    return Check("alike", False, f"arms that {SPACES} count as different ones: {'; '.join(said)}")


def _alike_segments(spec: Spec, source: Source, ref: str, look: UnitLook) -> list[Check | None]:
    """One remark a segment; a level of few units is not named."""
    found: list[Check | None] = []
    for segment in [s for s, levels in look.levels.items() if _groups(levels)]:
        name = quoted(segment)
        sql = f"select {name}::varchar as level, count(*) as n from t where {name} is not null"
        sizes = {r["level"]: r["n"] for r in source.query(f"{sql} group by 1", t=ref)}
        groups = [
            [v if sizes[v] >= spec.privacy.min_cell else None for v in group]
            for group in _groups(sizes)
        ]
        said = [", ".join("a rare one" if v is None else repr(v) for v in g) for g in groups]
        text = f"segment {segment!r}: levels that {SPACES} count as different ones"
        numbers = {"name": segment, "levels": [v for g in groups for v in g]}
        found.append(Check("alike", True, f"{text}: {'; '.join(said)}", numbers))
    return found


def _groups(names: Iterable[str]) -> list[list[str]]:
    """Those of `names` that are the same but for spaces around them, and capitals."""
    by: dict[str, list[str]] = {}
    for name in sorted(names):
        by.setdefault(name.strip().casefold(), []).append(name)
    return [group for group in by.values() if len(group) > 1]
