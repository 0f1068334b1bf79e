"""Numbers of the calibrations in; the page docs/calibration.md out.

A test calls `record` for every share or mean that it finds. `conftest.py` carries the records from
the tests to the end of the session, where they are written, if the environment names a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]
PENDING: list[Record] = []  # of the test that runs

HEAD = """# Calibration

How often the lab's estimators err, in simulations whose truth is known. `make calibration` runs
them and writes this page; `make test` runs a short form of each.

*Size* is the share of tests that reject where there is nothing to find; *coverage* is the share of
intervals that hold the truth. Beside what was found stands its Monte-Carlo error: the standard
error that comes from the number of simulations alone. A test in `tests/calibration` fails where a
number is off by more than 3.5 such errors and what that test allows besides, for the reason that it
gives. A number without a nominal one is there for comparison.

| estimator | scenario | what | nominal | found | Monte-Carlo error | simulations |
|---|---|---|---|---|---|---|
"""


def record(
    estimator: str,
    scenario: str,
    what: str,
    nominal: float | str | None,
    found: float,
    simulations: int,
    error: float | None = None,
) -> float:
    """Keep and print one number of a calibration; its Monte-Carlo error is returned.

    Where no `error` is given, `found` is a share, and its error that of the nominal share (of the
    share itself where there is none). `nominal` may be a limit: "at most 0.05", "at least 0.95".
    """
    if error is None:
        at = float(found) if nominal is None else float(str(nominal).split()[-1])
        error = math.sqrt(max(at * (1.0 - at), 0.0) / simulations)
    PENDING.append(
        {
            "estimator": estimator,
            "scenario": scenario,
            "what": what,
            "nominal": nominal,
            "found": float(found),
            "error": float(error),
            "simulations": int(simulations),
        }
    )
    print(" | ".join(line(PENDING[-1])))
    return error


def line(r: Record) -> list[str]:
    """The cells of one record."""
    nominal = "–" if r["nominal"] is None else r["nominal"]
    said = f"{nominal:g}" if isinstance(nominal, float) else str(nominal)
    return [
        r["estimator"],
        r["scenario"],
        r["what"],
        said,
        f"{r['found']:.4f}",
        f"{r['error']:.4f}",
        f"{r['simulations']:,}",
    ]


def page(records: Iterable[Record]) -> str:
    """The whole page; the records in the order given."""
    return HEAD + "".join(f"| {' | '.join(line(r))} |\n" for r in records)
