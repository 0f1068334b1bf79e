"""A run in; what the check of its data remarked and its page does not say elsewhere, out."""

from __future__ import annotations

from retention_lab.run.view.blocks import Block
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts.remarks import remark_text

ENTERED = ("later", "immature", "missing")  # what the page of a test says of its metrics
FOLLOWED = (  # and what stands beside the curves of customers followed in time
    "rows_without_unit", "rows_without_time", "rows_after_as_of", "rows_not_counted",
    "without_origin", "before_origin", "missing_level", "several_levels", "late_entry", "ended",
)  # fmt: skip


def remarked(source: Source, tongue: Tongue, told: tuple[str, ...] = ()) -> tuple[Block, ...]:
    """A block with a sentence a remark, but for those of which the page has `told`."""
    elsewhere = (*FOLLOWED, *told)
    found = [r for r in source.run.get("remarks") or () if r.get("code") not in elsewhere]
    said = dict.fromkeys(remark_text(r, source.spec, tongue.language) for r in found)
    return (Block(tongue.say("remark.title"), tuple(said)),) if said else ()
