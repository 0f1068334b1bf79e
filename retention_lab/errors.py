"""Errors: what went wrong, where, and how to mend it, in; one exception family out."""

from __future__ import annotations

from collections.abc import Iterable


class LabError(Exception):
    """Base of every error the lab raises on purpose; its text is meant for the user."""


class SpecError(LabError):
    """The experiment file says something that it may not say."""


class PlanError(LabError):
    """The experiment file is well formed, but does not fit the tables or the lab."""


class DataError(LabError):
    """A table, file or dataset cannot be found, opened or used."""


class RunError(LabError):
    """A notebook, a record or a report could not be finished."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `known`, or an empty string."""
    import difflib

    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def counted(n: int, noun: str) -> str:
    """``1 unit`` or ``2,000 units``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
