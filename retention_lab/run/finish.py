"""A plan and what was found in; a run folder with results, verdict, reduction and reports out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retention_lab.results import Results, Verdict

if TYPE_CHECKING:
    from retention_lab.data.moments import Moments
    from retention_lab.experiment.plan import Plan


def finish(
    plan: Plan, moments: Moments, results: Results, verdict: Verdict, run_dir: str | Path = ""
) -> Path:
    """Write everything that a run leaves behind, and return its folder.

    An empty `run_dir` makes ``reports/<name>/<time>/``. A notebook run by hand is finished here;
    one that the command line runs is closed, and recorded in MLflow, by the runner.
    Raises RunError where the folder cannot be written.
    """
    from retention_lab.run.folder import close_run, open_run, read_run
    from retention_lab.run.report import write_reports
    from retention_lab.texts import reason_text

    folder = open_run(plan, run_dir)
    results.save(folder)
    moments.save(folder / "moments.parquet")
    languages = ("en", "zh")
    reasons = verdict.reasons
    texts = {x: [reason_text(r, plan.spec, x, reasons) for r in reasons] for x in languages}
    verdict.save(folder, texts)
    write_reports(folder)
    if read_run(folder)["started_by"] == "notebook":
        close_run(folder, "finished")
    return folder
