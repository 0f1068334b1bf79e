"""Nothing but the process itself in; its CPU seconds and memory out.

Beside the scripts that run in the peers' own environments, so it must not import anything of the
lab.
"""

import resource
from pathlib import Path


def cpu():
    """CPU seconds of this process, user's and system's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident(name):
    """VmRSS (now) or VmHWM (the peak) in MB; Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"no {name} in /proc/self/status")
