"""The machine's load in; how many threads learners may use, and a limit that holds them to it, out.

Gradient boosting with more threads than free cores waits for the slowest: up to ten times slower.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
