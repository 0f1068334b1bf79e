"""A folder of reports in; what its experiments taught, pooled by family of incentive, out.

>>> from pathlib import Path
>>> from retention_lab.learning import log
>>> log(Path("no/such/folder")).lessons
()
"""

from retention_lab.learning.families import Family, Learnt
from retention_lab.learning.lessons import ArmEffect, Lesson
from retention_lab.learning.log import NAME, Log, log, write
from retention_lab.learning.table import SCRIPT_SOURCE, table

__all__ = [
    "NAME",
    "SCRIPT_SOURCE",
    "ArmEffect",
    "Family",
    "Learnt",
    "Lesson",
    "Log",
    "log",
    "table",
    "write",
]
