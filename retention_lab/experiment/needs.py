"""The metrics of a file in; the columns and pairs of columns that its reduction must hold out."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal

from retention_lab.errors import PlanError, did_you_mean
from retention_lab.experiment.spec import EVENT_KINDS, Cap, Metric, Spec, hours

PRE = " pre"  # with a space, as no metric's name can have one


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number a unit: read from the unit's row, or made from its events in a window.

    `how` is ``value`` (the unit's own column `value`), ``any``, ``count`` or ``sum`` (of `value`)
    over the events of table `event` within `window` hours after exposure (before, if `before`).
    The number exists for units whose `matures` hours after exposure have elapsed.
    """

    name: str
    how: Literal["value", "any", "count", "sum"]
    value: str | None = None
    event: str | None = None
    window: int | None = None
    before: bool = False
    matures: int | None = None
    binary: bool = False
    missing: Literal["error", "drop", "zero"] = "error"
    cap: Cap | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Needs:
    """What one metric reads: its column, or the two columns of a ratio, and its pre-period."""

    metric: str
    numerator: Column
    denominator: Column | None = None
    before: Column | None = None
    apart: bool = False  # a ratio whose parts count only where both are known

    @property
    def columns(self) -> tuple[Column, ...]:
        parts = (self.numerator, self.denominator, self.before)
        return tuple(c for c in parts if c is not None)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        own = [(c.name, c.name) for c in self.columns]
        if self.denominator is not None:
            own.append((self.numerator.name, self.denominator.name))
        return tuple(own)


def needs(
    spec: Spec, unit_columns: tuple[str, ...] = (), stored: Mapping[str, Column] | None = None
) -> dict[str, Needs]:
    """What every metric of `spec` needs, by metric name.

    A ratio's parts are other metrics, columns of the unit table (`unit_columns`), or an event
    and a window such as ``orders_30d`` (their count); where a run starts from saved reductions,
    the columns that these hold (`stored`). Raises PlanError for a part that is none of them.
    """
    known = {c: Column(name=c, how="value", value=c) for c in unit_columns} | dict(stored or {})
    metrics = {m.name: m for m in spec.metrics}
    return {m.name: _of(m, metrics, spec, known) for m in spec.metrics}


def all_columns(needed: dict[str, Needs]) -> tuple[Column, ...]:
    """Every column once, in the order in which it is first needed.

    Raises PlanError where two different ones have one name, as an engine reads names: without
    regard to capitals.
    """
    columns: dict[str, Column] = {}
    for c in (c for n in needed.values() for c in n.columns):
        first = columns.setdefault(c.name.casefold(), c)
        if first != c:
            raise PlanError(
                f"{first.name!r} and {c.name!r} would be one column: give one of the metrics, "
                "or the column of the units that a ratio names, another name"
            )
    return tuple(columns.values())


def all_pairs(needed: dict[str, Needs]) -> tuple[tuple[str, str], ...]:
    """Every pair of columns once, in the order in which it is first needed."""
    return tuple(dict.fromkeys(p for n in needed.values() for p in n.pairs))


def _of(
    metric: Metric, metrics: dict[str, Metric], spec: Spec, known: Mapping[str, Column]
) -> Needs:
    if metric.kind != "ratio":
        return Needs(metric.name, _column(metric), before=_before(metric))
    parts = [
        _part(name, metric, metrics, spec, known) for name in (metric.numerator, metric.denominator)
    ]
    matures = max((c.matures or 0 for c in parts), default=0) or None
    uneven = len({c.matures for c in parts}) > 1 or any(c.missing == "drop" for c in parts)
    if uneven:
        parts = [
            dataclasses.replace(c, name=f"{metric.name} {role}", matures=matures)
            for c, role in zip(parts, ("numerator", "denominator"), strict=True)
        ]
    return Needs(metric.name, parts[0], parts[1], apart=uneven)


def _column(metric: Metric) -> Column:
    how: dict[str, Literal["value", "any", "count", "sum"]] = {
        "retention": "any",
        "count": "count",
        "sum": "sum",
    }
    window = hours(metric.within) if metric.within else None
    return Column(
        name=metric.name,
        how=how.get(metric.kind, "value"),
        value=metric.value if metric.kind in EVENT_KINDS else metric.column,
        event=metric.event,
        window=window,
        matures=window,
        binary=metric.kind == "proportion",
        missing=metric.missing,
        cap=metric.cap,
    )


def _before(metric: Metric) -> Column | None:
    if metric.pre is None:
        return None
    own = _column(metric)
    return dataclasses.replace(own, name=metric.name + PRE, window=hours(metric.pre), before=True)


def _part(
    name: str | None,
    ratio: Metric,
    metrics: dict[str, Metric],
    spec: Spec,
    known: Mapping[str, Column],
) -> Column:
    assert name is not None
    if name in metrics:
        metric = metrics[name]
        if metric.kind in ("ratio", "quantile"):
            kind = metric.kind
            raise PlanError(f"metric {ratio.name!r}: {name!r} is a {kind}, not a sum or count")
        return _column(metric)
    if name in known:
        part = known[name]
        if part.how != "value" or ratio.missing == "error":
            return part
        return dataclasses.replace(part, name=f"{name} {ratio.missing}", missing=ratio.missing)
    event, _, window = name.rpartition("_")
    if event in spec.data.events and re.fullmatch(r"\d+[hdw]", window):
        span = hours(window)
        return Column(name=name, how="count", event=event, window=span, matures=span)
    choices = [*(m for m in metrics if m != ratio.name), *known]
    events = ", ".join(f"{e}_30d" for e in spec.data.events)
    also = f", nor a count of events such as {events}" if events else ""
    raise PlanError(
        f"metric {ratio.name!r}: {name!r} is neither a metric nor a column of the units"
        f"{also}{did_you_mean(name, choices)}"
    )
