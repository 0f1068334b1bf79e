"""Units that nobody randomised in; our effects' times beside bare fits and peers', out.

500,000 units, 10 covariates, 5 folds, the same learner with the same settings and threads for
everybody, and the same folds of rows in the same order, without which boosting stops early at other
iterations and takes half as long or twice. So ours, the bare fits and DoubleML must find the same
effect. (EconML has one regression for both arms: its effect is kept, not compared.) Every way
starts from the same arrays on disk in a process of its own; the ways take turns, and ratios are of
one turn. The peers have an environment of their own, made in the cache folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lives import in_turns
from benchmarks.peers import environment
from retention_lab.incentives.observed.crossfit import make_folds
from retention_lab.incentives.observed.nuisance import Boosting
from retention_lab.incentives.observed.sample import make_sample
from retention_lab.incentives.observed.threads import free_cores
from retention_lab.paths import cache_folder

PEERS = ("doubleml==0.11.4", "econml==0.17.0")
NAMES = ("doubleml", "econml")
ROWS, COVARIATES, FOLDS = 500_000, 10, 5


def units(rows: int = ROWS) -> Path:
    """A folder of arrays in the order of our fits: x, two and three arms, folds, three outcomes."""
    folder = cache_folder() / "bench" / f"observed-in-folds-{rows // 1000}k"
    if (folder / "y.npy").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(17)
    x = rng.normal(size=(rows, COVARIATES))
    odds = 0.5 * x[:, 0] - 0.3 * np.abs(x[:, 1]) + 0.2 * x[:, 2] * x[:, 3]
    two = (rng.random(rows) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int64)
    weights = np.cumsum(np.stack([np.ones(rows), np.exp(odds), np.exp(-odds)]), axis=0)
    three = (rng.random(rows) * weights[-1] > weights[:-1]).sum(axis=0)
    level = x[:, 0] + np.sin(2.0 * x[:, 1]) + 0.5 * x[:, 4]
    gain = 0.5 * (two + (three > 0))[:, None]
    y = level[:, None] + gain + rng.normal(size=(rows, 3))
    columns = {f"x{j}": x[:, j] for j in range(COVARIATES)}
    order = make_sample(two.astype(str), ("0", "1"), columns, {}).order
    fold = make_folds(two[order], FOLDS, seed=1)
    last = np.lexsort((fold, two[order]))
    for name, array in (("x", x), ("arms2", two), ("arms3", three), ("y", y)):
        np.save(folder / f"{name}.npy", array[order][last])
    np.save(folder / "fold.npy", fold[last])
    return folder


def side_by_side(turns: int, rows: int = ROWS) -> dict[str, Any]:
    """Everything that is promised, in one run: medians over `turns` of each way, and ratios."""
    folder, threads = str(units(rows)), str(free_cores())
    settings = json.dumps(Boosting().settings())
    python = environment("incentives", PEERS)
    found: dict[str, Any] = {"rows": rows, "threads": int(threads), "peers": list(PEERS)}
    for learner in ("boosting", "linear"):
        mine = {
            way: [sys.executable, "-m", "benchmarks.incentives_ways", way, folder, learner, threads]
            for way in ("ours", "raw", "together")
        }
        script = str(Path(__file__).with_name("peers_incentives.py"))
        theirs = {
            name: [str(python), script, name, folder, learner, threads, settings]
            for name in (NAMES if python is not None else ())
        }
        found[learner] = in_turns({**mine, **theirs}, turns)
    return found


def said(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Lines of the table: what, measured, promised."""
    for learner in ("boosting", "linear"):
        took = found[learner]
        mine = "{all_s:.1f} s ({all_cpu_s:.1f} CPU), {over_imports_mb:.0f} MB"
        what = f"AIPW of {found['rows']:,} units, 5 folds, {learner}, {found['threads']} threads"
        yield what, mine.format(**took["ours"]), ""
        yield "  over the bare fits", _ratio(took, "raw"), "1.1"
        for name in NAMES:
            peer = took.get(name)
            if peer is None:
                yield f"  {name}", "not measured: it needs Python 3.12 and uv", ""
            elif "failed" in peer:
                yield f"  {name}", peer["failed"], ""
            else:
                times = f"{1 / took[f'ours_over_{name}_all']:.2f} times ours"
                times += f" (CPU: {1 / took[f'ours_over_{name}_all_cpu']:.2f})"
                times += f", {peer['over_imports_mb']:.0f} MB"
                yield f"  {name}", times, "1"
        share = 1 / took["ours_over_together_all"], 1 / took["ours_over_together_all_cpu"]
        said_ = "{:.2f} times one (CPU: {:.2f})".format(*share)
        yield "  three outcomes and two arms together", said_, "1.5" if learner == "linear" else ""


def _ratio(found: Mapping[str, Any], other: str) -> str:
    wall, cpu = found.get(f"ours_over_{other}_all"), found.get(f"ours_over_{other}_all_cpu")
    return "not measured" if wall is None else f"{wall:.2f} times (CPU: {cpu:.2f})"


if __name__ == "__main__":
    given = [int(v) for v in sys.argv[1:]]
    results = side_by_side(*(given or [3]))
    print(json.dumps(results, indent=1))
    for line in said(results):
        print(" | ".join(line))
