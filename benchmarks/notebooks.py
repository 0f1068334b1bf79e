"""A number of experiments in; seconds of the runner, and of bare Papermill threads, out.

As a program, ``python -m benchmarks.notebooks JOBS FILE...`` is the peer: Papermill in threads of
one process, with nothing around it (no checks, no deadline, no record).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def side_by_side(folder: Path, count: int, jobs: int, rounds: int) -> dict[str, float]:
    """Median seconds of both over `rounds` rounds in turns; each in a process of its own."""
    files = _project(folder, count)
    names = [str(f.relative_to(folder)) for f in files]
    ours = [sys.executable, "-m", "retention_lab", "run", *names, "--jobs", str(jobs), "--force"]
    bare = [sys.executable, "-m", "benchmarks.notebooks", str(jobs), *names]
    _seconds(["-m", "retention_lab", "data", "twin"], folder)  # made once, before anyone is timed
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for i in range(rounds):
        ways = [("ours", ours[1:]), ("bare", bare[1:])]
        for name, words in ways if i % 2 == 0 else reversed(ways):
            seconds[name].append(_seconds(words, folder))
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["bare"], strict=True)]
    return {
        "ours_s": statistics.median(seconds["ours"]),
        "bare_s": statistics.median(seconds["bare"]),
        "ours_over_bare": statistics.median(ratios),
    }


def _project(folder: Path, count: int) -> list[Path]:
    """A project with `count` copies of the simulated shop's experiment under other names."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "experiments").mkdir()
    text = (ROOT / "experiments" / "comeback-coupon.yaml").read_text(encoding="utf-8")
    files = []
    for i in range(count):
        name = f"coupon-{i}"
        path = folder / "experiments" / f"{name}.yaml"
        path.write_text(text.replace("name: comeback-coupon", f"name: {name}"), encoding="utf-8")
        files.append(path)
    return files


def _seconds(words: list[str], folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def bare_papermill(jobs: int, files: list[str]) -> None:
    """Run the template for each file by Papermill, `jobs` at once, in threads."""
    import papermill

    def one(file: str) -> None:
        folder = Path("bare") / f"{Path(file).stem}-{time.time_ns()}"
        folder.mkdir(parents=True)
        papermill.execute_notebook(
            "notebooks/ab_test.ipynb",
            folder / "notebook.ipynb",
            parameters={"experiment": file, "run_dir": str(folder)},
            kernel_name="python3",
            progress_bar=False,
        )

    with ThreadPoolExecutor(jobs) as threads:
        list(threads.map(one, files))


if __name__ == "__main__":
    bare_papermill(int(sys.argv[1]), sys.argv[2:])
