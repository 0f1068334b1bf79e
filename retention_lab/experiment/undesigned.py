"""A file whose comparison needs no arms in; what its one table holds, and every fault, out."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from retention_lab.data.source import Source
from retention_lab.data.sql import quoted
from retention_lab.experiment.findings import Findings
from retention_lab.experiment.incentive import Offer, outcomes
from retention_lab.experiment.sections import Incentive
from retention_lab.experiment.spec import Metric, Spec

KINDS = ("mean", "proportion")  # of metrics
NUMBERS = ("number", "truth")
LITTLE = 1e-9  # rounding of shares
CHECKERS = {"rollout": "Rollout", "threshold": "Threshold"}


def check_undesigned(spec: Spec, source: Source) -> tuple[Offer, Undesigned]:
    """The offer of a rollout or a threshold, and what was found of its table.

    Raises PlanError with all fatal faults of a stage at once.
    """
    assert spec.incentive is not None
    strategy = spec.incentive.strategy
    room = import_module(f"retention_lab.experiment.{strategy}")
    checker: Undesigned = getattr(room, CHECKERS[strategy])(spec, source)
    return checker.run(), checker


class Undesigned(Findings):
    """Holds an incentive without arms against its table."""

    what = ""  # the comparison, as a sentence names it
    rows_are = ""  # one row of its table

    def __init__(self, spec: Spec, source: Source) -> None:
        assert spec.incentive is not None
        super().__init__(spec, source)
        self.said: Incentive = spec.incentive
        self.ref = str(spec.data.units)

    def run(self) -> Offer:
        """Look at the section, at the columns, then at the rows."""
        if self.spec.data.units is None:
            self.fatal.append(f"data.units: {self.what} needs a table of one row {self.rows_are}")
        self._section()
        self._stop()
        self._read({"units": self.ref})
        self._spare_threads()
        self._never_empty(self.ref)
        self._columns()
        self._stop()
        self._rows()
        self._stop()
        return self._offer()

    def _section(self) -> None:
        """What can be seen without a table."""
        raise NotImplementedError

    def _columns(self) -> None:
        """Columns and their types."""
        raise NotImplementedError

    def _rows(self) -> None:
        """What the table holds."""
        raise NotImplementedError

    def _offer(self) -> Offer:
        return Offer(outcomes(self.spec))

    def _metrics(self, of: str, idle: Iterable[str], instead: str) -> None:
        """Metrics that this comparison cannot have, and keys of theirs that it does not use."""
        for m in self.spec.metrics:
            if m.kind not in KINDS:
                self.fatal.append(
                    f"metric {m.name!r} is a {m.kind}; {of} a metric is a {' or a '.join(KINDS)} "
                    "of a column"
                )
            unused = [k for k in idle if getattr(m, k)]
            if unused:
                self.fatal.append(
                    f"metric {m.name!r}: {self.what} does not use {', '.join(unused)}; {instead}"
                )
        if self.spec.segments:
            self.fatal.append(f"segments: {self.what} is not split; take them out of the file")

    def _fits(self, key: str, name: str, kinds: Iterable[str]) -> None:
        """A fault unless the table has a column of one of `kinds`; an empty one has none."""
        if not self._has(key, name, self.ref):
            return
        kind = self.source.columns(self.ref)[name]
        if kind not in kinds and not self._empty(name):
            self.fatal.append(
                f"{key}: column {name!r} of {self.ref} holds {kind}; it must be "
                f"{' or '.join(kinds)}"
            )

    def _empty(self, name: str) -> bool:
        """Whether a column has no value (then its type says nothing)."""
        return not self.source.counts(self.ref, name)[0]

    def _values(self, m: Metric, binary: bool) -> None:
        """Values of an outcome: finite, and a proportion's 0 or 1, or (not `binary`) between."""
        outside = "y not in (0, 1)" if binary else f"(y < {-LITTLE} or y > {1 + LITTLE})"
        (found,) = self.source.query(
            "select count(*) as n, count(*) - count(y) as missing, "
            "count(*) filter (not isfinite(y)) as odd, "
            f"count(*) filter (isfinite(y) and {outside}) as outside "
            f"from (select {quoted(m.column)}::double as y from t)",
            t=self.ref,
        )
        of = f"of {found['n']:,} values of {m.column!r}"
        if found["odd"]:
            self._fault("not_finite", f"{found['odd']:,} {of} are infinite or NaN", m.name)
        elif m.kind == "proportion" and found["outside"]:
            text = f"{found['outside']:,} {of} are"
            if binary:
                self._fault("not_binary", f"{text} neither 0 nor 1: not a proportion", m.name)
            else:
                self._fault("not_a_share", f"{text} not between 0 and 1", m.name)
        if found["missing"]:
            said: dict[str, Any] = {"name": m.column, "all": found["n"]}
            self._missing(found["missing"], of, m.missing, m.name, **said)
