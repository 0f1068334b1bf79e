"""A file that starts from saved reductions, and these, in; what they hold, or lack of it, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from retention_lab.data.moments import Moments, differing_covariates
from retention_lab.data.units import DAY
from retention_lab.errors import PlanError
from retention_lab.experiment.incentive import Offer, with_offer
from retention_lab.experiment.needs import Column, Needs, needs
from retention_lab.experiment.redemptions import column_of, of_reductions
from retention_lab.experiment.sections import RANDOMISED
from retention_lab.experiment.spec import Spec


@dataclasses.dataclass(frozen=True, slots=True)
class Saved:
    """What metrics read of the reductions, their units by arm, faults of metrics, and fatal ones.

    `faults` are pairs of a metric and why it cannot be had. `redeemed` is the column of who
    redeemed an incentive, if there is one, with its units and redemptions by arm.
    """

    needed: Mapping[str, Needs]
    by_arm: Mapping[str | None, int]
    faults: Sequence[tuple[str, str]]
    fatal: Sequence[str]
    offer: Offer | None = None
    redeemed: tuple[Column | None, Mapping[str, tuple[int, int]]] = (None, {})


def saved_reductions(spec: Spec, files: Sequence[tuple[str, Path]]) -> Saved:
    """Look at `files`: the reference as written, and the file. DataError for a broken one."""
    assert spec.design is not None
    held = [(ref, Moments.load(path)) for ref, path in files]
    stored = held[0][1].defined_columns()
    needed = needs(spec, stored=stored)
    of = {c.of for c in stored.values()}
    fatal = [
        f"the saved reductions do not hold covariate {name!r}"
        for name in dict.fromkeys(c for m in spec.metrics for c in m.covariates)
        if name not in of
    ]
    offer = None
    if spec.incentive is not None and spec.incentive.strategy not in RANDOMISED:
        fatal.append(
            f"incentive: {spec.incentive.strategy} compares units one by one, and saved reductions "
            "hold none: give data.units or data.assignments"
        )
    elif spec.incentive is not None:
        known = {str(c.value): "number" for c in stored.values() if c.how == "value"}
        try:
            offer, needed = with_offer(spec, needed, known, {})
        except PlanError as error:
            fatal.append(f"saved reductions: {error}")
    wanted = {p for n in needed.values() for p in n.pairs}
    randomised = {spec.design.randomised} if spec.design.randomised is not None else set()
    keys = {spec.design.arm, *spec.segments, *randomised}
    for ref, moments in held:
        lacking, beyond = keys - set(moments.keys), set(moments.keys) - keys - {DAY}
        if beyond:
            fatal.append(
                f"{ref} is split by {', '.join(sorted(beyond))}, which the file does not name: "
                "say it in segments, or, if it was randomised, in design.cluster"
            )
        if lacking:
            fatal.append(f"{ref} is not split by {', '.join(sorted(lacking))}")
        uneven = differing_covariates(held[0][1], moments)
        if uneven:
            fatal.append(f"{held[0][0]} and {ref}: {uneven}")
            continue
        gone = {c for p in wanted - set(moments.pairs) for c in p}
        if gone:
            fatal.append(f"{ref} does not hold {', '.join(sorted(gone))}")
    counts: dict[str | None, int] = {}
    for _, moments in held if not fatal else []:
        if moments.without_arm:
            counts[None] = counts.get(None, 0) + moments.without_arm
        by_arm = moments.roll_up(spec.design.arm)
        for (arm,), size in zip(by_arm.cells, by_arm.size, strict=True):
            counts[arm] = counts.get(arm, 0) + int(size)
    faults = [f for _, m in held for f in m.faults.items()]
    column = None if offer is None or fatal else column_of(spec, offer, needed)
    who = {} if column is None else of_reductions(spec, [m for _, m in held], column)
    return Saved(needed, counts, faults, fatal, offer, (column, who))
