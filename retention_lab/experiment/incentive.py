"""An incentive section and what the metrics need in; the columns that it needs as well out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from retention_lab.data.source import Source
from retention_lab.errors import PlanError, counted, did_you_mean
from retention_lab.experiment.findings import Check
from retention_lab.experiment.needs import Column, Covariate, Needs
from retention_lab.experiment.sections import RANDOMISED, Incentive, Known
from retention_lab.experiment.spec import Spec

REVENUE, RETURNS, REDEEMED, BOUGHT = "revenue", "returns", "redeemed", "bought"
REDEEMED_COLUMN = "redeemed incentive"  # with a space, as no metric's name can have one
MONEY = ("mean", "sum")
NUMBERS = ("proportion", "mean", "retention", "sum", "count")
OF_LEDGER = ("revenue", "cost", "min_roi")  # what only a ledger uses


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What was made of an incentive section.

    `outcomes` are the metrics whose effect is asked for, the primary ones first. `money` says, by
    role in the ledger, which column of the reduction holds it: `revenue`, `returns`, `redeemed`,
    `bought`. `redeemed` is the column of redemption beside each outcome. Where nobody randomised,
    `covariates` are the columns by which customers are compared, and `propensity` is the column of
    the known probability of the incentive, if there is one.
    """

    outcomes: tuple[str, ...]
    money: Mapping[str, str] = dataclasses.field(default_factory=dict)
    redeemed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    covariates: tuple[Column, ...] = ()
    propensity: Column | None = None


def price_of_control(said: Incentive, control: str, arm: str) -> float:
    """What one redemption by a unit of the control costs.

    With `cost.redemption: dose` it is the control's own value where the file gives one; a control
    that has none can only have redeemed what the arm was given.
    """
    return said.redemption(control if control in said.dose else arm)


def outcomes(spec: Spec) -> tuple[str, ...]:
    """The metrics whose effect is asked for: those named, or all that are means of units."""
    assert spec.incentive is not None
    may = [m.name for m in spec.metrics if m.kind in NUMBERS]
    named = spec.incentive.outcomes or [
        m.name for m in spec.metrics if m.kind in NUMBERS and m.role != "guardrail"
    ]
    first = [n for n in named if n in spec.primary]
    return tuple(n for n in dict.fromkeys([*first, *named]) if n in may)


def named_faults(spec: Spec) -> list[str]:
    """What the incentive section names and the file does not have, or cannot use."""
    said = spec.incentive
    assert said is not None
    kinds = {m.name: m.kind for m in spec.metrics}
    faults = []
    for key, name, may in (
        ("revenue", said.revenue, MONEY),
        ("returns", said.returns, MONEY),
        ("placebo", said.placebo, NUMBERS),
        *(("outcomes", name, NUMBERS) for name in said.outcomes),
    ):
        if name is None:
            continue
        if name not in kinds:
            hint = did_you_mean(name, kinds)
            faults.append(f"incentive.{key}: there is no metric {name!r}{hint}")
        elif kinds[name] not in may:
            faults.append(
                f"incentive.{key}: {name!r} is a {kinds[name]}; it must be a {' or a '.join(may)}"
            )
    if said.strategy in (*RANDOMISED, "observational"):
        if spec.design is None:
            faults.append("incentive: say in design which column holds the arm, and the control")
        else:
            arms = spec.design.expected_split
            strange = sorted(set(said.dose) - set(arms)) if arms else []
            if strange:
                hint = did_you_mean(strange[0], list(arms or {}))
                faults.append(f"incentive.dose: there is no arm {strange[0]!r}{hint}")
    elif spec.design is not None:
        faults.append(f"incentive: a {said.strategy} has no design; take it out of the file")
    if spec.inference.sequential:
        faults.append(
            "inference.sequential: effects and ledger of an incentive are looked at once, and "
            "their intervals do not hold for looking every day; take it out, or the incentive"
        )
    if not spec.metrics:
        faults.append("incentive: name what it should move in metrics")
    weekly = said.pull_forward
    if weekly is not None and weekly.event not in spec.data.events:
        hint = did_you_mean(weekly.event, spec.data.events)
        faults.append(f"incentive.pull_forward: there is no data.events.{weekly.event}{hint}")
    elif weekly is not None and spec.data.assignments is None:
        faults.append(
            "incentive.pull_forward counts weeks since each unit's exposure: give data.assignments"
        )
    if said.strategy == "rollout" and any(isinstance(c, Known) for c in said.covariates):
        faults.append(
            "incentive.covariates: a time (at) is held against an exposure, and a rollout has none "
            "(a market's covariate is that of its first period); name the column alone"
        )
    if said.redeemed in kinds:
        faults.append(
            f"incentive.redeemed: {said.redeemed!r} is a metric; name a column of the units, "
            "or events; where it is the metric's own column, give the metric another name and "
            f"value: {said.redeemed}"
        )
    return faults


