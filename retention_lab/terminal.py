"""Outcomes, runs and comparisons in; tables, progress and messages in the terminal out.

Results go to stdout, progress and errors to stderr. Rich is imported where it is used, because
start-up counts; nothing here decides anything.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from retention_lab.run.execute import Outcome

WIDE = 160  # columns of a table that goes into a file or pipe
COLOURS = {"ship": "green", "stop": "red", "keep_running": "yellow", "invalid": "magenta"}


def say(text: str = "") -> None:
    """Print a line of results."""
    typer.echo(text)


def fail(message: str) -> None:
    """Print an error on stderr: in red where it is a terminal, without a traceback."""
    typer.secho(message, fg="red", err=True)


def good(text: str) -> None:
    """Print a line that says something is as it should be."""
    typer.echo(f"{typer.style('✓', fg='green')} {text}")


def bad(text: str) -> None:
    """Print a line that says something is not as it should be."""
    typer.echo(f"{typer.style('✗', fg='red')} {text}")


def shown(path: Path) -> str:
    """`path` relative to the working folder where it lies below it, else as it is."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def command(rest: str) -> str:
    """The words that call this program again from here, followed by `rest`."""
    program = Path(sys.argv[0])
    found = shutil.which("retention-lab")
    if program.name != "retention-lab":
        return f"{shown(Path(sys.executable))} -m retention_lab.cli {rest}"
    if found is not None and Path(found).resolve() == program.resolve():
        return f"retention-lab {rest}"
    return f"{os.path.relpath(program)} {rest}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; a cell may hold a decision, which gets its colour. None is an empty cell."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold", justify="right" if name in RIGHT else "left")
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        made.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in cells))
    _console().print(made)


RIGHT = ("seconds", "estimate", "n", "rows")


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)
