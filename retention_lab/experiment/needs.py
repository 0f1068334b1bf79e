"""The metrics of a file in; the columns and pairs of columns that its reduction must hold out."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Mapping
from typing import Any, Literal

from retention_lab.errors import PlanError, did_you_mean
from retention_lab.experiment.spec import EVENT_KINDS, Cap, Metric, Spec, hours

MISSING_LEVEL = "(missing)"
UNCAPPED = " uncapped"
ROWS = "rows of events"  # in what a reduction says of itself: which rows its columns count
PRE = " pre"  # with a space, as no metric's name can have one


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One number a unit: read from the unit's row, or made from its events in a window.

    `how` is ``value`` (the unit's own column `value`), ``level`` (1 where that column is `level`,
    else 0), ``missing`` (1 where it is null, else 0), ``mature`` (1 where `window` hours after
    exposure have elapsed, else 0), or ``any``, ``count`` or ``sum`` (of `value`)
    over the events of table `event` within `window` hours after exposure (before, if `before`).
    The number exists for units whose `matures` hours after exposure have elapsed, and that have
    the column `beside`. A column of the covariate `of` is never missing there: null is `fill`.
    """

    name: str
    how: Literal["value", "level", "missing", "mature", "any", "count", "sum"]
    value: str | None = None
    event: str | None = None
    window: int | None = None
    before: bool = False
    matures: int | None = None
    binary: bool = False
    missing: Literal["error", "drop", "zero"] = "error"
    cap: Cap | None = None
    of: str | None = None
    level: str | None = None
    fill: float | None = None
    beside: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Covariate:
    """What the table says of a covariate: the levels of a text; a number's `fill`, if any is null.

    Levels are sorted; the first is the one that the others are compared with.
    """

    levels: tuple[str, ...] = ()
    fill: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Needs:
    """What one metric reads: its column or a ratio's two, its pre-period, covariates, uncapped.

    `mature` tells an immature unit from one without a value, where both are left out. `together`
    are further columns of the same units, of which every pair is reduced: what an incentive's
    ledger needs beside the revenue.
    """

    metric: str
    numerator: Column
    denominator: Column | None = None
    before: Column | None = None
    apart: bool = False  # a ratio whose parts count only where both are known
    covariates: tuple[Column, ...] = ()
    uncapped: Column | None = None
    mature: Column | None = None
    together: tuple[Column, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        parts = (self.numerator, self.denominator, self.before, self.uncapped, self.mature)
        return (*(c for c in parts if c is not None), *self.together, *self.covariates)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        own = [(c.name, c.name) for c in self.columns]
        outcomes = [self.numerator.name]
        if self.denominator is not None:
            own.append((self.numerator.name, self.denominator.name))
            outcomes.append(self.denominator.name)
        if self.uncapped is not None:
            outcomes.append(self.uncapped.name)
        money = [self.numerator.name, *(c.name for c in self.together)]
        own += [(x, z) for i, x in enumerate(money) for z in money[:i]]
        outcomes += money[1:]
        with_outcome = [(y, x.name) for y in outcomes for x in self.covariates]
        between = [
            (x.name, z.name) for i, x in enumerate(self.covariates) for z in self.covariates[:i]
        ]
        return (*own, *with_outcome, *between)


def needs(
    spec: Spec,
    unit_columns: tuple[str, ...] = (),
    stored: Mapping[str, Column] | None = None,
    covariates: Mapping[str, Covariate] | None = None,
) -> dict[str, Needs]:
    """What every metric of `spec` needs, by metric name.

    A metric's covariates are the columns of the unit table that it names (`covariates` says what
    the table holds of them; what is not there is left out), the pre-periods of the metrics that it
    names, and its own pre-period; a ratio's also those of its two parts.

    A ratio's parts are other metrics, columns of the unit table (`unit_columns`), or an event
    and a window such as ``orders_30d`` (their count); where a run starts from saved reductions,
    the columns that these hold (`stored`). Raises PlanError for a part that is none of them.
    """
    known = {c: Column(name=c, how="value", value=c) for c in unit_columns} | dict(stored or {})
    metrics = {m.name: m for m in spec.metrics}
    found = {m.name: _told(_of(m, metrics, spec, known), stored) for m in spec.metrics}
    seen = _stored_covariates(stored) if stored is not None else covariates or {}
    return {
        name: dataclasses.replace(need, covariates=_covariates(metrics[name], need, metrics, seen))
        for name, need in found.items()
    }


def _told(need: Needs, stored: Mapping[str, Column] | None) -> Needs:
    """With the column `mature` where units are left out for two reasons (and it was reduced)."""
    window = need.numerator.matures
    drops = any(c.missing == "drop" for c in need.columns)
    name = f"mature {window}h"
    if window is None or not drops or (stored is not None and name not in stored):
        return need
    return dataclasses.replace(need, mature=Column(name=name, how="mature", window=window))


def _covariates(
    metric: Metric,
    need: Needs,
    metrics: Mapping[str, Metric],
    known: Mapping[str, Covariate],
) -> tuple[Column, ...]:
    """The columns of a metric's covariates, known exactly where its outcome is."""
    outcome = need.numerator
    beside = outcome.name if any(c.missing == "drop" for c in need.columns) else None
    matures = outcome.matures
    place = f"beside {beside}" if beside else f"after {matures}h" if matures else "all"
    names = [*metric.covariates, *([metric.name] if metric.pre else [])]
    if metric.kind == "ratio":
        parts = (metrics.get(str(x)) for x in (metric.numerator, metric.denominator))
        names += [n for p in parts if p for n in (*p.covariates, *([p.name] if p.pre else []))]
    columns: list[Column] = []

    def add(detail: str, **what: Any) -> None:
        where: dict[str, Any] = {"matures": matures, "beside": beside, "missing": "zero"}
        columns.append(Column(**{**what, **where, "name": f"{_plain(detail)} {place}"}))

    for name in dict.fromkeys(names):
        if name in metrics and metrics[name].pre:
            before = _before(metrics[name])
            assert before is not None
            what = {k: getattr(before, k) for k in ("how", "event", "value", "window", "cap")}
            add(before.name, before=True, of=name, **what)
        elif name in known:
            levels, fill = known[name].levels, known[name].fill
            for level in levels[1:]:
                add(f"{name}={level}", how="level", value=name, level=level, of=name)
            if not levels:
                add(name, how="value", value=name, of=name, fill=fill)
                if fill is not None:
                    add(f"{name} missing", how="missing", value=name, of=name)
    return tuple(columns)


def _plain(name: str) -> str:
    """A name that an engine takes as it is; a changed one ends in a checksum, to stay unique."""
    plain = re.sub(r"[^\w =-]", "_", name)
    return (
        plain
        if plain == name and name == name.casefold()
        else f"{plain} {zlib.crc32(name.encode()):08x}"
    )


def _stored_covariates(stored: Mapping[str, Column]) -> dict[str, Covariate]:
    """What a saved reduction holds of covariates; the level that others are compared with is gone.

    >>> _stored_covariates({"a": Column(name="a", how="level", value="c", level="x", of="c")})
    {'c': Covariate(levels=('', 'x'), fill=None)}
    """
    found: dict[str, Covariate] = {}
    for c in stored.values():
        if c.of is None or c.before:
            continue
        one = found.get(c.of, Covariate())
        if c.how == "level" and c.level not in one.levels:
            one = Covariate(levels=(*(one.levels or ("",)), str(c.level)))
        elif c.how == "value":
            one = Covariate(fill=c.fill)
        found[c.of] = one
    return found


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
        column = _column(metric)
        whole = dataclasses.replace(column, name=metric.name + UNCAPPED, cap=None)
        return Needs(
            metric.name, column, before=_before(metric), uncapped=whole if column.cap else None
        )
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
        how=how.get(metric.kind, _of_events(metric)),
        value=metric.value if metric.kind in EVENT_KINDS or metric.event else metric.column,
        event=metric.event,
        window=window,
        matures=window,
        binary=metric.kind == "proportion",
        missing=metric.missing,
        cap=metric.cap,
    )


def _of_events(metric: Metric) -> Literal["value", "count", "sum"]:
    """How a quantile's number is made: a column, or a unit's events counted or summed."""
    if metric.event is None:
        return "value"
    return "sum" if metric.value else "count"


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
    for column in known.values():  # of a saved reduction, in which it has the ratio's name
        said = (f"{ratio.name} numerator", f"{ratio.name} denominator")
        if column.name in said and column.how == "count" and column.event == event:
            return dataclasses.replace(column, name=name, matures=column.window)
    choices = [*(m for m in metrics if m != ratio.name), *known]
    events = ", ".join(f"{e}_30d" for e in spec.data.events)
    also = f", nor a count of events such as {events}" if events else ""
    raise PlanError(
        f"metric {ratio.name!r}: {name!r} is neither a metric nor a column of the units"
        f"{also}{did_you_mean(name, choices)}"
    )
