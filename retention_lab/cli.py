"""What was typed in; calls of the lab, and their answers printed, out.

Parse, call, print - nothing else. Each command imports what it needs when it is called, so that
``--help`` and ``validate`` start at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from retention_lab import terminal
from retention_lab.errors import LabError
from retention_lab.paths import project_root

app = typer.Typer(
    name="retention-lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Experiments on customer retention: one YAML file in; a decision, a report, a record out.",
    epilog="Start with: retention-lab new my-test, then validate it, then run it.",
)


def main() -> None:
    """Run the command line; a `LabError` is printed without a traceback, exit status 1."""
    try:
        app()
    except LabError as error:
        terminal.fail(str(error))
        sys.exit(1)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        terminal.say(f"retention-lab {version('retention-lab')}")
        raise typer.Exit


def _root() -> Path:
    return project_root(Path.cwd())


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
        Optional[str], typer.Option(help="Your table: a path, glob or dataset:NAME.")
    ] = None,
    arm: Annotated[Optional[str], typer.Option(help="Its column that holds the arm.")] = None,
    control: Annotated[Optional[str], typer.Option(help="The arm to compare against.")] = None,
) -> None:
    """Write experiments/NAME.yaml: a commented file that runs as it is."""
    from retention_lab.experiment import template

    if units is None:
        if arm or control:
            raise typer.BadParameter("--arm and --control need --units, the table they are in")
        text = template.template(name)
    elif arm is None or control is None:
        raise typer.BadParameter("--units needs --arm and --control as well")
    else:
        text = template.template_for(name, units, arm, control, _root())
    path = template.write_new(text, name, _root())
    terminal.good(f"{terminal.shown(path)} is written; edit it, then:")
    terminal.say(f"  {terminal.command(f'validate {name}')}")
    terminal.say(f"  {terminal.command(f'run {name}')}")


Files = Annotated[
    Optional[list[str]], typer.Argument(help="Experiment files, globs, or names in experiments/.")
]


@app.command()
def validate(files: Files) -> None:
    """Check experiment files against the schema and against the real tables."""
    from retention_lab.experiment.find import find_files
    from retention_lab.experiment.plan import make_plan

    failed = False
    for path in find_files(files or [], _root()):
        try:
            plan = make_plan(path)
        except LabError as error:
            terminal.fail(str(error))
            failed = True
            continue
        terminal.checks(terminal.shown(path), plan.checks)
        failed = failed or not all(c.ok for c in plan.checks)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
