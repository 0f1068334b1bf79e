"""What was typed in; calls of the lab, and their answers printed, out.

Parse, call, print - nothing else. Each command imports what it needs when it is called, so that
``--help`` and ``validate`` start at once.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from retention_lab import terminal
from retention_lab.errors import RunError
from retention_lab.paths import project_root

app = typer.Typer(
    name="retention-lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Rich takes longer to import than all else together
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Experiments on customer retention: one YAML file in; a decision, a report, a record out.",
    epilog="Start with: retention-lab new my-test; edit the file; validate it; run it.",
)

Reports = Annotated[
    Path | None, typer.Option(help="Folder of the run folders (default: reports/ of the project).")
]


def _version(asked: bool) -> None:
    if asked:
        from retention_lab import __version__

        terminal.say(f"retention-lab {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The experiment's name; the file is NAME.yaml.")],
    units: Annotated[
        str | None, typer.Option(help="Your table: a path, glob or dataset:NAME.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Its column that holds the arm.")] = None,
    control: Annotated[str | None, typer.Option(help="The arm to compare against.")] = None,
    events: Annotated[
        str | None, typer.Option(help="Your table of orders, say: when do customers come back?")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Its column that holds the time.")] = None,
    unit: Annotated[str | None, typer.Option(help="Its column that holds the customer.")] = None,
    incentive: Annotated[
        str | None,
        typer.Option(
            metavar="STRATEGY",
            help="An incentive, what it brought and cost: randomised, encouragement, "
            "observational, dose, rollout or threshold.",
        ),
    ] = None,
) -> None:
    """Write experiments/NAME.yaml, a commented file that runs as it is.

    Without options it is about a simulated shop; with --units, --arm and --control about your
    table; with --events, --at and --unit about when the customers in your table come back; with
    --incentive about an incentive.
    """
    from retention_lab.experiment import template

    doubts: tuple[str, ...] = ()
    if events is not None:
        if at is None or unit is None or units or arm or control or incentive:
            raise typer.BadParameter("--events needs --at and --unit, and no other option")
        from retention_lab.experiment.template_cohorts import template_for_events

        text = template_for_events(name, events, at, unit, _root())
    elif at or unit:
        raise typer.BadParameter("--at and --unit need --events, the table they are in")
    elif incentive is not None:
        from retention_lab.experiment.template_incentive import template_incentive

        text, doubts = template_incentive(name, incentive, (units, arm, control), _root())
    elif units is None:
        if arm or control:
            raise typer.BadParameter("--arm and --control need --units, the table they are in")
        text = template.template(name)
    elif arm is None or control is None:
        raise typer.BadParameter("--units needs --arm and --control as well")
    else:
        text, doubts = template.template_for(name, units, arm, control, _root())
    path = template.write_new(text, name, _root())
    for doubt in doubts:
        terminal.note(f"! {doubt}")
    terminal.good(f"{terminal.shown(path)} is written. Edit it, then:")
    terminal.say(f"  {terminal.command(f'validate {name}')}")
    terminal.say(f"  {terminal.command(f'run {name}')}")


@app.command()
def validate(
    files: Annotated[
        list[str], typer.Argument(help="Experiment files, globs, or names in experiments/.")
    ],
) -> None:
    """Check experiment files against the schema and against their tables; nothing is run."""
    from retention_lab.validate import validate_files

    if not validate_files(files, _root()):
        raise typer.Exit(1)


@app.command()
def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Experiment files, globs, or names in experiments/."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every file in experiments/.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Notebooks run at the same time.")] = 2,
    force: Annotated[bool, typer.Option(help="Run again even where nothing changed.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the file; repeatable."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Deadline of one notebook: seconds, or 90s, 10m, 2h.")
    ] = None,
    reports: Reports = None,
) -> None:
    """Run experiments: execute the notebook, write report and results, record in MLflow.

    Unchanged experiments are skipped, and those whose data is not at hand. The exit status is 0
    whatever the verdicts; 1 if an experiment failed, was not recorded, or ran with faults (a
    metric without a result); 2 for a wrong option; 130 if it was interrupted.
    """
    from retention_lab.experiment.find import experiment_files, find_files

    if everything == bool(files):
        raise typer.BadParameter("name experiment files, or say --all")
    root = _root()
    chosen = experiment_files(root) if everything else find_files(files or [], root)
    overrides = dict(_key_value(change) for change in changes or [])
    seconds = None if timeout is None else _seconds(timeout)

    from retention_lab.run.execute import run_experiments

    began = time.monotonic()
    with terminal.run_progress(len(chosen)) as on_event:
        outcomes = run_experiments(
            chosen,
            jobs=jobs,
            force=force,
            overrides=overrides,
            timeout=seconds,
            reports=reports,
            on_event=on_event,
        )
    terminal.outcomes(outcomes, reports or root / "reports", time.monotonic() - began)
    if any(o.status == "interrupted" for o in outcomes):
        raise typer.Exit(130)
    if any(not o.ok for o in outcomes):
        raise typer.Exit(1)


@app.command()
def plan(
    file: Annotated[str, typer.Argument(help="Experiment file, or its name in experiments/.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Such as planning.effect=0.1; repeatable."),
    ] = None,
) -> None:
    """Size the next test from this one's data: units, days, and what it would be able to see."""
    from retention_lab.ab.planner import size_next
    from retention_lab.data.reduce import reduce
    from retention_lab.experiment.find import find_files
    from retention_lab.experiment.plan import make_plan

    (path,) = find_files([file], _root())
    made = make_plan(path, dict(_key_value(c) for c in changes or []))
    with terminal.waiting("Reducing the data"):
        planning = size_next(made, reduce(made))
    terminal.planning(planning)


