"""Arms that were dealt by chance and who redeemed in; remarks where nobody, or the control, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from retention_lab.data.counted import counted_rows
from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.data.times import HOUR, end_of
from retention_lab.errors import counted
from retention_lab.experiment.findings import Check
from retention_lab.experiment.incentive import REDEEMED, Offer, price_of_control
from retention_lab.experiment.needs import Column, Needs, all_columns
from retention_lab.experiment.spec import Spec

if TYPE_CHECKING:
    from retention_lab.data.moments import Moments

ENCOURAGED = "encouragement"
STRATEGIES = ("randomised", ENCOURAGED)


def redemption_remarks(
    spec: Spec,
    arms: Sequence[str],
    column: Column | None,
    found: Mapping[str, tuple[int, int]],
) -> list[Check]:
    """Arms in which nobody, or everybody, redeemed, and redemptions in the control, as remarks.

    `arms` has the control first; `column` is `column_of` the offer, and `found` has, by arm, the
    units that count and how many of them redeemed. Nothing is said of an arm with fewer units than
    `privacy.min_cell`, nor of any arm where the control is such a one.
    """
    said = spec.incentive
    if said is None or column is None:
        return []
    least = max(spec.privacy.min_cell, 1)
    units = {a: found[a] for a in arms if a in found and found[a][0] >= least}
    control, *others = arms
    if control not in units:
        return []
    encouraged = said.strategy == ENCOURAGED
    paid = said.margin is not None and any(price_of_control(said, control, a) for a in others)
    span = "" if column.event is None else f", within {_span(column)}"
    redeemed = f"redeemed ({said.redeemed!r}{span})"
    checks = []
    nobody = [a for a in others if a in units and not units[a][1]]
    if nobody:
        then = "the effect of redeeming is not known; " if encouraged else ""
        text = f"nobody in {_named(nobody)} {redeemed}: {then}is that where redemptions are kept?"
        checks.append(Check("nobody_redeems", True, text, {"arms": nobody}))
    n, leaked = units[control]
    if leaked:
        done = ["the effect is on those who redeem only because of the offer"] if encouraged else []
        done += ["what theirs cost is taken off the cost of the arms"] if paid else []
        text = f"{leaked:,} of {counted(n, 'unit')} in the control, {control!r}, {redeemed}"
        text += f": {', and '.join(done)}" if done else ""
        checks.append(Check("control_redeems", True, text, {"n": leaked, "all": n}))
    everybody = [a for a in others if a in units and units[a][1] == units[a][0]]
    if everybody:
        then = "the effect of redeeming is that of the arm; " if encouraged and not leaked else ""
        text = f"everybody in {_named(everybody)} {redeemed}: {then}is that who used the incentive,"
        text += " or who was given it?"
        checks.append(Check("everybody_redeems", True, text, {"arms": everybody}))
    return checks


def _named(arms: Sequence[str]) -> str:
    return ("arm " if len(arms) == 1 else "arms ") + ", ".join(repr(a) for a in arms)


def _span(column: Column) -> str:
    hours = column.window or 0
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def column_of(spec: Spec, offer: Offer, needed: Mapping[str, Needs]) -> Column | None:
    """The column of who redeemed, if the strategy is one of `STRATEGIES` and the file says who.

    Of several windows the longest.
    """
    if spec.incentive is None or spec.incentive.strategy not in STRATEGIES:
        return None
    names = {*offer.redeemed.values(), offer.money.get(REDEEMED)}
    columns = [c for c in all_columns(dict(needed)) if c.name in names]
    return max(columns, key=lambda c: c.matures or 0, default=None)


def of_reductions(
    spec: Spec, held: Sequence[Moments], column: Column
) -> dict[str, tuple[int, int]]:
    """By arm of saved reductions, the units that count, and how many of them redeemed."""
    assert spec.design is not None
    found: dict[str, tuple[int, int]] = {}
    for whole in held:
        moments = whole.roll_up(spec.design.arm)
        pair = moments.pair(column.name)
        for at, (arm,) in enumerate(moments.cells):
            n = int(moments.n[at, pair])
            redeemed = round(moments.mean(at, column.name) * n) if n else 0
            units, before = found.get(arm, (0, 0))
            found[arm] = units + n, before + redeemed
    return found


def of_tables(spec: Spec, source: Source, ref: str, column: Column) -> dict[str, tuple[int, int]]:
    """By arm of the table `ref`, the units that count, and how many of them redeemed.

    One query, joined with the events where these say who redeemed. Units count as in the analysis:
    exposed by `as_of`, their window elapsed, not of a burn-in.
    """
    design, main = spec.design, spec.data.assignments
    assert design is not None
    kept = ["true"]
    if design.switchback is not None:
        kept.append(source.cluster(ref, spec)[1])
    if main is not None and spec.data.as_of is not None:
        at, end = source.instant(ref, main.at, "t"), end_of(spec.data.as_of, spec.data.timezone)
        kept += [f"{at} < {end}", f"{at} <= {end - (column.matures or 0) * HOUR}"]
    wanted = f"select t.{quoted(design.arm)}::varchar as arm, count(*) as n"
    where = f"where {' and '.join(kept)} group by 1"
    if column.event is None or main is None or design.unit is None:
        redeemed = f"t.{quoted(str(column.value))}::double = 1"
        sql = f"{wanted}, count(*) filter ({redeemed}) as redeemed from t {where}"
        rows = source.query(sql, t=ref)
    else:
        unit, table = quoted(design.unit), spec.data.events[column.event]
        events = counted_rows(source, spec, column.event)
        since = f"{source.instant(events, table.at, 'e')} - {source.instant(ref, main.at, 't')}"
        span = (column.window or 0) * HOUR
        hit = (
            f"select distinct e.{unit} as who from e join t on e.{unit} = t.{unit} "
            f"where {since} > 0 and {since} <= {span}"
        )
        sql = f"{wanted}, count(who) as redeemed from t left join ({hit}) h on h.who = t.{unit} "
        rows = source.query(sql + where, t=ref, e=events)
    return {r["arm"]: (int(r["n"]), int(r["redeemed"])) for r in rows if r["arm"] is not None}