def unused(spec: Spec) -> list[Check]:
    """A remark on keys of the ledger in a file that keeps none, for want of a margin."""
    said = spec.incentive
    idle = [k for k in OF_LEDGER if said is not None and k in said.model_fields_set]
    if said is None or said.keeps_a_ledger or not idle:
        return []
    named = ", ".join(f"incentive.{k}" for k in idle)
    why = "a rollout keeps no ledger"
    if said.strategy != "rollout":
        why = "there is no ledger without incentive.margin, the share of revenue that is left"
    return [Check("unused", True, f"{named}: not used, as {why}", {"keys": named})]


def covariate_faults(spec: Spec, ref: str, known: Mapping[str, str]) -> list[str]:
    """Why columns of `ref` cannot be covariates of an incentive that nobody randomised.

    A metric with a pre-period may be one: what it was before. Refused by name: the arm, what was
    redeemed, and what the metrics read, all of them known only after the incentive.
    """
    said, design = spec.incentive, spec.design
    assert said is not None
    after = {m.column: m.name for m in spec.metrics if m.event is None}
    taken = {design.arm, design.unit, said.propensity, said.redeemed} if design else set()
    faults = []
    before = {m.name for m in spec.metrics if m.pre}
    for name in said.columns:
        what = f"incentive.covariates: {name!r}"
        if name in before:
            continue
        if name not in known:
            faults.append(f"{what} is not a column of {ref}{did_you_mean(name, known)}")
        elif name in after:
            faults.append(
                f"{what} is what metric {after[name]!r} measures, after the incentive; a covariate "
                "must have been known before it"
            )
        elif name in taken:
            faults.append(
                f"{what} is the arm, the unit's id, its known propensity or what was redeemed: "
                "it would predict itself"
            )
        elif known[name] not in ("number", "truth", "text"):
            faults.append(f"{what} of {ref} holds {known[name]}, not numbers or levels")
    if any(isinstance(c, Known) for c in said.covariates) and spec.data.assignments is None:
        faults.append(
            "incentive.covariates: a time (at) is held against the exposure: give assignments"
        )
    return faults


def known_late(spec: Spec, source: Source) -> list[str]:
    """Covariates whose time, where the file gives one, lies after the exposure of some unit."""
    said, main = spec.incentive, spec.data.assignments
    assert said is not None
    assert main is not None
    faults = []
    for c in said.covariates:
        if not isinstance(c, Known):
            continue
        if c.at not in source.columns(main.table):
            faults.append(f"incentive.covariates: column {c.at!r} is not in {main.table}")
            continue
        sql = f"{source.instant(main.table, c.at)} > {source.instant(main.table, main.at)}"
        (found,) = source.query(f"select count(*) as late from t where {sql}", t=main.table)
        if found["late"]:
            faults.append(
                f"incentive.covariates: {c.column!r} was known only after the exposure for "
                f"{counted(found['late'], 'unit')} ({c.at} is later than {main.at}): it may be an "
                "effect of the incentive; take it out"
            )
    return faults


