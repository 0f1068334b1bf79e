"""The run of a cohort study in; its report, a first screen and sections, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from markupsafe import Markup

from retention_lab.figures import survival_plot
from retention_lab.figures.groups import MOST, has_competing, sizes_of, survival_rows
from retention_lab.multiplicity import SIMULTANEOUS
from retention_lab.results import Row
from retention_lab.run.view.cohort_data import cohort_names, last_day, splits, told_first
from retention_lab.run.view.cohort_parts import Section, sections
from retention_lab.run.view.findings import (
    STATE,
    counted_between,
    described,
    headline,
    per,
    state_of,
)
from retention_lab.run.view.groups import (
    difference_text,
    differences,
    is_clear,
    name_of,
    share_gaps,
    share_text,
    shares_text,
)
from retention_lab.run.view.hero import short_name
from retention_lab.run.view.model import Draw
from retention_lab.run.view.record import Method
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import level_of, note_code, reason_text
from retention_lab.texts.lives import OTHER, cause_label, deed_first, level_label, split_label
from retention_lab.texts.numbers import chance, date_text, number, p_text, share

MOST_SAID = 2
METHODS = {
    "survival": "survival",
    "rmst": "rmst",
    "log_rank": "log_rank",
    "hazard": "hazard",
    "incidence": "cumulative_incidence",
    "repeats": "mean_cumulative",
    "cox": "log_hazard_ratio",
    "triangle": "retention",
}


@dataclasses.dataclass(frozen=True, slots=True)
class First:
    """The words and the figure of the first screen."""

    state: str
    badge: str
    headline: str
    because: str
    sure: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    found: tuple[str, ...]
    figure: Markup


@dataclasses.dataclass(frozen=True, slots=True)
class Study:
    """The report of a cohort study."""

    first: First
    sections: tuple[Section, ...]
    methods: tuple[Method, ...]


def study(source: Source, tongue: Tongue, draw: Draw) -> Study:
    return Study(
        first(source, tongue, draw), sections(source, tongue, draw), methods(source, tongue)
    )


def first(source: Source, tongue: Tongue, draw: Draw) -> First:
    """The share that came back, how sure that is, what it rests on, and the curves."""
    state = state_of(source.verdict)
    if state == "keep_running":
        state = STATE
    told = told_first(source)
    split = told or next(iter(splits(source)), None)
    compare = share_gaps if has_competing(source.spec) else differences
    rows = compare(source, split) if split else ()
    rows = tuple(r for r in rows if OTHER not in (r.level, r.baseline))
    clearest = sorted(rows, key=lambda r: (not is_clear(r, source.spec), r.p_value or 0.0))
    clearest = clearest[:MOST_SAID]
    if len(rows) > MOST:
        clearest = []
    language = tongue.language
    return First(
        state,
        tongue.say(f"decision.{state}"),
        headline(source.verdict, source.spec, language),
        tongue.joined(_groups(source, tongue, told, clearest)),
        _sure(source, tongue, clearest),
        _facts(source, tongue),
        _found(source, tongue),
        draw("lives", survival_plot, segment=told),
    )


def _groups(source: Source, tongue: Tongue, told: str | None, rows: Sequence[Row]) -> Sequence[str]:
    """How customers won in different ways differ: in shares, else in days."""
    known = [r for r in rows if r.p_value is not None]
    if known and not any(is_clear(r, source.spec) for r in rows):
        segment = split_label(source.spec, rows[0].segment, tongue.language)
        return [tongue.say("findings.no_difference", segment=segment, day=rows[0].at)]
    if has_competing(source.spec):
        return [said for r in rows if (said := share_text(source, tongue, r))]
    if rows or told is None:
        gaps = {name_of(r): r for r in share_gaps(source, told)}
        own = [gaps[name_of(r)] for r in rows if name_of(r) in gaps]
        shares = [said for r in own if (said := share_text(source, tongue, r))]
        return shares or [difference_text(tongue, r, source) for r in rows]
    return shares_text(source, tongue, told)[:MOST_SAID]


def _sure(source: Source, tongue: Tongue, rows: list[Row]) -> tuple[str, ...]:
    """The interval of the first number, chance for the groups, and that this is no experiment."""
    if source.verdict.decision == "invalid":
        return (tongue.say("findings.invalid"),)
    reason = described(source.verdict)
    n = dict(reason.numbers) if reason is not None else {}
    low, high, part = n.get("ci_low"), n.get("ci_high"), n.get("share")
    said = []
    if low is not None and high is not None and part is not None:
        ends = counted_between(low, high, part)
        rare = per(part)[0] != 100
        key = "findings.between_rare" if rare else "findings.between"
        words = {"low": ends[0], "high": ends[1], "level": level_of(source.spec)}
        said.append(tongue.say(key, **words))
    for r in rows[:1]:
        p = r.p_value if r.p_adjusted is None else r.p_adjusted
        if p is not None:
            words = {"chance": chance(p, tongue.language), "p": p_text(p)}
            said.append(tongue.say("findings.luck", **words))
    if rows or splits(source):
        said.append(tongue.say("findings.observed"))
    return tuple(said) or (tongue.say("findings.none"),)


def _found(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """Every reason of the verdict, and after how many days some shares came back."""
    reasons = source.verdict.reasons
    said = [reason_text(r, source.spec, tongue.language, reasons) for r in reasons]
    for r in survival_rows(source.results, "survival_quantile"):
        if r.arm is not None or r.term is None:
            continue
        try:
            part = share(float(r.term)).replace(".0%", "%")
        except ValueError:
            continue
        words = {"share": part, "deed": deed_first(source.spec, tongue.language)}
        if r.estimate is None:
            if note_code(r.note) == "not_reached":
                days = number(last_day(source), 0)
                said.append(tongue.say("findings.quantile_not", days=days, **words))
            break
        days = number(r.estimate, 0)
        said.append(tongue.say("findings.quantile", days=days, **words))
    return tuple(dict.fromkeys(said))


def _facts(source: Source, tongue: Tongue) -> tuple[tuple[str, str], ...]:
    say, language = tongue.say, tongue.language
    facts = []
    size = sizes_of(source.results, None).get("")
    if size is not None:
        facts.append((say("rests.units"), number(size, 0)))
    cohorts = cohort_names(source)
    if len(cohorts) > 1:
        ends = [level_label(source.spec, name, language) for name in (cohorts[0], cohorts[-1])]
        words = {"n": number(len(cohorts), 0), "first": ends[0], "last": ends[1]}
        facts.append((say("findings.cohorts"), say("findings.cohorts_value", **words)))
    survival = source.spec.survival
    if survival is not None:
        words = {"event": cause_label(source.spec, None, language)}
        key = "findings.counts_value"
        if survival.competing:
            others = [cause_label(source.spec, c, language) for c in survival.competing]
            words["others"] = say("comma").join(say("lives.quoted", name=o) for o in others)
            key = "findings.counts_first"
        facts.append((say("findings.start"), _start(tongue)))
        facts.append((say("findings.counts"), say(key, **words)))
    last = last_day(source)
    if last:
        as_of = source.spec.data.as_of
        key = "findings.followed_until" if as_of else "findings.followed_value"
        words = {"n": number(last, 0), "date": date_text(as_of, language)}
        facts.append((say("findings.followed"), say(key, **words)))
    refs = dict.fromkeys(str(i.get("ref", "")) for i in source.run.get("inputs") or [])
    if refs:
        short = dict.fromkeys(short_name(ref, tongue) for ref in refs)
        facts.append((say("rests.data"), say("comma").join(short)))
    return tuple(facts)


def _start(tongue: Tongue) -> str:
    survival = tongue.spec.survival
    if survival is None or survival.origin == "exposure":
        return tongue.say("findings.start_exposure")
    if survival.first is not None:
        words = {"event": tongue.metric(survival.first)}
        if survival.existing and not isinstance(survival.existing, bool):
            day = date_text(survival.existing, tongue.language)
            return tongue.say("findings.start_known", date=day, **words)
        return tongue.say("findings.start_first", **words)
    return tongue.say("findings.start_column", column=tongue.metric(survival.origin))


def methods(source: Source, tongue: Tongue) -> tuple[Method, ...]:
    """What an interval means, and the methods that this run used."""
    words = {"level": level_of(source.spec)}
    title, text = tongue.say("methods.interval_title"), tongue.say("findings.interval", **words)
    return (Method(title, text, ""), *survival_methods(source, tongue))


def survival_methods(source: Source, tongue: Tongue) -> tuple[Method, ...]:
    """The methods of survival that this run used; retention has no source to cite."""
    rows = source.results.where(analysis="survival").rows
    estimands = {r.estimand for r in rows}
    used = [key for key, estimand in METHODS.items() if estimand in estimands]
    used += ["groups_together"] if any(SIMULTANEOUS in (r.method or "") for r in rows) else []
    return tuple(
        Method(
            tongue.say(f"methods.{key}_title"),
            tongue.say(f"methods.{key}"),
            "" if key == "triangle" else tongue.say(f"methods.{key}_source"),
        )
        for key in used
    )
