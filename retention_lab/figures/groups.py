"""Survival rows in; the groups that a figure shows, each with its label, colour and rows, out."""

from __future__ import annotations

import dataclasses

from retention_lab.experiment.spec import Spec
from retention_lab.figures.style import CONTROL, PALETTE, Table, rows_of
from retention_lab.results import Row
from retention_lab.texts import label, say
from retention_lab.texts.lives import OTHER, bounds, event_of, level_label

MOST = 6  # groups in one panel


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """One group: its rows in the order of their days, and its number of customers."""

    name: str
    label: str
    colour: str
    rows: tuple[Row, ...]
    size: int | None


def survival_rows(results: Table, estimand: str, segment: str | None = None) -> tuple[Row, ...]:
    """Rows of one estimand: of the groups of `segment`, or of everyone (of the arms, if any)."""
    rows = [
        r
        for r in rows_of(results)
        if r.analysis == "survival" and r.estimand == estimand and r.segment == segment
    ]
    armed = [r for r in rows if r.arm is not None]
    return tuple(armed if segment is None and armed else rows)


def has_competing(spec: Spec) -> bool:
    """Whether the file names what may happen instead of the event."""
    return spec.survival is not None and bool(spec.survival.competing)


def came_rows(results: Table, spec: Spec, segment: str | None = None) -> tuple[Row, ...]:
    """The rows of the share that had the event, where other events may come first that first.

    Rows of `survival`, to be read by `came`; of `cumulative_incidence` with competing events.
    """
    if not has_competing(spec):
        return survival_rows(results, "survival", segment)
    rows = survival_rows(results, "cumulative_incidence", segment)
    return tuple(r for r in rows if r.term in (None, event_of(spec)))


def came(r: Row) -> Row:
    """The same row as the share that has had the event."""
    if r.estimand != "survival":
        return r
    low, high = (None if e is None else 1 - e for e in (r.ci_high, r.ci_low))
    estimate = None if r.estimate is None else 1 - r.estimate
    return dataclasses.replace(r, estimate=estimate, ci_low=low, ci_high=high)


def groups_of(
    results: Table,
    spec: Spec,
    estimand: str,
    segment: str | None,
    language: str,
    most: int = MOST,
    term: str | None = None,
) -> tuple[tuple[Shown, ...], int]:
    """At most `most` groups that have an estimate, the largest, and how many there are in all.

    The control is first, else the largest group; cohorts are in the order of time. The first of
    several is grey. `term` keeps the rows of one outcome.
    """
    rows = rows_of(results)
    found: dict[str, list[Row]] = {}
    for r in survival_rows(rows, estimand, segment):
        if r.estimate is not None and term in (None, r.term):
            found.setdefault(_key(r), []).append(r)
    sizes = sizes_of(rows, segment)
    size = {name: sizes.get(name) or max((r.n or 0) for r in own) for name, own in found.items()}
    names = sorted(found, key=lambda name: (name == OTHER, -size[name]))
    kept = names[:most]
    control = spec.design.control if spec.design is not None else None
    if segment == "cohort":
        kept.sort()
    elif segment is None:
        order = list(found)
        kept.sort(key=lambda name: (name != control, order.index(name)))
    shown = tuple(
        Shown(
            name,
            _label(spec, name, segment, language),
            _colour(i, len(kept)),
            tuple(sorted(found[name], key=lambda r: (bounds(r.at), r.at or ""))),
            sizes.get(name),
        )
        for i, name in enumerate(kept)
    )
    return shown, len(names)


def largest(shown: int, many: int, language: str) -> str:
    """The remark that only the largest groups are shown; empty where all are."""
    return say(language, "figure.largest", n=shown, many=many) if many > shown else ""


def since(spec: Spec, language: str) -> str:
    """What the days of a chart count from: entering the test, or the first event."""
    return say(language, "figure.days_in" if spec.design is not None else "figure.days")


def sizes_of(results: Table, segment: str | None) -> dict[str, int]:
    """Customers by group, where they are known."""
    rows = survival_rows(results, "customers", segment)
    return {_key(r): r.n for r in rows if r.n is not None}


def _key(r: Row) -> str:
    return (r.level if r.segment is not None else r.arm) or ""


def _label(spec: Spec, name: str, segment: str | None, language: str) -> str:
    if segment is None:
        return label(spec, name, language) if name else ""
    return level_label(spec, name, language)


def _colour(i: int, many: int) -> str:
    if many == 1:
        return PALETTE[0]
    return CONTROL if i == 0 else PALETTE[(i - 1) % len(PALETTE)]
