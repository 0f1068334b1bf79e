"""The lab and its peers in; their times and memory side by side, as a table and JSON, out.

``make bench`` runs it (some minutes), ``make bench-large`` adds 100 million units. Compare ratios,
not seconds: machines differ, and both sides of a ratio come from the same minutes of the same one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import analysis, data, incentives, ledger, lives, notebooks, reduction

OUT = Path(__file__).parent / "out"
PACKAGES = (
    "retention-lab",
    "duckdb",
    "narwhals",
    "numpy",
    "scipy",
    "pandas",
    "papermill",
    "mlflow",
)
PARTS = ("reduction", "analysis", "lives", "incentives", "start", "notebooks")
TEN, HUNDRED = 10_000_000, 100_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--large", action="store_true", help="100M units and orders too: 3 GB, minutes"
    )
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each comparison")
    asked = parser.parse_args()
    parts = [asked.only] if asked.only else list(PARTS)
    results: dict[str, Any] = {"machine": machine()}
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "reduction" in parts:
            with console.status("10M units: ours, SQL, scan; then memory; then pandas"):
                results["reduction_10M"] = reduced(folder, TEN, asked.rounds)
                results["pandas_10M"] = fresh("pandas", str(data.units(TEN)))
        if "reduction" in parts and asked.large:
            with console.status("100M units: ours, SQL, scan; then memory"):
                results["reduction_100M"] = reduced(folder, HUNDRED, max(5, asked.rounds // 2))
            small, large = results["reduction_10M"], results["reduction_100M"]
            results["linear_100M"] = large["ours_s"] / small["ours_s"] / 10
            results["linear_100M_cpu"] = large["ours_cpu_s"] / small["ours_cpu_s"] / 10
        if "analysis" in parts:
            with console.status("10M units, adjusted: ours, SQL, tea-tasting"):
                turns = max(2, asked.rounds // 3)
                results["analysis"] = analysis.side_by_side(folder, TEN, turns)
        if "lives" in parts:
            with console.status("Curves, Cox models and life tables: ours, SQL, peers"):
                turns = max(2, asked.rounds // 3)
                results["lives"] = lives.side_by_side(folder, turns, asked.large)
        if "incentives" in parts:
            with console.status("A ledger of 10M units; effects among units that are alike"):
                turns = max(2, asked.rounds // 3)
                results["ledger"] = ledger.side_by_side(folder, TEN, turns)
                results["incentives"] = incentives.side_by_side(max(1, turns // 2))
        if "start" in parts:
            with console.status("CPU of --help and validate"):
                results["start"] = started(asked.rounds)
        if "notebooks" in parts:
            with console.status("Eight notebooks, two at a time, by the lab and by Papermill"):
                rounds = max(3, asked.rounds // 2)
                results["notebooks"] = notebooks.side_by_side(folder / "eight", 8, 2, rounds)
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{dt.datetime.now(dt.UTC):%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results)
    print(f"Saved as {os.path.relpath(path)}")


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def reduced(folder: Path, rows: int, rounds: int) -> dict[str, float]:
    """Times beside SQL and the scan in this process, then memory in a fresh one."""
    file = data.experiment(folder, rows)
    return {**reduction.side_by_side(file, rounds), **fresh("memory", str(file))}


LIBRARIES = "import duckdb, pydantic; pydantic.BaseModel, pydantic.Field"
SHIPPED = ("comeback-coupon", "cdnow-cohorts", "hillstrom-email")
FEWEST = 7  # turns, of which the median is taken


def fresh(way: str, given: str) -> dict[str, float]:
    """What ``python -m benchmarks.reduction`` says in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.reduction", way, given]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def started(rounds: int) -> dict[str, float]:
    """Median CPU seconds (user and system) of the command line's quick answers, taken in turns.

    One call of each goes before: it compiles what was changed, and makes the datasets. A shipped
    file whose dataset cannot be had is left out.
    """
    files = Path(__file__).parents[1] / "experiments"
    program = [sys.executable, "-m", "retention_lab"]
    ways = {"help_cpu_s": [*program, "--help"]}
    ways |= {f"{n}_cpu_s": [*program, "validate", str(files / f"{n}.yaml")] for n in SHIPPED}
    ways |= {
        "imports_cpu_s": [sys.executable, "-c", LIBRARIES],
        "bare_python_cpu_s": [sys.executable, "-c", "pass"],
    }
    ways = {name: words for name, words in ways.items() if _cpu(words) is not None}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(max(FEWEST, rounds)):
        for name, words in ways.items():
            seconds = _cpu(words)
            if seconds is None:
                raise RuntimeError(f"{' '.join(words)} failed")
            taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _cpu(words: list[str]) -> float | None:
    """CPU seconds of one call; None where it fails."""
    # Without compiled modules a call would be as slow as the first one ever is.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, env=kept)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    passed = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return passed if done.returncode == 0 else None


