"""A design whose clusters or blocks of time were randomised, and its table, in; faults out."""

from __future__ import annotations

import datetime as dt

from retention_lab.data.look import UnitLook, clusters
from retention_lab.data.source import Source
from retention_lab.errors import counted
from retention_lab.experiment.findings import Check
from retention_lab.experiment.spec import Spec


def check_clusters(
    spec: Spec, source: Source, ref: str, look: UnitLook
) -> tuple[list[Check], list[str]]:
    """What was checked, and what is fatal: a unit in no cluster, a cluster in two arms."""
    assert spec.design is not None
    name = spec.design.randomised
    if name is None:
        return [], []
    sql, kept = source.cluster(ref, spec)
    count, crossed, nobody, burnt = clusters(source, ref, sql, kept, spec.design.arm)
    fatal, checks = [], []
    what = "blocks of time" if spec.design.switchback else "clusters"
    if nobody:
        fatal.append(f"{counted(nobody, 'unit')} of {ref} without a cluster {name!r}")
    observed = spec.incentive is not None and spec.incentive.strategy == "observational"
    if crossed and not observed:
        fatal.append(
            f"design: {crossed:,} of {count:,} {what} are in two arms or more, so {name!r} is not "
            "what was randomised"
        )
    told = "belong together" if observed else "were randomised, whole"
    checks.append(Check("clusters", True, f"{count:,} {what} by {name!r} {told}"))
    if burnt:
        text = f"{burnt:,} units of the burn-in are left out"
        checks.append(Check("burn_in", True, text, {"n": burnt}))
    if spec.design.switchback and look.first and look.last:
        changes = clock_changes(look.first, look.last, spec.data.timezone)
        if changes:
            days = ", ".join(str(day) for day in changes)
            text = f"the clocks changed on {days}: the blocks then are that much longer or shorter"
            checks.append(Check("clock_change", True, text, {"days": days}))
    return checks, fatal


def clock_changes(first: dt.datetime, last: dt.datetime, timezone: str) -> list[dt.date]:
    """The days between two instants on which the clocks of `timezone` were put on or back."""
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(timezone)
    step, found = dt.timedelta(hours=1), []
    at = first.astimezone(dt.UTC)
    end = last.astimezone(dt.UTC)
    while at < end:
        after = min(at + step, end)
        if after.astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset():
            found.append(after.astimezone(zone).date())
        at = after
    return found
