"""Looks at tables in; what they found out: remarks, faults that a run survives, and fatal ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from retention_lab.data.source import Source
from retention_lab.data.times import no_times
from retention_lab.errors import PlanError, did_you_mean
from retention_lab.experiment.spec import Spec

TIMES = ("time", "date")
MISSING = {"zero": "counted as 0"}


class Input(NamedTuple):
    """One table of the file: its name there, the reference as written, the files behind it."""

    name: str
    ref: str
    paths: tuple[Path, ...]


class Check(NamedTuple):
    """One thing that was checked; not `ok` is a fault that the run survives, and reports.

    `numbers` are what a remark is told with in the reader's language.
    """

    code: str
    ok: bool
    text: str
    numbers: Mapping[str, Any] = MappingProxyType({})


class Findings:
    """Collects what is found, and raises all fatal faults of a stage at once.

    Whoever looks at a part of the file derives from it; `take` adds what another part found.
    """

    def __init__(self, spec: Spec, source: Source) -> None:
        self.spec, self.source = spec, source
        self.inputs: tuple[Input, ...] = ()
        self.checks: list[Check] = []
        self.fatal: list[str] = []
        self.faults: dict[str, str] = {}

    def take(self, other: Findings) -> None:
        """Add what `other` found; the tables that it read are its own."""
        self.checks += other.checks
        self.fatal += other.fatal
        self.faults = {**other.faults, **self.faults}

    def _note(self, code: str, text: str, ok: bool = True, **numbers: Any) -> None:
        self.checks.append(Check(code, ok, text, numbers))

    def _fault(self, code: str, text: str, *metrics: str) -> None:
        """A fault that ends nothing but the metrics it touches."""
        self._note(code, text, ok=False)
        for metric in metrics:
            self.faults.setdefault(metric, f"{code}: {text}")

    def _stop(self) -> None:
        """Raise PlanError with what is fatal, if anything is."""
        if self.fatal:
            raise PlanError(self.source.conceal("\n".join(dict.fromkeys(self.fatal))))

    def _read(self, refs: Mapping[str, str]) -> None:
        """The tables that are read: name in the file -> reference."""
        self.inputs = tuple(Input(n, ref, self.source.files(ref)) for n, ref in refs.items())

    def _never_empty(self, ref: str) -> None:
        """Raise PlanError where a table has no rows.

        Said before all else: an empty CSV has no types, so every column would look wrong.
        """
        if not self.source.query("select 1 from t limit 1", t=ref):
            raise PlanError(f"{ref} has no rows")

    def _spare_threads(self) -> None:
        self.source.spare_threads([path for table in self.inputs for path in table.paths])

    def _has(self, key: str, name: str, ref: str) -> bool:
        known = self.source.columns(ref)
        if name in known:
            return True
        hint = did_you_mean(name, known) or f"; it has {', '.join(known)}"
        self.fatal.append(f"{key}: column {name!r} is not in {ref}{hint}")
        return False

    def _has_times(self, key: str, name: str, ref: str) -> None:
        """A fault unless a column is there and holds times."""
        if not self._has(key, name, ref):
            return
        kind = self.source.columns(ref)[name]
        if kind not in TIMES:
            self.fatal.append(f"{key}: column {name!r} of {ref} {no_times(kind)}")

    def _no_numbers(self, key: str, name: str, ref: str, kind: str) -> None:
        """A fault: a column of `kind` should hold numbers; of text with what to do about it."""
        from retention_lab.experiment.text_columns import why_text

        hint = why_text(self.source, ref, name) if kind == "text" else ""
        self.fatal.append(f"{key}: column {name!r} of {ref} holds {kind}, not numbers{hint}")

    def _missing(
        self,
        n: int,
        values: str,
        rule: str,
        *metrics: str,
        dropped: str = "left out",
        **numbers: Any,
    ) -> None:
        """What is done with `n` missing values, by the rule of the metric: drop, zero or error."""
        values = f"{n:,} {values}"
        if rule == "error":
            text = f"{values} are missing: say missing: drop or missing: zero"
            self._fault("missing_values", text, *metrics)
        else:
            how = "zero" if rule == "zero" else "drop"
            text = f"{values} are missing and {MISSING.get(rule, dropped)}"
            self._note("missing", text, how=how, n=n, **numbers)
