"""A name and a table of events in; the text of a first cohort study on it out."""

from __future__ import annotations

from pathlib import Path

from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.data.times import no_times
from retention_lab.errors import PlanError, did_you_mean
from retention_lab.experiment.spec import Data
from retention_lab.experiment.template import check_name, yaml_word

TEXT = """\
# Run it:      retention-lab run {name}
# Check it:    retention-lab validate {name}
# Every key:   docs/experiment-file.md
schema: 1
name: {name}   # must be the file's name
title: {title}
question: "When do customers come back, and which of them sooner?"
notebook: cohort_survival

data:
  events:
    orders: {{table: {table}, at: {at}}}   # one row an event: who, and when
  as_of: {as_of}   # last complete day: the last but one of the table
  timezone: UTC

survival:
  unit: {unit}   # who came back
  origin: first orders
  event: next orders
  cohorts: month
  horizon: 90d   # customers are followed for so long
  # by: [COLUMN]       # curves by a column of the first order
  # value: COLUMN      # what an order is worth

privacy: {{min_cell: 20}}   # groups with fewer are not shown
report: {{languages: [en, zh]}}
"""


def template_for_events(name: str, events: str, at: str, unit: str, root: Path) -> str:
    """A commented cohort study on the table `events`: from a customer's first event to the next.

    Raises DataError where there is no such table, PlanError for an absent column, one that holds
    no times, and a table without two days.
    """
    check_name(name)
    source = Source(Data(units=events), root / "experiments", root)
    known = source.columns(events)
    for column in (at, unit):
        if column not in known:
            hint = did_you_mean(column, known) or f"; it has {', '.join(known)}"
            raise PlanError(f"column {column!r} is not in {events}{hint}")
    if known[at] not in ("time", "date"):
        raise PlanError(f"column {at!r} of {events} {no_times(known[at])}")
    days = f"select distinct {quoted(at)}::date as day from t where {quoted(at)} is not null"
    found = source.query(f"{days} order by 1 desc limit 2", t=events)
    if len(found) < 2:
        raise PlanError(f"{events} holds events of fewer than two days")
    return TEXT.format(
        name=name,
        title=yaml_word(name.replace("-", " ").replace("_", " ").capitalize()),
        table=yaml_word(events),
        at=yaml_word(at),
        unit=yaml_word(unit),
        as_of=found[1]["day"],
    )
