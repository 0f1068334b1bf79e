"""A folder of reports in; its start page, one a language, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from retention_lab.errors import LabError
from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason, Verdict
from retention_lab.run.folder import (
    changed_text,
    list_runs,
    read_run,
    skips,
    spec_of,
    write_atomically,
)
from retention_lab.run.html import page
from retention_lab.run.view.decisive import because_key, decisive
from retention_lab.run.view.findings import is_study, short, state_of
from retention_lab.texts import LANGUAGES, kind_of, label, metric_label, plain, say, texts
from retention_lab.texts.numbers import Measure, measure, moment_text

MESSAGE = 400  # characters of an error that the page shows
NAMES = {"en": "index.html", "zh": "index.zh.html"}


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """What decided: of what, how much, and where its interval lies on a line from 0 to 100."""

    of: str
    text: str
    start: float
    end: float
    dot: float
    zero: float


@dataclasses.dataclass(frozen=True, slots=True)
class RunLine:
    """One run as the index shows it; `state` is a decision, or a status without a result.

    `changed` says which values ``--set`` changed; it is empty for a run of the file as written.
    """

    folder: str
    state: str
    word: str
    date: str
    message: str
    reports: tuple[tuple[str, str], ...]
    notebook: str
    changed: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment: its latest verdict (or failure), what came after it, and its other runs.

    The latest is of the file as written; `skipped` says why it was not run since.
    """

    name: str
    title: str
    arm: str
    latest: RunLine
    because: str
    effect: Effect | None
    later: str
    skipped: str
    older: tuple[RunLine, ...]


def write_index(reports: Path) -> Path:
    """Write ``index.html`` and ``index.zh.html`` into `reports`; returns the English one.

    Reads run.json, verdict.json and spec.yaml of the runs; a folder that cannot be read is
    listed as such. Raises OSError where `reports` cannot be written.
    """
    reports = Path(reports)
    reports.mkdir(parents=True, exist_ok=True)
    for language in LANGUAGES:
        write_atomically(reports / NAMES[language], index_html(reports, language))
    return reports / NAMES["en"]


def index_html(reports: Path, language: str) -> str:
    """The start page of `reports` in `language`: the experiments, and what was learnt."""
    from retention_lab.learning import SCRIPT_SOURCE, log, table

    runs = sorted(list_runs(reports), key=lambda p: p.parent.name)
    grouped = groupby(runs, key=lambda p: p.parent.name)
    skipped = {n: _skip(noted, language) for n, noted in skips(reports).items()}
    found = [
        _experiment(name, list(folders), language, skipped.get(name, ""))
        for name, folders in grouped
    ]
    found.sort(key=lambda e: e.latest.folder.rsplit("/", 1)[-1], reverse=True)
    known = {e.name for e in found}
    found += [
        _never_run(name, skips(reports)[name], language) for name in skipped if name not in known
    ]
    learnt = table(log(reports), language)
    return page(
        "index.html.j2",
        language,
        SCRIPT_SOURCE if learnt else "",
        learnt=learnt,
        experiments=found,
        others=[(NAMES[other], other) for other in LANGUAGES if other != language],
    )


def _skip(noted: Mapping[str, str], language: str) -> str:
    words = {"date": moment_text(noted["at"], language), "message": _shortened(noted["message"])}
    return say(language, "index.not_run", **words)


def _never_run(name: str, noted: Mapping[str, str], language: str) -> Experiment:
    """An experiment of which there is nothing but the reason why it was skipped."""
    word, date = say(language, "index.skipped_no_data"), moment_text(noted["at"], language)
    line = RunLine(name, "skipped_no_data", word, date, _shortened(noted["message"]), (), "")
    return Experiment(name, name, "", line, "", None, "", "", ())


def _experiment(name: str, folders: Iterable[Path], language: str, skipped: str = "") -> Experiment:
    newest = sorted(folders, key=lambda p: p.name, reverse=True)
    lines = [_line(folder, language) for folder in newest]
    decided = _latest(newest, lines)
    folder, latest = newest[decided], lines[decided]
    spec = _spec(folder)
    verdict = _verdict(folder)
    after = None if lines[decided].changed else _first_written(lines[:decided])
    return Experiment(
        name,
        plain(spec.title.get(language)) if spec else plain(str(_run(folder).get("title") or name)),
        label(spec, verdict.arm, language) if spec and verdict and verdict.arm else "",
        latest,
        _because(verdict, spec, language) if verdict and spec else "",
        _effect(verdict, spec, language) if verdict and spec else None,
        _later(after, language) if after else "",
        skipped,
        tuple(line for i, line in enumerate(lines) if i != decided),
    )


def _later(line: RunLine, language: str) -> str:
    """What came after the latest verdict: a run that goes on, or one without a result."""
    if line.state == "running":
        return say(language, "index.in_progress", date=line.date)
    if not line.message:
        return say(language, "index.later_status", date=line.date, status=line.word)
    return say(language, "index.later", date=line.date, status=line.word, message=line.message)


