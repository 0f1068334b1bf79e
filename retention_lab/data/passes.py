"""A plan with a survival section in; its source in shares of customers that fit into memory out."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from retention_lab.data.relations import home, unit_id, used_events
from retention_lab.data.source import Source
from retention_lab.data.sql import quoted

if TYPE_CHECKING:
    from retention_lab.experiment.plan import Plan
    from retention_lab.experiment.spec import Spec

# A pass keeps something of each customer, and of each event that a table numbers or of which pairs
# are counted. (What is more than the engine's limit, it writes to disk, but not all of it.)
# Of 100M orders of 10M customers, look and life table took 0.7 GB beside the imports in four
# passes; in one, the look alone 5.7 GB. Of 10M orders a pass more adds 1.4 s of CPU to 10.
CUSTOMERS, EVENTS = 2_500_000, 25_000_000  # in one pass


class Share(Source):
    """A source that shows, of each table with the column of customers, only some of its rows."""

    def __init__(self, whole: Source, only: str) -> None:
        self.__dict__.update(whole.__dict__)  # one connection, and what is known of the tables
        self._only = only

    def scan(self, ref: str) -> str:
        """SQL for the rows of `ref` whose customer is in the share."""
        return f"(from {super().scan(ref)} where {self._only})"

    @staticmethod
    def of(source: Source, refs: Collection[str], column: str, count: int) -> list[Source]:
        """`source` in `count` shares; as it is where `column` is compared after a conversion.

        Equal values are in one share: they have the same hash in the same type. (The hash of the
        hash: the engine's own tables go by the lowest and highest bits of the hash, and would fill
        unevenly.)
        """
        types = {source._types(ref).get(column) for ref in refs}
        kinds = {source.columns(ref).get(column) for ref in refs}
        if count == 1 or (len(types) > 1 and kinds != {"number"}):
            return [source]
        value = quoted(column) if len(types) == 1 else f"{quoted(column)}::double"
        return [Share(source, f"hash(hash({value})) % {count} = {i}") for i in range(count)]


def passes(customers: int, events: int) -> int:
    """In how many shares to reduce so many customers with so many events."""
    return max(-(-customers // CUSTOMERS), -(-events // EVENTS), 1)


def shares(spec: Spec, source: Source, count: int) -> list[Source]:
    """`source` in `count` shares of the customers of the survival section, by a hash of their id.

    Each customer with all that happened is in one share, so whatever adds up over customers adds up
    over shares. A share reads the tables once more.
    """
    assert spec.survival is not None
    refs = {spec.data.events[name].table for name in used_events(spec.survival)}
    table = home(spec)
    refs |= {table[0]} if table is not None else set()
    return Share.of(source, refs, unit_id(spec), count)


def shares_of(plan: Plan) -> list[Source]:
    """The plan's source in as many shares as its look at the tables has found right."""
    count = plan.cohort.passes if plan.cohort is not None else 1
    return shares(plan.spec, plan.source, count)
