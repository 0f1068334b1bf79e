"""A folder of reports in; its start page, one a language, out."""

from __future__ import annotations

import dataclasses
import re
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
from retention_lab.run.view.decisive import because as weightiest
from retention_lab.run.view.decisive import decisive
from retention_lab.run.view.findings import is_study, short, state_of
from retention_lab.texts import LANGUAGES, kind_of, label, metric_label, plain, say, texts
from retention_lab.texts.incentive import (
    because,
    decided,
    is_offer,
    quoted,
    ratio_measure,
    round_number,
    told_reason,
)
from retention_lab.texts.numbers import Measure, measure, moment_text

MESSAGE = 400  # characters of an error that the page shows
NAMES = {"en": "index.html", "zh": "index.zh.html"}


@dataclasses.dataclass(frozen=True, slots=True)
class Effect:
    """What decided: of what, how much, and where its interval lies on a line from 0 to 100.

    `mark` says in words what lies at `zero`: no difference, or the least that is wanted.
    """

    of: str
    text: str
    start: float
    end: float
    dot: float
    zero: float
    mark: str


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
    listed = [(name, list(folders)) for name, folders in grouped]
    found = [
        _experiment(name, folders, language, skipped.get(name, ""))
        for name, folders in listed
        if not _gone(folders)
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


def _gone(folders: Sequence[Path]) -> bool:
    """Whether nothing is left of an experiment but failures: its file is no longer there."""
    if any(_run(folder).get("status") in ("finished", "running") for folder in folders):
        return False
    newest = max(folders, key=lambda p: p.name)
    run = _run(newest)
    if not run.get("root") or not run.get("file"):
        return False
    return not (newest / str(run["root"]) / str(run["file"])).is_file()


def _skip(noted: Mapping[str, Any], language: str) -> str:
    message = _why_skipped(noted, language)
    return say(language, "index.not_run", date=moment_text(noted["at"], language), message=message)


def _why_skipped(noted: Mapping[str, Any], language: str) -> str:
    """Why it was skipped, and of a dataset, what says how to get it."""
    message = _shortened(noted["message"])
    named = re.search(r"dataset '([\w-]+)'", message)
    if named is None:
        return message
    return say(language, "index.get_data", message=message, name=named[1])


def _never_run(name: str, noted: Mapping[str, Any], language: str) -> Experiment:
    """An experiment of which there is nothing but the reason why it was skipped."""
    word, date = say(language, "index.skipped_no_data"), moment_text(noted["at"], language)
    line = RunLine(name, "skipped_no_data", word, date, _why_skipped(noted, language), (), "")
    title = plain(str(noted["title"].get(language) or name))
    return Experiment(name, title, "", line, "", None, "", "", ())


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
    elif verdict is not None and decided(verdict) and _about_offer(folder):
        key = f"decision.offer.{state}"
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


def _about_offer(folder: Path) -> bool:
    spec = _spec(folder)
    return spec is not None and is_offer(spec)


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
    if decided(verdict):
        return because(verdict, spec, language, command=is_offer(spec))
    return weightiest(verdict, spec, language)


def _effect(verdict: Verdict, spec: Spec, language: str) -> Effect | None:
    """The effect that decided, with the places of its interval; None where there is none."""
    if decided(verdict):
        return _brought(verdict, spec, language)
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
    relative = estimate == n.get("lift") and low == n.get("lift_low")
    of = say(language, "index.effect_of_relative" if relative else "index.effect_of", **words)
    mark = say(language, "figure.no_difference")
    return _placed(of, text, (low, estimate, high), 0.0, mark)


def _brought(verdict: Verdict, spec: Spec, language: str) -> Effect | None:
    """What a dollar of an incentive brought beside the least that is wanted, else its effect."""
    told = told_reason(verdict)
    if told is None or verdict.decision == "invalid":
        return None
    n = told.numbers
    by_ratio = n.get("ratio_low") is not None
    names = ("ratio", "ratio_low", "ratio_high") if by_ratio else ("estimate", "ci_low", "ci_high")
    estimate, low, high = (n.get(name) for name in names)
    if estimate is None or low is None or high is None:
        return None
    kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
    shown = ratio_measure(low, high) if by_ratio else measure("difference", kind, low, high)
    least = float(n.get("min_roi") or 0.0) if by_ratio else 0.0
    arm = quoted(spec, n.get("arm"), language)
    words = {"metric": metric_label(spec, n.get("metric"), language), "arm": arm}
    wanted = say(language, "incentive.index_wanted", least=round_number(least))
    mark = wanted if by_ratio else say(language, "figure.no_difference")
    of = say(language, "incentive.index_of" if by_ratio else "incentive.index_effect", **words)
    ends = {"low": shown.bare(low), "high": shown.bare(high)}
    text = say(language, "figure.value", estimate=shown.text(estimate, language), **ends)
    return _placed(of, text, (low, estimate, high), least, mark)


def _placed(
    of: str, text: str, values: tuple[float, float, float], zero: float, mark: str
) -> Effect:
    """An effect with the places of its interval and of `zero` on a line from 0 to 100."""
    low, estimate, high = values
    left, right = min(low, zero), max(high, zero)
    span = (right - left) or 1.0

    def place(value: float) -> float:
        return round(5.0 + 90.0 * float((value - left) / span), 1)

    return Effect(of, text, place(low), place(high), place(estimate), place(zero), mark)


def _numbers(reason: Reason, spec: Spec) -> tuple[Measure, tuple[Any, Any, Any]]:
    n = reason.numbers
    kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
    by_lift = n.get("margin") is None and n.get("lift") is not None
    if by_lift and n.get("lift_low") is not None:
        low, high = n["lift_low"], n["lift_high"]
        return measure("lift", kind, low, high), (n["lift"], low, high)
    low, high = n.get("ci_low"), n.get("ci_high")
    return measure("difference", kind, low, high), (n.get("estimate"), low, high)
