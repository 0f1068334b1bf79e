"""Outcomes, runs and comparisons in; tables, progress and messages in the terminal out.

Results go to stdout, progress and errors to stderr. Rich is imported where it is used, because
start-up counts; nothing here decides anything.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from retention_lab.ab.planner import Planning
    from retention_lab.data.datasets import DatasetStatus
    from retention_lab.results import Row
    from retention_lab.run.compare import Comparison, Side
    from retention_lab.run.outcome import Event, Outcome

RED, GREEN, YELLOW = "31", "32", "33"
WIDE = 160  # columns of a table that goes into a file or a pipe
MOST_ROWS = 40  # of a comparison's results
COLOURS = {
    "ship": "green",
    "stop": "red",
    "keep_running": "yellow",
    "no answer": "yellow",
    "invalid": "magenta",
    "keep it": "green",
    "stop it": "red",
    "look closer": "yellow",
}
OFFER = {"ship": "keep it", "stop": "stop it", "keep_running": "look closer"}  # as on its page
AT_HAND = {
    "folder": "yes, in RETENTION_LAB_DATA",
    "cache": "yes, in the cache",
    "wheel": "yes, in an installed package",
    "made": "yes, made on first use",
    "download": "on first use",
    None: "no",
}
NUMBERS = ("seconds", "first", "second", "baseline", "units", "entry days", "read-out day")
INVALID = {
    "sample_ratio_mismatch": "the split is not the planned one",
    "covariate_differs": "a covariate differs between the arms",
    "no_arm": "units have no arm",
    "primary_no_result": "a primary metric has no result",
}


def say(text: str = "") -> None:
    """Print a line of results."""
    _line(text)


def note(text: str) -> None:
    """Print a remark on stderr, beside the results."""
    _line(text, sys.stderr)


def fail(message: str) -> None:
    """Print an error on stderr: in red where it is a terminal, without a traceback."""
    _line(_painted(message, RED, sys.stderr), sys.stderr)


def good(text: str) -> None:
    """Print a line that says something is as it should be."""
    _line(f"{_painted('✓', GREEN, sys.stdout)} {text}")


def check(ok: bool, text: str, *, remark: bool = False) -> None:
    """Print what was checked, and whether it is as it should be; a `remark` is worth a look."""
    mark, colour = ("✗", RED) if not ok else ("!", YELLOW) if remark else ("✓", GREEN)
    _line(f"  {_painted(mark, colour, sys.stdout)} {text}")


def _line(text: str, stream: TextIO | None = None) -> None:
    print(text, file=stream)


def _painted(text: str, colour: str, stream: TextIO) -> str:
    """`text` in a colour where `stream` is a terminal that may have one (no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def shown(path: Path) -> str:
    """`path` relative to the working folder where it lies below it, else as it is."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def command(rest: str) -> str:
    """The words that call this program again from here, followed by `rest`."""
    program = Path(sys.argv[0])
    if program.name != "retention-lab":
        return f"{os.path.relpath(sys.executable)} -m retention_lab {rest}"
    import shutil

    found = shutil.which("retention-lab")
    if found is not None and Path(found).resolve() == program.resolve():
        return f"retention-lab {rest}"
    return f"{os.path.relpath(program)} {rest}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; a cell that is a decision has its colour, None is an empty cell."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold", justify="right" if name in NUMBERS else "left")
    for row in rows:
        cells = ["" if cell is None else str(cell) for cell in row]
        made.add_row(*(Text(cell, style=COLOURS.get(cell.partition(":")[0], "")) for cell in cells))
    _console().print(made)


def experiments(
    names: Sequence[str],
    latest: Mapping[str, Mapping[str, Any]],
    changed: Sequence[tuple[str, str, Mapping[str, Any]]] = (),
    skipped: Mapping[str, str] | None = None,
) -> None:
    """Print every experiment with its latest run (the content of its run.json), if any.

    `changed` are newer runs with changed values: the experiment, the changes, the run. `skipped`
    says by experiment why it was not run.
    """
    if not names:
        say("There are no experiments yet. Begin with: " + command("new my-test"))
        return
    rows = []
    for name in names:
        run = latest.get(name, {})
        verdict = run.get("verdict") or {}
        status = run.get("status", "skipped" if name in (skipped or {}) else "not run yet")
        rows.append((name, _verdict(verdict), verdict.get("arm"), status, run.get("run_id")))
    table(("experiment", "verdict", "arm", "status", "latest run"), rows)
    for name, why in (skipped or {}).items():
        say(f"{name} was skipped: {why}")
    for name, what, run in changed:
        verdict = run.get("verdict") or {}
        said = _verdict(verdict) or run.get("status")
        say(f"{name} with {what}: {said}, run {run.get('run_id')}")


def _verdict(verdict: Mapping[str, Any]) -> str | None:
    """The decision; where it is ``invalid``, with its reason; ``findings`` of a cohort study.

    A test that is over and undecided is not said to be kept running: there is nothing to run. Of an
    incentive the words are those of its report.
    """
    decision: str | None = verdict.get("verdict")
    reason = verdict.get("reason")
    if reason == "cohorts_described":
        return "findings"
    if reason == "ended_unclear":
        return "no answer"
    if verdict.get("offer") and decision in OFFER:
        return OFFER[decision]
    if decision != "invalid" or not reason:
        return decision
    return f"{decision}: {INVALID.get(reason, str(reason).replace('_', ' '))}"


@contextmanager
def run_progress(count: int) -> Iterator[Callable[[Event], None]]:
    """Show the notebooks of a batch at work, on stderr where it is a terminal; remarks always."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield _remark
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    said = "{task.description:<24} {task.fields[state]}"
    columns = (TextColumn(said, markup=False), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        checked = progress.add_task("checking", total=count, state="")
        tasks: dict[int, Any] = {}

        def show(event: Event) -> None:
            if event.kind == "note":
                progress.console.print(event.text, markup=False)
            elif event.kind == "planned":
                progress.advance(checked)
                tasks[event.index] = progress.add_task(event.experiment, total=None, state="waits")
            elif event.kind == "started":
                progress.update(tasks[event.index], state="starts")
            elif event.kind == "cell":
                state = f"cell {event.cell} of {event.cells}"
                progress.update(
                    tasks[event.index], completed=event.cell, total=event.cells, state=state
                )
            elif event.index in tasks:
                progress.remove_task(tasks.pop(event.index))
            else:
                progress.advance(checked)

        yield show


def _remark(event: Event) -> None:
    if event.kind == "note":
        note(event.text)


def outcomes(found: Sequence[Outcome], reports: Path, seconds: float | None = None) -> None:
    """Print what a batch came to: verdicts and reports, what was skipped, what failed, and why.

    `seconds` is the wall time of the whole batch.
    """
    from retention_lab.run.outcome import in_short

    done = [o for o in found if o.status in ("finished", "skipped_unchanged")]
    if done:
        rows = [
            (
                o.experiment,
                _verdict({"verdict": o.verdict, "reason": o.reason, "offer": o.offer}),
                o.arm,
                _report(o),
                _seconds(o.seconds, o.status),
            )
            for o in done
        ]
        table(("experiment", "verdict", "arm", "report", "seconds"), rows)
    for o in found:
        if o.status == "skipped_no_data":
            named = re.search(r"dataset '([\w-]+)'", o.message)
            asked = f"data {named[1]}" if named else "data"
            how = f"`{command(asked)}` says how to get it"
            say(f"{o.experiment} was skipped: {in_short(o.message)}; {how}")
    for o in found:
        if o.status == "interrupted":
            fail(f"{o.experiment} was interrupted: {o.message}")
        elif o.faults and o.recorded and o.status != "failed":
            said = "".join(f"\n  {fault}" for fault in o.faults)
            fail(f"{o.experiment} finished, with faults:{said}")
        elif not o.ok:
            where = f"\n  what it left: {shown(o.folder)}" if o.folder else ""
            fail(f"{o.experiment} failed: {o.message}{where}")
    if seconds is not None and len(done) > 1:
        say(f"All in all it took {seconds:.1f} seconds, with notebooks side by side.")
    index = reports / "index.html"
    if index.is_file():
        say(f"All reports:  {shown(index)}")
    if done:
        say(f"All records:  {command('ui')}  (MLflow)")


def _report(outcome: Outcome) -> str | None:
    if outcome.folder is None:
        return None
    pages = sorted(outcome.folder.glob("report.*.html"))
    return shown(pages[0]) if pages else shown(outcome.folder)


def _seconds(seconds: float, status: str) -> str:
    return "unchanged" if status == "skipped_unchanged" else f"{seconds:.1f}"


def datasets(found: Iterable[DatasetStatus]) -> None:
    """Print the named datasets: what they are, whether they are at hand, how to get them."""
    rows = []
    for d in found:
        names = d.name if len(d.tables) == 1 else f"{d.name}/\n" + "\n".join(d.tables)
        rows.append((names, d.title, AT_HAND[d.found_in], d.licence, d.how_to_get))
    table(("dataset:", "what it is", "at hand", "licence", "how to get it"), rows)


def dataset(status: DatasetStatus, files: Mapping[str, Path]) -> None:
    """Print one dataset in full, and where its tables are."""
    say(status.title)
    say(f"Licence: {status.licence}")
    say(f"Cite:    {status.citation}")
    for name, path in files.items():
        say(f"dataset:{name}  {path}")


def comparison(found: Comparison) -> None:
    """Print what differs between two runs: first what went in, then what came out."""
    sides = [
        (name, side.experiment, side.run_id, side.status, _verdict(_said_of(side)), side.arm)
        for name, side in (("first", found.a), ("second", found.b))
    ]
    table(("", "experiment", "run", "status", "verdict", "arm"), sides)
    if found.inputs:
        rows = [
            (
                "--set" if i.kind == "set" else i.kind,
                i.name,
                _short(i.kind, i.a),
                _short(i.kind, i.b),
            )
            for i in found.inputs
        ]
        table(("input", "name", "first", "second"), rows)
    else:
        say("Nothing that went into the two runs differs.")
    shown_rows = found.results[:MOST_ROWS]
    if shown_rows:
        cells = [
            (r.row.metric, r.row.estimand, r.row.arm, _group(r.row), _cell(r.a), _cell(r.b))
            for r in shown_rows
        ]
        table(("metric", "estimand", "arm", "group", "first", "second"), cells)
    more = len(found.results) - len(shown_rows)
    if more:
        say(f"... and {more} rows more; --html FILE writes all of them.")
    say(f"{len(found.results)} results differ, {found.same} are the same.")


def _said_of(side: Side) -> dict[str, Any]:
    return {"verdict": side.verdict, "reason": side.reason, "offer": side.offer}


def _short(kind: str, value: str | None) -> str | None:
    """A digest or commit by its first characters; anything else as it is."""
    return value[:12] if value is not None and kind in ("hash", "git") else value


def _group(row: Row) -> str:
    """Of which group, term and time a row is: what tells it from the others of its estimand."""
    group = f"{row.segment} = {row.level}" if row.segment else row.level
    at = f"at {row.at}" if row.at else None
    return ", ".join(part for part in (group, row.term, at) if part)


def _cell(row: Row | None) -> str | None:
    """The estimate with its interval; the note's first word where there is none."""
    if row is None:
        return None
    if row.estimate is None:
        return (row.note or "").split(":")[0]
    if row.ci_low is None or row.ci_high is None:
        return f"{row.estimate:.6g}"
    return f"{row.estimate:.6g} [{row.ci_low:.4g}, {row.ci_high:.4g}]"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr, where it is a terminal, that something takes its time."""
    console = _console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def planning(found: Planning) -> None:
    """Print what the next test needs, a metric a line, and what its primary metrics need."""
    heads, rows = found.table()
    table(heads, rows)
    if found.traffic is not None:
        say(f"New units a day: {found.traffic:,.0f}, all arms together (planning.traffic).")
    if found.units is not None:
        until = f", read on day {found.read_out}" if found.read_out is not None else ""
        say(f"The primary metrics need {found.units:,} units in all arms{until}.")


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)