def with_offer(
    spec: Spec,
    needed: Mapping[str, Needs],
    known: Mapping[str, str],
    seen: Mapping[str, Covariate],
) -> tuple[Offer, dict[str, Needs]]:
    """The offer, and what the metrics need with the columns that it adds to them.

    `known` are the columns of the table of units, `seen` what it holds of covariates. Raises
    PlanError where what was redeemed is neither one of them nor a table of events, or revenue and
    returns count other units.
    """
    said = spec.incentive
    assert said is not None
    out = dict(needed)
    names = outcomes(spec)
    redeemed: dict[str, str] = {}
    if said.strategy == "encouragement":
        for name in names:
            column = _redeemed(spec, said, out[name].numerator, known)
            out[name] = _add(out[name], column)
            redeemed[name] = column.name
    money: dict[str, str] = {}
    if said.revenue is not None and said.strategy in (*RANDOMISED, "observational"):
        revenue = out[said.revenue].numerator
        money[REVENUE] = revenue.name
        if said.returns is not None:
            column = _alike(spec, revenue, out[said.returns].numerator, said.returns)
            out[said.revenue] = _add(out[said.revenue], column)
            money[RETURNS] = column.name
        if said.redeemed is not None:
            column = _redeemed(spec, said, revenue, known)
            out[said.revenue] = _add(out[said.revenue], column)
            money[REDEEMED] = column.name
            bought = _bought(spec, out, revenue)
            if bought is not None:
                out[said.revenue] = _add(out[said.revenue], bought)
                money[BOUGHT] = bought.name
    return Offer(
        names,
        money,
        redeemed,
        tuple(c for name in said.columns for c in _coded(name, seen.get(name), out.get(name))),
        _propensity(said, known),
    ), out


def _coded(name: str, seen: Covariate | None, metric: Needs | None) -> tuple[Column, ...]:
    """A covariate as numbers: itself, or 1 or 0 for every level but the first.

    The name of a metric with a pre-period stands for what it was before the exposure.
    """
    if metric is not None and metric.before is not None:
        return (metric.before,)
    if seen is None:
        return ()
    if seen.levels:
        return tuple(
            Column(name=f"{name}={level}", how="level", value=name, level=level, of=name)
            for level in seen.levels[1:]
        )
    own = Column(name=f"{name} ", how="value", value=name, missing="zero", of=name, fill=seen.fill)
    if seen.fill is None:
        return (own,)
    return own, Column(name=f"{name} missing", how="missing", value=name, of=name)


def _propensity(said: Incentive, known: Mapping[str, str]) -> Column | None:
    name = said.propensity
    if name is None:
        return None
    if name not in known:
        raise PlanError(
            f"incentive.propensity: column {name!r} is not in the units{did_you_mean(name, known)}"
        )
    return Column(name="known propensity", how="value", value=name)


def _add(need: Needs, column: Column) -> Needs:
    if column in need.together:
        return need
    return dataclasses.replace(need, together=(*need.together, column))


def _redeemed(spec: Spec, said: Incentive, outcome: Column, known: Mapping[str, str]) -> Column:
    """Whether a unit redeemed, known for just the units that have the outcome."""
    name = str(said.redeemed)
    span = outcome.matures
    label = REDEEMED_COLUMN if span is None else f"{REDEEMED_COLUMN} {span}h"
    beside = outcome.name if outcome.missing == "drop" else None
    if beside is not None:
        label = f"{label} beside {beside}"
    if name in spec.data.events:
        if span is None:
            raise PlanError(
                f"incentive.redeemed: {name!r} are events, but {outcome.name!r} has no window in "
                "which they count; name a column of the units"
            )
        return Column(name=label, how="any", event=name, window=span, matures=span, beside=beside)
    if name not in known:
        hint = did_you_mean(name, [*known, *spec.data.events])
        raise PlanError(
            f"incentive.redeemed: {name!r} is neither a column of the units nor events{hint}"
        )
    if known[name] not in ("number", "truth"):
        raise PlanError(
            f"incentive.redeemed: column {name!r} holds {known[name]}; it must be 0 or 1"
        )
    return Column(name=label, how="value", value=name, matures=span, binary=True, beside=beside)


def _alike(spec: Spec, revenue: Column, other: Column, name: str) -> Column:
    """The column `other`, if it is known for the units that have the revenue."""
    if other.matures != revenue.matures or "drop" in (other.missing, revenue.missing):
        raise PlanError(
            f"incentive.returns: {name!r} and the revenue must have the same window, and both "
            "missing: error or missing: zero, so that they count the same customers"
        )
    return other


def _bought(spec: Spec, needed: Mapping[str, Needs], revenue: Column) -> Column | None:
    """A metric that says whether the customer bought in the window of the revenue."""
    if revenue.missing == "drop":
        return None
    for m in spec.metrics:
        c = needed[m.name].numerator
        same = m.kind == "retention" and c.event == revenue.event and c.window == revenue.window
        if same and revenue.event is not None and c.matures == revenue.matures:
            return c
    return None