def _latest(newest: Sequence[Path], lines: Sequence[RunLine]) -> int:
    """Which run stands for the experiment: the latest verdict on the file as written, if any."""
    written = [i for i, line in enumerate(lines) if not line.changed]
    decided = [i for i, folder in enumerate(newest) if _has_verdict(folder)]
    return next(iter([i for i in decided if i in written] or written or decided or [0]))


def _first_written(lines: Sequence[RunLine]) -> RunLine | None:
    return next((line for line in lines if not line.changed), None)


def _run(folder: Path) -> dict[str, Any]:
    try:
        return read_run(folder)
    except LabError as error:
        return {"status": "unreadable", "error": {"message": str(error)}}


def _verdict(folder: Path) -> Verdict | None:
    try:
        verdict = Verdict.load(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return verdict if f"decision.{verdict.decision}" in texts("en") else None


def _has_verdict(folder: Path) -> bool:
    return _run(folder).get("status") == "finished" and _verdict(folder) is not None


def _spec(folder: Path) -> Spec | None:
    try:
        return spec_of(folder)
    except (LabError, OSError, ValueError, KeyError):
        return None


def _line(folder: Path, language: str) -> RunLine:
    run = _run(folder)
    status = str(run.get("status"))
    verdict = _verdict(folder) if status == "finished" else None
    state = state_of(verdict) if verdict else status
    key = f"decision.{state}" if verdict else f"index.{state}"
    if verdict is not None and verdict.ended:
        key = "decision.ended"
    here = f"{folder.parent.name}/{folder.name}"
    pages = [
        (lang, quote(f"{here}/report.{lang}.html"))
        for lang in sorted(LANGUAGES, key=lambda lang: lang != language)
        if (folder / f"report.{lang}.html").is_file()
    ]
    unfinished = verdict is None and (folder / "notebook.ipynb").is_file()
    return RunLine(
        here,
        state,
        say(language, key) if key in texts(language) else plain(state),
        moment_text(run.get("started") or folder.name, language),
        _message(run) if verdict is None else "",
        tuple(pages),
        quote(f"{here}/notebook.ipynb") if unfinished else "",
        plain(changed_text(run)),
    )


def _message(run: Mapping[str, Any]) -> str:
    error = run.get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    return _shortened(str(message or run.get("message") or ""))


def _shortened(message: str) -> str:
    text = plain(message)
    return text if len(text) <= MESSAGE else text[:MESSAGE] + "…"


def _because(verdict: Verdict, spec: Spec, language: str) -> str:
    """Why nothing was shipped, or what a cohort study found, in one sentence."""
    if is_study(spec):
        return short(verdict, spec, language)
    reasons = decisive(verdict)
    if not reasons or verdict.decision == "ship":
        return ""
    numbers = reasons[0].numbers
    words = {
        "metric": metric_label(spec, numbers.get("metric"), language),
        "arm": label(spec, numbers.get("arm"), language),
    }
    return say(language, because_key(verdict, reasons[0]), **words)


def _effect(verdict: Verdict, spec: Spec, language: str) -> Effect | None:
    """The effect that decided, with the places of its interval; None where there is none."""
    reason = next((r for r in decisive(verdict) if r.numbers.get("estimate") is not None), None)
    if reason is None or verdict.decision == "invalid":
        return None
    n = reason.numbers
    shown, (estimate, low, high) = _numbers(reason, spec)
    if estimate is None or low is None or high is None:
        return None
    ends = {"low": shown.bare(low), "high": shown.bare(high)}
    text = say(language, "figure.value", estimate=shown.text(estimate, language), **ends)
    words = {
        "metric": metric_label(spec, n.get("metric"), language),
        "arm": label(spec, n.get("arm"), language),
    }
    left, right = min(low, 0.0), max(high, 0.0)
    span = (right - left) or 1.0

    def place(value: float) -> float:
        return round(5.0 + 90.0 * float((value - left) / span), 1)

    relative = estimate == n.get("lift") and low == n.get("lift_low")
    of = say(language, "index.effect_of_relative" if relative else "index.effect_of", **words)
    return Effect(of, text, place(low), place(high), place(estimate), place(0.0))


def _numbers(reason: Reason, spec: Spec) -> tuple[Measure, tuple[Any, Any, Any]]:
    n = reason.numbers
    kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
    by_lift = n.get("margin") is None and n.get("lift") is not None
    if by_lift and n.get("lift_low") is not None:
        low, high = n["lift_low"], n["lift_high"]
        return measure("lift", kind, low, high), (n["lift"], low, high)
    low, high = n.get("ci_low"), n.get("ci_high")
    return measure("difference", kind, low, high), (n.get("estimate"), low, high)
