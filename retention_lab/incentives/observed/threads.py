"""The machine's load in; how many threads learners may use, and a limit that holds them to it, out.

Gradient boosting with more threads than free cores waits for the slowest: up to ten times slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

AT_ONCE = 4  # fits: a part of each is Python, of which one runs at a time
Job = tuple[int, Callable[[], None]]  # its size, and the work


def free_cores() -> int:
    """Cores that this process may use and that no other program uses now; at least 1.

    What others run is counted from the scheduler's queue where the system shows it (Linux), or from
    the load of the last minute; where neither is known, all cores count as free.
    """
    machine = os.cpu_count() or 1
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return max(1, min(mine, machine - _others()))


def _others() -> int:
    """Threads of other programs that run now."""
    queue = Path("/proc/loadavg")
    try:
        running = int(queue.read_text(encoding="ascii").split()[3].partition("/")[0])
        return max(running - 1, 0)  # one of them is this one
    except (OSError, ValueError, IndexError):
        pass
    try:
        return max(round(os.getloadavg()[0]) - 1, 0)
    except (AttributeError, OSError):
        return 0


@contextmanager
def threads(most: int | None = None) -> Iterator[int]:
    """Hold OpenMP and BLAS to `most` threads (None: the free cores) within; gives how many."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    number = free_cores() if most is None else max(1, most)
    with threadpool_limits(limits=number):
        yield number


def at_once(jobs: Sequence[Job], cores: int) -> None:
    """Do all `jobs` on `cores`, the largest first; each writes where no other one does.

    Two fits of one thread each take a sixth less of the processor than one after the other with
    two: threads of one fit wait for each other at every node of a tree.
    """
    from threadpoolctl import threadpool_limits

    workers = max(1, min(cores, AT_ONCE, len(jobs)))

    def limited(work: Callable[[], None]) -> None:
        # OpenMP counts threads for each thread that begins a loop
        with threadpool_limits(cores // workers, user_api="openmp"):
            work()

    in_order = [work for _, work in sorted(jobs, key=lambda job: -job[0])]
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(limited, in_order):
            pass
