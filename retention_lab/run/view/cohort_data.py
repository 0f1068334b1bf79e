"""The run of a cohort study in; who is counted in it, who is not, and what to do next, out."""

from __future__ import annotations

from collections.abc import Mapping

from retention_lab.experiment.needs import MISSING_LEVEL
from retention_lab.figures.groups import (
    MOST,
    came_rows,
    has_competing,
    sizes_of,
    survival_rows,
)
from retention_lab.run.view.blocks import Block, Table, Value
from retention_lab.run.view.groups import group_label
from retention_lab.run.view.hero import short_name
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import note_code, note_text
from retention_lab.texts.catalog import texts
from retention_lab.texts.lives import (
    OTHER,
    bounds,
    level_label,
    split_label,
)
from retention_lab.texts.numbers import number

COHORT = "cohort"
SEVERAL = "several_levels"
WON = ("promotion", "acquired", "customers")  # splits that the first screen tells
POOLED = "pooled"
BEYOND = "tau_beyond_follow_up"
EVENTS = "table_events"
VALUES = "table_values"
TABLE = ("table_rows", "table_customers", "table_without_unit")
MOST_NAMED = 8  # of the groups that count as one
MOST_GROUPS = 200  # lines of the table of customers


def splits(source: Source) -> tuple[str, ...]:
    """What customers are split by, the cohorts left out, in the order of the rows."""
    named = ("survival", "rmst_difference", "survival_difference", "incidence_difference")
    found = dict.fromkeys(
        r.segment
        for r in source.results.where(analysis="survival", estimand=named).rows
        if r.segment is not None and r.segment != COHORT
    )
    return tuple(str(name) for name in found)


def told_first(source: Source) -> str | None:
    """The split whose curves stand on the first screen: how customers were won, if it is known."""
    for name in WON:
        levels = {r.level for r in came_rows(source.results, source.spec, name)}
        if 1 < len(levels) <= MOST:
            return name
    return None


def cohort_names(source: Source) -> tuple[str, ...]:
    """The cohorts in the order of time, those that are pooled as well."""
    rows = [r for r in source.results.where(analysis="survival", segment=COHORT).rows if r.level]
    shown = {str(r.level) for r in rows if r.level != OTHER}
    return tuple(sorted(shown | set(merged(source, COHORT))))


def merged(source: Source, segment: str) -> tuple[str, ...]:
    """The groups of a split that count as one."""
    named = {"analysis": "survival", "estimand": "customers", "segment": segment, "level": OTHER}
    for r in source.results.where(**named).rows:
        if note_code(r.note) == POOLED:
            return tuple((r.note or "").partition(": ")[2].partition(": ")[2].split("; "))
    return ()


def last_day(source: Source) -> int:
    """The last day that any curve reaches; 0 without a curve."""
    estimand = "cumulative_incidence" if has_competing(source.spec) else "survival"
    rows = source.results.where(analysis="survival", estimand=estimand).rows
    return max((bounds(r.at)[1] for r in rows if r.estimate is not None), default=0)


def data_blocks(source: Source, tongue: Tongue) -> list[Block]:
    """Who is counted, and who or what was left out."""
    size = sizes_of(source.results, None).get("")
    cohorts, said = cohort_names(source), []
    if size is not None:
        said.append(tongue.say("findings.data_said", n=number(size, 0)))
    if len(cohorts) > 1:
        ends = [level_label(source.spec, c, tongue.language) for c in (cohorts[0], cohorts[-1])]
        words = {"n": number(len(cohorts), 0), "first": ends[0], "last": ends[1]}
        few = merged(source, COHORT)
        if few:
            words |= {"hidden": number(len(few), 0), "other": tongue.say("lives.level.other")}
        said.append(tongue.say(f"findings.data_cohorts{'_more' if few else ''}", **words))
    said.append(tongue.say("findings.data_ends", n=source.spec.privacy.min_cell))
    said += _beyond(source, tongue)
    said += _tables(source, tongue)
    said += _levels(source, tongue)
    said += _several(source, tongue)
    said += _merged(source, tongue)
    lines = []
    for segment in (*splits(source), COHORT):
        label = split_label(source.spec, segment, tongue.language)
        for name, n in sizes_of(source.results, segment).items():
            words = {"name": label, "level": group_label(tongue, name, segment)}
            lines.append((Value(tongue.say("trust.level", **words)), Value(number(n, 0))))
    heads = (tongue.say("lives.group"), tongue.say("table.units"))
    caption, folded = tongue.say("findings.data_table"), tongue.say("findings.show_groups")
    table = Table(caption, heads, tuple(lines[:MOST_GROUPS]), folded)
    out = _left_out(source, tongue) or (tongue.say("quality.out_none"),)
    return [
        Block("", tuple(said), (table,) if lines else ()),
        Block(tongue.say("quality.out_title"), out),
    ]


