"""Checks of a plan in; those that are worth a look, those without small counts, out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retention_lab.experiment.findings import Check

# What is as the file says and yet worth a look: something is left out, or looks odd.
REMARKS = frozenset({
    "later", "immature", "missing", "covariate", "stray", "silent", "burn_in", "clock_change",
    "alike", "id_metric", "late_entry", "rows_without_unit", "rows_without_time",
    "rows_after_as_of", "rows_not_counted", "without_origin", "before_origin", "missing_level",
    "several_levels", "missing_running", "nobody_redeems", "control_redeems", "everybody_redeems",
    "unused", "ended", "missing_arm", "negative", "dates", "rows_without_market",
    "treated_from_start", "one_treated", "gaps", "uneven_periods",
})  # fmt: skip


def remarks(checks: Iterable[Check], least: int) -> list[dict[str, Any]]:
    """The code of each remark, and its numbers, such as ``n`` customers or rows.

    An `n` below `least` (privacy.min_cell) is ``<20``; one that leaves out fewer of `all` is ``~``.
    run.json keeps these, so that the report can say what `validate` said.
    """
    return [
        {"code": c.code, **_without_small(c.numbers, least)}
        for c in checks
        if c.ok and c.code in REMARKS
    ]


def _without_small(numbers: Mapping[str, Any], least: int) -> dict[str, Any]:
    n = numbers.get("n")
    if n is None:
        return dict(numbers)
    rest = int(numbers.get("all", n)) - int(n)
    if 0 < n < least:
        return {**numbers, "n": f"<{least}"}
    return {**numbers, "n": "~" if n and 0 < rest < least else int(n)}
