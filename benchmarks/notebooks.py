"""A number of experiments in; seconds of the runner, and of bare Papermill threads, out.

As a program, ``python -m benchmarks.notebooks JOBS FILE...`` is the peer: Papermill in threads of
one process, with nothing around it (no checks, no deadline, no record).
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def side_by_side(folder: Path, count: int, jobs: int, rounds: int) -> dict[str, float]:
    """Median seconds of both over `rounds` rounds in turns; each in a process of its own.

    CPU seconds are those of the process and of the kernels that it started and waited for.
    """
    files = _project(folder, count)
    names = [str(f.relative_to(folder)) for f in files]
    ours = [sys.executable, "-m", "retention_lab", "run", *names, "--jobs", str(jobs), "--force"]
    bare = [sys.executable, "-m", "benchmarks.notebooks", str(jobs), *names]
    _seconds(["-m", "retention_lab", "data", "twin"], folder)  # made once, before anyone is timed
    wall: dict[str, list[float]] = {"ours": [], "bare": []}
    cpu: dict[str, list[float]] = {"ours": [], "bare": []}
    for i in range(rounds):
        ways = [("ours", ours[1:]), ("bare", bare[1:])]
        for name, words in ways if i % 2 == 0 else reversed(ways):
            passed, worked = _seconds(words, folder)
            wall[name].append(passed)
            cpu[name].append(worked)
    return {
        **{f"{name}_s": statistics.median(taken) for name, taken in wall.items()},
        **{f"{name}_cpu_s": statistics.median(taken) for name, taken in cpu.items()},
        "ours_over_bare": _ratio(wall["ours"], wall["bare"]),
        "ours_over_bare_cpu": _ratio(cpu["ours"], cpu["bare"]),
    }


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of the rounds."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


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


def _seconds(words: list[str], folder: Path) -> tuple[float, float]:
    """Seconds on the clock, and of CPU, of a Python process and its children."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}\n{done.stderr}")
    passed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


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
