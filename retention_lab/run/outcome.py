"""What happened to one experiment in; the small frozen objects that the runner hands out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

Status = Literal["finished", "failed", "skipped_unchanged", "skipped_no_data", "interrupted"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one experiment of a batch ended.

    `folder` is its run folder (of the earlier run where it was skipped as unchanged), `message`
    says why where there is something to say, `seconds` is the wall time from the start of its
    notebook to its end. `reason` is the code of the verdict's first reason, and `offer` says
    whether the verdict is told in the words of an incentive.
    `faults` says what the run survived, but not without loss: metrics without a result, an arm
    without units. `recorded` is False where the run folder is complete, but MLflow could not take
    the record.
    """

    experiment: str
    status: Status
    verdict: str | None = None
    arm: str | None = None
    reason: str | None = None
    offer: bool = False
    folder: Path | None = None
    message: str = ""
    seconds: float = 0.0
    faults: tuple[str, ...] = ()
    recorded: bool = True

    @property
    def ok(self) -> bool:
        """Whether this leaves the exit status at 0."""
        done = self.recorded and self.status not in ("failed", "interrupted")
        return done and not self.faults


def in_short(message: str) -> str:
    """What is wrong, without the remedy that a semicolon sets off."""
    return message.partition("; ")[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What the runner tells while it works.

    `index` is the experiment's position in the batch. ``planned``: checked, its notebook will
    run; ``started``: its kernel starts; ``cell``: `cell` of `cells` are done; ``finished``:
    `outcome` is final; ``note``: `text` is worth reading, nothing failed.
    """

    kind: Literal["planned", "started", "cell", "finished", "note"]
    index: int
    experiment: str
    cell: int = 0
    cells: int = 0
    outcome: Outcome | None = None
    text: str = ""
