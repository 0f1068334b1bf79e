"""A plan and what was found in; a run folder with results, verdict, reductions, reports out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retention_lab.errors import RunError
from retention_lab.results import Results, Verdict

if TYPE_CHECKING:
    from retention_lab.data.cohorts import Cohorts
    from retention_lab.data.evidence import Evidence
    from retention_lab.data.moments import Moments
    from retention_lab.experiment.plan import Plan
    from retention_lab.survival.model_rows import Fitted

MODEL = "models/cox/model.json"
FORGOTTEN = (
    "the file has a survival section, so rl.finish needs its reduction as well: "
    "cohorts = rl.reduce_cohorts(plan); add the rows of rl.analyse_cohorts(plan, cohorts) to the "
    "results; rl.finish(plan, moments, results, verdict, cohorts=cohorts)"
)


def finish(
    plan: Plan,
    reduction: Moments | Cohorts | Evidence,
    results: Results,
    verdict: Verdict,
    run_dir: str | Path = "",
    *,
    cohorts: Cohorts | None = None,
    model: Fitted | None = None,
) -> Path:
    """Write everything that a run leaves behind, and return its folder.

    `reduction` is what the results rest on; an experiment with a survival section gives `cohorts`
    as well, of which the folder keeps no cell of fewer than `privacy.min_cell` customers: see
    `kept`. Of an incentive's `Evidence` it keeps moments and weeks, never rows of units. A Cox
    `model` goes into the folder as numbers, and is registered with the record.
    An empty `run_dir` makes ``reports/<name>/<time>/``. A notebook run by hand is finished here;
    one that the command line runs is closed, and recorded in MLflow, by the runner.
    Raises RunError where the folder cannot be written, and where the file asks when customers come
    back and `cohorts` are not given: the report would say nothing of it.
    """
    from retention_lab.run.folder import close_run, open_run, read_run
    from retention_lab.run.report import write_reports
    from retention_lab.texts import reason_text

    if _forgot_cohorts(plan, reduction, cohorts):
        raise RunError(FORGOTTEN)
    folder = open_run(plan, run_dir)
    results.save(folder)
    _save(plan, folder, reduction, cohorts, model)
    languages = ("en", "zh")
    reasons = verdict.reasons
    texts = {x: [reason_text(r, plan.spec, x, reasons) for r in reasons] for x in languages}
    verdict.save(folder, texts)
    write_reports(folder)
    if read_run(folder)["started_by"] == "notebook":
        close_run(folder, "finished")
    return folder


def _forgot_cohorts(
    plan: Plan, reduction: Moments | Cohorts | Evidence, cohorts: Cohorts | None
) -> bool:
    """Whether the file has a survival section that nothing given here is about."""
    from retention_lab.data.cohorts import Cohorts

    given = cohorts is not None or isinstance(reduction, Cohorts)
    return plan.spec.survival is not None and not given


def _save(
    plan: Plan,
    folder: Path,
    reduction: Moments | Cohorts | Evidence,
    cohorts: Cohorts | None,
    model: Fitted | None,
) -> None:
    """Write the reductions, and the model as numbers."""
    from retention_lab.data.cohorts import Cohorts
    from retention_lab.data.evidence import Evidence
    from retention_lab.data.moments import Moments

    followed = reduction if isinstance(reduction, Cohorts) else cohorts
    if followed is not None:
        from retention_lab.run.keep import kept

        large = kept(plan, followed)
        if large is not None:
            large.save(folder)
    moments = reduction.moments if isinstance(reduction, Evidence) else reduction
    if isinstance(moments, Moments):
        moments.save(folder / "moments.parquet")
    if isinstance(reduction, Evidence) and reduction.weeks is not None:
        reduction.weeks.save(folder / "weeks.parquet")
    if model is not None and model.model is not None:
        from retention_lab.survival.model_rows import example_of
        from retention_lab.survival.served import save_model

        save_model(folder / MODEL, model.model, model.days, example_of(model))
