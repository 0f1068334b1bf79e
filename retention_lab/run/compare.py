"""Two run folders in; what differs between their inputs, and between their results, out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from retention_lab.errors import LabError, RunError
from retention_lab.results import COLUMNS, Row
from retention_lab.run.folder import SPEC, read_run, spec_of
from retention_lab.run.naming import parameters

KEYS = ("analysis", "metric", "estimand", "arm", "baseline", "segment", "level", "term", "at")
SAME = 1e-12  # numbers closer than this, relatively, are the same


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs.

    `reason` is the code of its verdict's first reason; `offer`: it is told as an incentive's is.
    """

    folder: Path
    run_id: str
    experiment: str
    status: str
    started: str
    verdict: str | None
    arm: str | None
    reason: str | None = None
    offer: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class InputDifference:
    """One thing that went into the runs and differs; None: that run does not have it.

    `kind` is ``file`` (a key of the experiment file, defaults filled in), ``set`` (a key that
    ``--set`` changed in one of the runs), ``data`` (a table's digest), ``hash`` (notebook, lock or
    code), ``version`` (a package), ``git`` or ``run``.
    """

    kind: str
    name: str
    a: str | None
    b: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ResultDifference:
    """One row of the result table that differs; None: that run does not have it.

    `difference` is b's estimate minus a's, in the metric's own unit; None where one is missing.
    """

    a: Row | None
    b: Row | None
    difference: float | None

    @property
    def row(self) -> Row:
        """The row that says which estimate this is about."""
        found = self.a or self.b
        assert found is not None
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between two runs; `same` counts the result rows that do not."""

    a: Side
    b: Side
    inputs: tuple[InputDifference, ...]
    results: tuple[ResultDifference, ...]
    same: int

    @property
    def same_verdict(self) -> bool:
        return (self.a.verdict, self.a.arm) == (self.b.verdict, self.b.arm)


def compare(folder_a: Path, folder_b: Path) -> Comparison:
    """Compare the runs in two folders; raises RunError where one of them is no run folder."""
    runs = [read_run(f) for f in (folder_a, folder_b)]
    rows = [_rows(f) for f in (folder_a, folder_b)]
    names = list(dict.fromkeys((*rows[0], *rows[1])))
    pairs = [(rows[0].get(name), rows[1].get(name)) for name in names]
    different = [(a, b) for a, b in pairs if not _alike(a, b)]
    return Comparison(
        a=_side(folder_a, runs[0]),
        b=_side(folder_b, runs[1]),
        inputs=tuple(_input_differences((folder_a, folder_b), runs)),
        results=tuple(ResultDifference(a, b, _difference(a, b)) for a, b in different),
        same=len(pairs) - len(different),
    )


def _side(folder: Path, run: Mapping[str, Any]) -> Side:
    verdict = run["verdict"] or {}
    return Side(
        folder=folder,
        run_id=run["run_id"],
        experiment=run["experiment"],
        status=run["status"],
        started=run["started"],
        verdict=verdict.get("verdict"),
        arm=verdict.get("arm"),
        reason=verdict.get("reason"),
        offer=bool(verdict.get("offer")),
    )


def _input_differences(
    folders: tuple[Path, Path], runs: list[dict[str, Any]]
) -> list[InputDifference]:
    found = []
    for kind, a, b in _input_tables(folders, runs):
        for name in dict.fromkeys((*a, *b)):
            if a.get(name) != b.get(name):
                found.append(InputDifference(kind, name, a.get(name), b.get(name)))
    return found


def _input_tables(
    folders: tuple[Path, Path], runs: list[dict[str, Any]]
) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """kind, and name -> value in each run, of everything that goes into a run."""
    used = [_file_keys(f) for f in folders]
    written = [_file_keys(f, changed=False) for f in folders]
    touched = {
        n for u, w in zip(used, written, strict=True) for n in (*u, *w) if u.get(n) != w.get(n)
    }
    files = [{n: v for n, v in u.items() if n not in touched} for u in used]
    changed = [{n: v for n, v in u.items() if n in touched} for u in used]
    hashes = [
        {n: d for n, d in r["hashes"].items() if n in ("notebook", "lock", "code") and d}
        for r in runs
    ]
    data = [
        {i["name"]: f"{i['ref']} {(i['digest'] or '?')[:12]}" for i in r["inputs"]} for r in runs
    ]
    git = [{n: str(v) for n, v in r["git"].items() if v is not None} for r in runs]
    run = [{n: str(r[n]) for n in ("experiment", "status", "engine") if r[n]} for r in runs]
    return [
        ("run", run[0], run[1]),
        ("file", files[0], files[1]),
        ("set", changed[0], changed[1]),
        ("data", data[0], data[1]),
        ("hash", hashes[0], hashes[1]),
        ("version", runs[0]["versions"], runs[1]["versions"]),
        ("git", git[0], git[1]),
    ]


def _file_keys(folder: Path, *, changed: bool = True) -> dict[str, str]:
    """The values that the run used, by dotted key; as written if not `changed`, or not valid."""
    try:
        spec = spec_of(folder, changed=changed)
        return parameters(spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    except (LabError, OSError):
        pass
    try:
        written = yaml.safe_load((folder / SPEC).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return parameters(written) if isinstance(written, dict) else {}


def _rows(folder: Path) -> dict[tuple[Any, ...], Row]:
    """Rows of results.parquet by what they are about; empty for a run that left none."""
    import pyarrow.parquet as pq

    path = folder / "results.parquet"
    if not path.is_file():
        return {}
    try:
        read: Any = pq.read_table
        content = read(path, columns=list(COLUMNS)).to_pylist()
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    rows = [Row(**values) for values in content]
    return {tuple(getattr(row, k) for k in KEYS): row for row in rows}


def _alike(a: Row | None, b: Row | None) -> bool:
    if a is None or b is None:
        return a is b
    return all(_equal(getattr(a, name), getattr(b, name)) for name in COLUMNS)


def _equal(x: Any, y: Any) -> bool:
    if isinstance(x, float) and isinstance(y, float):
        return math.isclose(x, y, rel_tol=SAME)
    return bool(x == y)


def _difference(a: Row | None, b: Row | None) -> float | None:
    if a is None or b is None or a.estimate is None or b.estimate is None:
        return None
    return b.estimate - a.estimate
