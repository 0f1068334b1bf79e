"""A folder of reports in; one lesson an experiment that was decided, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from retention_lab.errors import LabError
from retention_lab.experiment.spec import Spec, Translated
from retention_lab.results import HEADLINES, Verdict
from retention_lab.run.folder import as_written, list_runs, read_run, spec_of
from retention_lab.texts import kind_of
from retention_lab.texts.incentive import decided, is_offer

DECISIONS = ("ship", "stop", "keep_running", "invalid")
COLUMNS = ("metric", "estimand", "term", "arm", "baseline", "segment")
NUMBERS = ("estimate", "std_error", "ci_low", "ci_high")
UNREADABLE = (LabError, OSError, ValueError, KeyError, TypeError)


@dataclasses.dataclass(frozen=True, slots=True)
class ArmEffect:
    """The relative lift of one arm over control: 0.12 is 12%. None: there is no such number."""

    arm: str
    lift: float | None
    std_error: float | None
    ci: tuple[float, float] | None


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """An incentive's effect on a metric of `kind`, in its own unit, where nobody drew arms."""

    estimate: float
    ci: tuple[float, float]
    kind: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What one experiment taught: its hypothesis, verdict and effect.

    `metric` is the first primary metric. `arm` is the arm of the verdict; else the one that its
    weightiest reason is about; else the first after control. `lift` and `ci` are that arm's,
    relative to control; `arms` holds every arm's, in the file's order, and nothing where the test
    is invalid. `change` is the effect of an incentive that has no such lift, as nobody dealt it.
    `when` is the start of the run, `run` its folder below reports/, `languages` those of its
    report, `words` the reader's words for arms, metric and family, `ended` says whether the test
    is over without an answer, and `offer` whether its words are those of an incentive.
    """

    experiment: str
    title: Translated
    question: Translated
    family: str | None
    verdict: str
    arm: str | None
    metric: str | None
    lift: float | None
    ci: tuple[float, float] | None
    change: Change | None = None
    when: str
    run: str
    languages: tuple[str, ...] = ("en",)
    arms: tuple[ArmEffect, ...] = ()
    words: Mapping[str, Translated] = dataclasses.field(default_factory=dict)
    ended: bool = False
    offer: bool = False

    def word(self, name: str | None, language: str) -> str:
        """The reader's word for an arm, the metric or the family; the name itself if none."""
        if name is None:
            return ""
        text = self.words.get(name)
        return text.get(language) if text is not None else name.replace("_", " ")


def lessons(reports: Path) -> tuple[Lesson, ...]:
    """One lesson an experiment: of its latest run of the file as written that has a verdict.

    The newest first. Runs with changed values, without a verdict, of customers who were only
    followed, or that cannot be read teach nothing. Results that cannot be read leave a lesson
    without an effect.
    """
    runs = sorted(list_runs(reports), key=lambda p: p.parent.name)
    newest = (
        _latest(sorted(folders, key=lambda p: p.name, reverse=True))
        for _, folders in groupby(runs, key=lambda p: p.parent.name)
    )
    found = [lesson for lesson in newest if lesson is not None]
    return tuple(sorted(found, key=lambda x: (x.run.rsplit("/", 1)[-1], x.run), reverse=True))


def _latest(folders: Sequence[Path]) -> Lesson | None:
    for folder in folders:
        try:
            run = read_run(folder)
            if run["status"] != "finished" or not as_written(run):
                continue
            verdict = Verdict.load(folder)
            spec = spec_of(folder)
            compared = spec.design is not None or spec.incentive is not None
            if verdict.decision in DECISIONS and compared:
                return _lesson(folder, run, verdict, spec)
        except UNREADABLE:
            continue
    return None


def _lesson(folder: Path, run: Mapping[str, Any], verdict: Verdict, spec: Spec) -> Lesson:
    metric = next(iter(spec.primary), None)
    valid = metric is not None and verdict.decision != "invalid"
    rows = _rows(folder, str(metric)) if valid else []
    arms = _effects(rows, spec.design.control) if spec.design is not None else ()
    about = verdict.arm or next((a for r in verdict.reasons if (a := r.numbers.get("arm"))), None)
    one = next((a for a in arms if a.arm == about), None)
    if one is None and about is None:
        one = next(iter(arms), None)
    names = [metric, about, spec.family, *(a.arm for a in arms)]
    labels = spec.report.labels
    return Lesson(
        experiment=folder.parent.name,
        title=spec.title,
        question=spec.question,
        family=spec.family,
        verdict=verdict.decision,
        arm=one.arm if one is not None else about,
        metric=metric,
        lift=one.lift if one is not None else None,
        ci=one.ci if one is not None else None,
        change=_change(rows, about, kind_of(spec, metric)) if one is None else None,
        when=str(run.get("started") or folder.name),
        run=f"{folder.parent.name}/{folder.name}",
        languages=spec.report.languages,
        arms=arms,
        words={name: labels[name] for name in names if name is not None and name in labels},
        ended=verdict.ended,
        offer=decided(verdict) and is_offer(spec),
    )


def _rows(folder: Path, metric: str) -> list[dict[str, Any]]:
    """The rows of a metric for everyone; none if they cannot be read."""
    import pyarrow.parquet as pq

    try:
        read: Any = pq.read_table
        rows = read(folder / "results.parquet", columns=[*COLUMNS, *NUMBERS]).to_pylist()
    except (OSError, ValueError, KeyError):
        return []
    return [r for r in rows if (r["metric"], r["segment"]) == (metric, None)]


def _effects(rows: Sequence[Mapping[str, Any]], control: str) -> tuple[ArmEffect, ...]:
    """The relative lifts of all arms over control."""
    return tuple(
        ArmEffect(str(r["arm"]), r["estimate"], r["std_error"], _interval(r))
        for r in rows
        if (r["estimand"], r["baseline"]) == ("relative_lift", control)
    )


def _change(rows: Sequence[Mapping[str, Any]], arm: str | None, kind: str) -> Change | None:
    """What an incentive did, of the arm (None: of those who got it)."""
    for r in rows:
        ends = _interval(r)
        if r["estimand"] in HEADLINES and (r["term"], r["arm"]) == (None, arm) and ends is not None:
            return Change(float(r["estimate"]), ends, kind)
    return None


def _interval(row: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = row["ci_low"], row["ci_high"]
    return None if low is None or high is None else (float(low), float(high))
