"""A design whose clusters or blocks of time were randomised, and its table, in; faults out."""

from __future__ import annotations

from retention_lab.data.look import clusters
from retention_lab.data.source import Source
from retention_lab.errors import counted
from retention_lab.experiment.covariates import Check
from retention_lab.experiment.spec import Spec


def check_clusters(spec: Spec, source: Source, ref: str) -> tuple[list[Check], list[str]]:
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
    if crossed:
        fatal.append(
            f"design: {crossed:,} of {count:,} {what} are in two arms or more, so {name!r} is not "
            "what was randomised"
        )
    checks.append(Check("clusters", True, f"{count:,} {what} by {name!r} were randomised, whole"))
    if burnt:
        checks.append(Check("burn_in", True, f"{burnt:,} units of the burn-in are left out"))
    return checks, fatal