@app.command("list")
def list_(reports: Reports = None) -> None:
    """List the experiments of the project with their latest runs and verdicts.

    The latest run is of the file as written; newer ones with changed values are listed below.
    """
    from retention_lab.experiment.find import experiment_files
    from retention_lab.run.folder import changed_text, latest_run, list_runs, read_run, skips

    root = _root()
    folder = reports or root / "reports"
    latest: dict[str, dict[str, Any]] = {}
    changed = []
    for name in dict.fromkeys(run.parent.name for run in list_runs(folder)):
        runs = list_runs(folder, name)
        of_file = latest_run(runs)
        if of_file is None:
            continue
        latest[name] = read_run(of_file)
        newer = [read_run(run) for run in runs[: runs.index(of_file)]]
        shown = [latest[name], *newer] if changed_text(latest[name]) else newer
        changed += [(name, changed_text(run), run) for run in shown]
    skipped = {name: noted["message"] for name, noted in skips(folder).items()}
    names = [p.stem for p in experiment_files(root)]
    found = {*latest, *skipped}
    terminal.experiments([*names, *sorted(found - set(names))], latest, changed, skipped)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="A run: folder, run id, or experiment's name.")],
    second: Annotated[str, typer.Argument(help="The run to compare it with.")],
    html: Annotated[Path | None, typer.Option(help="Write the comparison as a page too.")] = None,
    reports: Reports = None,
) -> None:
    """Show what differs between two runs: in their inputs, and in their results."""
    from retention_lab.run.compare import compare as compare_runs
    from retention_lab.run.folder import find_run

    folder = reports or _root() / "reports"
    comparison = compare_runs(find_run(folder, first), find_run(folder, second))
    terminal.comparison(comparison)
    if html is not None:
        from retention_lab.run.report import comparison_html

        html.write_text(comparison_html(comparison), encoding="utf-8")
        terminal.say(f"The same as a page: {terminal.shown(html)}")


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run: folder, run id, or experiment's name.")],
    reports: Reports = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write a run's report and the index again, from what its folder holds."""
    from retention_lab.run.folder import find_run
    from retention_lab.run.index import write_index
    from retention_lab.run.report import write_reports

    folder = reports or _root() / "reports"
    written = write_reports(find_run(folder, run))
    for path in [*written, write_index(folder)]:
        terminal.say(terminal.shown(path))
    if show:
        typer.launch(written[0].resolve().as_uri())


@app.command()
def record(
    run: Annotated[str, typer.Argument(help="A run: folder, run id, or experiment's name.")],
    reports: Reports = None,
) -> None:
    """Record a finished run in MLflow, for instance after the server was away."""
    from retention_lab.run.folder import find_run
    from retention_lab.run.record import record as record_run

    folder = find_run(reports or _root() / "reports", run)
    with terminal.waiting("Recording in MLflow"):
        run_id = record_run(folder)
    terminal.good(f"{terminal.shown(folder)} is MLflow run {run_id}")


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="Fetch this dataset, and describe it.")] = None,
) -> None:
    """List the named datasets and what is at hand; with a name, fetch and describe it."""
    from retention_lab.data import datasets

    if name is None:
        terminal.datasets(datasets.status())
        return
    described = datasets.describe(name)
    refs = [name] if "/" in name else [f"{name}/{table}" for table in described.tables]
    with terminal.waiting(f"Looking for {name}"):
        files = {ref: datasets.locate(ref) for ref in refs}
    terminal.dataset(described, files)


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000) -> None:
    """Open the records: an MLflow server for this machine alone. Ctrl-C ends it."""
    from retention_lab.servers import mlflow_server, pages_of_runs

    terminal.note(
        f"MLflow will answer at http://127.0.0.1:{port} in about half a minute, when it says\n"
        "'Application startup complete'. An experiment's runs are under 'Training runs' there:"
    )
    for name, page in pages_of_runs(_root(), port):
        terminal.note(f"  {page}  {name}")
    mlflow_server(_root(), port)


@app.command()
def lab(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8888) -> None:
    """Open JupyterLab in the project, for this machine alone. Ctrl-C ends it."""
    from retention_lab.servers import jupyter_lab

    if hasattr(os, "geteuid") and os.geteuid() == 0:
        raise RunError(
            "JupyterLab is not started for root: whoever reaches it may do all that root may. "
            "Work as another user, or start it yourself: python -m jupyter lab --allow-root"
        )
    jupyter_lab(_root(), port)


def _root() -> Path:
    return project_root(Path.cwd())


def _key_value(change: str) -> tuple[str, str]:
    key, equals, value = change.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"--set {change}: write KEY=VALUE, such as inference.alpha=0.1")
    return key.strip(), value


def _seconds(text: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if not found or float(found[1]) == 0:
        raise typer.BadParameter(f"--timeout {text}: write seconds, or 90s, 10m, 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
