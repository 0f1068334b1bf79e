"""A run in; how its effect went day by day, in words and figures, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from retention_lab.figures.novelty import age_rows
from retention_lab.figures.paths import course_rows, first_clear
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, against_control
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import note_text
from retention_lab.texts.numbers import date_text, p_text

Draw = Callable[[str, str], Markup]  # a figure's name and the metric -> the figure
NOVEL = 0.05
LEFT_OUT = ("no_ages", "not_by_unit")


def course(source: Source, tongue: Tongue, path: Draw, daily: Draw) -> Block | None:
    """The effect of every primary metric in time; None where no day of entry is known."""
    said: list[str] = []
    figures, folded = [], []
    for i, metric in enumerate(source.spec.primary, 1):
        if course_rows(source.results, "sequential_difference", metric):
            said += _path(source, tongue, metric)
            figures.append(path(f"path-{i}", metric))
        if course_rows(source.results, "daily_difference", metric):
            said += _days(source, tongue, metric)
            folded.append(daily(f"daily-{i}", metric))
    if not figures and not folded:
        return None
    sequential = bool(source.spec.inference.sequential)
    first = tongue.say("course.sequential" if sequential else "course.fixed")
    return Block(
        tongue.say("course.title"),
        (first, *said),
        figures=tuple(figures),
        folded=tuple(folded),
        folded_title=tongue.say("course.show_days"),
    )


def ages(source: Source, tongue: Tongue, draw: Draw) -> Block | None:
    """The effect of every primary metric by days since entering; None where there is none."""
    said: list[str] = []
    folded = []
    for i, metric in enumerate(source.spec.primary, 1):
        rows = against_control(source, estimand="novelty_slope", metric=metric)
        said += _trends(source, tongue, metric, [r for r in rows if r.p_value is not None])
        left_out = next((r.note for r in rows if (r.note or "").startswith(LEFT_OUT)), None)
        if left_out is not None:
            note = note_text(left_out, tongue.language)
            said.append(tongue.say("course.ages_left_out", metric=tongue.metric(metric), note=note))
        if age_rows(source.results, "day_difference", metric):
            folded.append(draw(f"novelty-{i}", metric))
    if not said and not folded:
        return None
    return Block(
        tongue.say("course.ages"),
        tuple(said),
        folded=tuple(folded),
        folded_title=tongue.say("course.show_ages"),
    )


def _trends(source: Source, tongue: Tongue, metric: str, slopes: Sequence[Row]) -> list[str]:
    """One sentence an arm: whether the effect changes with the days since entering."""
    said = []
    for r in slopes:
        key = "course.lasts"
        if (r.p_value or 0.0) < NOVEL / len(slopes):
            whole = age_rows(source.results, "cumulative_difference", metric).get(str(r.arm), ())
            clear = first_clear(whole[-1:])
            if clear is None:
                key = "course.turns"
            else:
                fades = (r.estimate or 0.0) * (clear.estimate or 0.0) < 0
                key = "course.fades" if fades else "course.builds"
        words = {"metric": tongue.metric(metric), "arm": tongue.arm(r.arm), "p": p_text(r.p_value)}
        said.append(tongue.say(key, **words))
    return said


def _path(source: Source, tongue: Tongue, metric: str) -> list[str]:
    """One sentence an arm: on which day the band left no difference."""
    said = []
    for arm, rows in course_rows(source.results, "sequential_difference", metric).items():
        clear = first_clear(rows)
        words = {"metric": tongue.metric(metric), "arm": tongue.arm(arm)}
        bounded = any(r.ci_low is not None for r in rows)
        key = "course.clear" if clear else "course.unclear" if bounded else "course.early"
        date = date_text(clear.at if clear else None, tongue.language)
        said.append(tongue.say(key, date=date, **words))
    return said


def _days(source: Source, tongue: Tongue, metric: str) -> list[str]:
    """Whether the effect differs between days of entry; one sentence for arms that agree."""
    rows = against_control(source, estimand="heterogeneity", metric=metric, segment=None)
    known = [r for r in rows if r.p_value is not None]
    said = []
    for r in known:
        differs = (r.p_value or 0.0) < NOVEL / len(known)
        words = {"metric": tongue.metric(metric), "arm": tongue.arm(r.arm), "p": p_text(r.p_value)}
        said.append(tongue.say("course.novel" if differs else "course.steady", **words))
    return said