def show(results: dict[str, Any]) -> None:
    """Print the machine, and a table of what was measured against what was promised."""
    console = Console()
    console = Console(width=max(console.width, 110))
    console.print(", ".join(f"{k} {v}" for k, v in results["machine"].items()), highlight=False)
    table = Table("what", "measured", "promised")
    for name in ("10M", "100M"):
        found = results.get(f"reduction_{name}")
        if found is None:
            continue
        seconds = "{ours_s:.2f} s; SQL {sql_s:.2f} s; scan {scan_s:.2f} s".format(**found)
        table.add_row(f"reduction of {name} units, 5 metrics, 2 arms x 6 regions", seconds)
        ratios = "{ours_over_sql:.2f} times (CPU: {ours_over_sql_cpu:.2f})".format(**found)
        table.add_row("  over hand-written SQL", ratios, "1.3")
        table.add_row("  memory over imports", f"{found['over_imports_mb']:.0f} MB", "200 MB")
    if "pandas_10M" in results:
        said = "{seconds:.1f} s, {over_imports_mb:.0f} MB".format(**results["pandas_10M"])
        table.add_row("  the same 10M by pandas and scipy", said)
    if "linear_100M" in results:
        ratios = "{linear_100M:.2f} times (CPU: {linear_100M_cpu:.2f})".format(**results)
        table.add_row("  100M over ten times 10M", ratios, "1.2")
    if "analysis" in results:
        found = results["analysis"]
        said = "{ours_all_s:.2f} s (reduce {ours_reduce_s:.2f}); SQL {sql_all_s:.2f} s"
        what = "10M rows to all results: 5 metrics, adjusted, 2 x 6 x 30 cells, 200 buckets"
        table.add_row(what, said.format(**found))
        table.add_row("  over hand-written SQL", f"{found['ours_over_sql']:.2f} times", "1.5")
        cells = f"{found['ours_over_sql_of_cells']:.2f} times"
        table.add_row("  over SQL of the cells alone, without the buckets", cells)
        if "tea_over_ours" in found:
            looped = (
                f"{found['looped_tea_over_ours']:.1f} times ours ({found['tea_looped_s']:.1f} s)"
            )
            table.add_row("  tea-tasting, looped over regions", looped, "3")
            whole = f"{found['tea_over_ours']:.1f} times ours ({found['tea_whole_s']:.1f} s)"
            table.add_row("  tea-tasting, without regions", whole, "1")
        else:
            table.add_row("  tea-tasting", "not measured: it needs Python 3.12 and uv")
    if "lives" in results:
        for line in lives.said(results["lives"]):
            table.add_row(*line)
    if "incentives" in results:
        took = results["ledger"]
        said = f"{took['ours']['all_s']:.2f} s; bare scan {took['scan']['all_s']:.2f} s"
        table.add_row("10M units to the ledger of an incentive", said)
        ratios = "{ours_over_scan_all:.2f} times (CPU: {ours_over_scan_all_cpu:.2f})"
        table.add_row("  over the bare scan of its sums", ratios.format(**took), "1.5")
        for line in incentives.said(results["incentives"]):
            table.add_row(*line)
    if "start" in results:
        start = results["start"]
        table.add_row("CPU of --help", f"{start['help_cpu_s']:.2f} s", "0.5 s")
        for name in SHIPPED:
            seconds = start.get(f"{name}_cpu_s")
            said = "its dataset is not at hand" if seconds is None else f"{seconds:.2f} s"
            table.add_row(f"CPU of validate {name}", said, "0.5 s")
        table.add_row("  CPU of importing duckdb and pydantic", f"{start['imports_cpu_s']:.2f} s")
        table.add_row("  CPU of Python doing nothing", f"{start['bare_python_cpu_s']:.2f} s")
    if "notebooks" in results:
        found = results["notebooks"]
        seconds = "{ours_s:.1f} s; Papermill {bare_s:.1f} s".format(**found)
        table.add_row("eight notebooks, two at a time", seconds)
        ratios = "{ours_over_bare:.2f} times (CPU: {ours_over_bare_cpu:.2f})".format(**found)
        table.add_row("  over bare Papermill", ratios, "1.2")
    console.print(table)


if __name__ == "__main__":
    main()