def next_blocks(source: Source, tongue: Tongue) -> list[Block]:
    """What to do with the findings: which groups to test, and where every number is."""
    reasons = [r.numbers for r in source.verdict.reasons if r.code == "groups_differ"]
    clear = sorted(reasons, key=lambda n: n.get("p") or 0.0)
    if source.verdict.decision == "invalid":
        return []
    said = [tongue.say("findings.next_none")]
    if clear:
        segment = clear[0].get("segment")
        words = {"segment": split_label(source.spec, segment, tongue.language)}
        for key in ("level", "baseline"):
            words[key] = group_label(tongue, clear[0].get(key), segment)
        said = [tongue.say("findings.next_groups", **words)]
    said.append(tongue.say("findings.next_rows"))
    mlflow = source.run.get("mlflow")
    if mlflow:
        words = {"run": str(mlflow.get("run_id")), "experiment": source.spec.name}
        said.append(tongue.say("findings.next_mlflow", **words))
    return [Block("", tuple(said))]


def _beyond(source: Source, tongue: Tongue) -> list[str]:
    """That the file's tau lies beyond what anybody was followed for, and the largest one."""
    for r in survival_rows(source.results, "rmst"):
        if r.arm is None and note_code(r.note) == BEYOND:
            largest = (r.note or "").rpartition(" ")[2]
            return [tongue.say("findings.no_tau", tau=r.at, largest=largest)]
    return []


def _tables(source: Source, tongue: Tongue) -> list[str]:
    """Rows and customers of each table, before the file's conditions, and rows without one."""
    found: dict[str, dict[str, float]] = {}
    events: list[str] = []
    values: dict[str, str] = {}
    for r in source.results.where(analysis="survival", estimand="left_out").rows:
        code, _, of = (r.term or "").partition("/")
        if code in TABLE:
            found.setdefault(of, {})[code] = r.estimate or 0.0
        elif code == EVENTS:
            words = {"of": tongue.metric(of), "n": number(r.estimate, 0)}
            events.append(tongue.say("findings.table_events", **words))
        elif code == VALUES:
            values[of] = number(r.estimate, 0)
    said = []
    for of, numbers in found.items():
        rows, customers, bare = (number(numbers.get(code, 0.0), 0) for code in TABLE)
        words = {"of": short_name(of, tongue), "rows": rows, "customers": customers, "bare": bare}
        key = "table_bare" if TABLE[2] in numbers else "table"
        said.append(tongue.say(f"findings.{key}", **words))
        said += _values(source, of, values, tongue)
    return said + events


def _values(source: Source, ref: str, values: Mapping[str, str], tongue: Tongue) -> list[str]:
    """How many different numbers of events, such as invoices, and levels a table has in all."""
    survival, said = source.spec.survival, []
    ids = [e.id for e in source.spec.data.events.values() if e.table == ref and e.id is not None]
    for column in dict.fromkeys((*ids, *(survival.by if survival is not None else ()))):
        if f"{column}/{ref}" in values:
            label = split_label(source.spec, column, tongue.language)
            words = {"of": short_name(ref, tongue), "n": values[f"{column}/{ref}"]}
            said.append(tongue.say("findings.table_values", column=label, **words))
    return said


def _levels(source: Source, tongue: Tongue) -> list[str]:
    """How many groups each split of the file has, those that are pooled as well."""
    by = source.spec.survival.by if source.spec.survival is not None else ()
    said = []
    for segment in by:
        rows = source.results.where(analysis="survival", segment=segment, estimand="customers").rows
        names = {r.level for r in rows if r.level != OTHER} | set(merged(source, segment))
        label = split_label(source.spec, segment, tongue.language)
        n = number(len(names - {MISSING_LEVEL}), 0)
        said += [tongue.say("findings.levels", segment=label, n=n)] if names else []
    return said


def _merged(source: Source, tongue: Tongue) -> list[str]:
    """Which groups of a split, other than cohorts, count as one, and why."""
    said = []
    for segment in splits(source):
        names = merged(source, segment)
        if not names:
            continue
        labels = [group_label(tongue, name, segment) for name in names[:MOST_NAMED]]
        more = "…" if len(names) > MOST_NAMED else ""
        words = {
            "segment": split_label(source.spec, segment, tongue.language),
            "n": number(len(names), 0),
            "names": tongue.say("comma").join(labels) + more,
            "other": tongue.say("lives.level.other"),
            "least": source.spec.privacy.min_cell,
        }
        said.append(tongue.say("findings.merged", **words))
    return said


def _several(source: Source, tongue: Tongue) -> list[str]:
    """Customers who are in several groups of a split of the file: each counts once."""
    by = source.spec.survival.by if source.spec.survival is not None else ()
    said = []
    for r in source.results.where(analysis="survival", estimand="left_out").rows:
        code, _, of = (r.term or "").partition("/")
        if code == SEVERAL and of in by:
            words = {"n": number(r.estimate, 0), "of": tongue.metric(of)}
            said.append(tongue.say("lives.several_levels", **words))
    return said


def _left_out(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """One sentence for everything that was left out, or is odd, with its number."""
    said = []
    for r in source.results.where(analysis="survival", estimand="left_out").rows:
        code, _, of = (r.term or "").partition("/")
        if code in (SEVERAL, EVENTS, VALUES, *TABLE):
            continue
        key = f"lives.out.{code}"
        words = {"n": number(r.estimate, 0), "of": tongue.metric(of)}
        if key in texts(tongue.language):
            said.append(tongue.say(key, **words))
        else:
            note = note_text(r.note, tongue.language) or code
            said.append(tongue.say("lives.out.other", note=note, **words))
    return tuple(said)
