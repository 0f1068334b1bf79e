"""A learning log and a language in; the part of the start page that shows it, as HTML, out."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote

from markupsafe import Markup

from retention_lab.experiment.spec import Translated
from retention_lab.learning.families import Family, Learnt
from retention_lab.learning.lessons import Lesson
from retention_lab.learning.log import Log
from retention_lab.learning.words import word
from retention_lab.texts import plain, say
from retention_lab.texts.numbers import DASH, Measure, date_text, measure

SCRIPT = """
(function () {
  var box = document.getElementById("log-search");
  var rows = document.querySelectorAll("#log tbody tr");
  var none = document.getElementById("log-none");
  box.parentNode.hidden = false;
  box.addEventListener("input", function () {
    var wanted = box.value.toLowerCase().split(/\\s+/);
    var shown = 0;
    rows.forEach(function (row) {
      var fits = wanted.every(function (w) { return row.dataset.search.includes(w); });
      row.style.display = fits ? "" : "none";
      shown += fits ? 1 : 0;
    });
    none.hidden = shown > 0;
  });
})();
"""
SCRIPT_SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
"""What a page's Content-Security-Policy must allow as script-src for the search to work."""


def table(log: Log, language: str) -> Markup:
    """A section with the lessons, searchable, and the families; empty where nothing was learnt.

    Whatever a file says is escaped. Without scripts the search field stays hidden, and the rest
    is there. Styles: the classes of the start page's own table.
    """
    if not log.lessons:
        return Markup()
    rows = Markup().join(_row(log, lesson, language) for lesson in log.lessons)
    heads = ("index.experiment", "index.verdict", "family", "effect", "worth", "index.date")
    head = Markup().join(
        Markup('<th scope="col">{}</th>').format(
            say(language, h) if h.startswith("index.") else word(language, h)
        )
        for h in heads
    )
    return Markup(
        '<section class="learnt"><h2>{title}</h2><p class="question">{lead}</p>'
        '<div class="card"><p hidden><label for="log-search">{search}</label> '
        '<input id="log-search" type="search" size="56" placeholder="{hint}" autocomplete="off">'
        '</p><table class="wide index" id="log"><caption class="unseen">{caption}</caption>'
        "<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        '<p id="log-none" role="status" hidden>{none}</p></div>{families}</section>'
        "<script>{script}</script>"
    ).format(
        **{key: word(language, key) for key in ("title", "lead", "search", "hint", "caption")},
        none=word(language, "none"),
        head=head,
        rows=rows,
        families=_families(log, language),
        script=Markup(SCRIPT),  # noqa: S704 - our own text
    )


def _row(log: Log, lesson: Lesson, language: str) -> Markup:
    return Markup(
        '<tr data-search="{search}"><th scope="row"><a class="title" href="{href}">{title}</a>'
        '<span class="note">{question}</span></th>'
        '<td data-label="{verdict_head}"><span class="badge {verdict}">{decision}</span></td>'
        '<td class="family" data-label="{family_head}">{family}</td>'
        '<td class="effect" data-label="{effect_head}"><span><span class="figures-text">{effect}'
        '</span><span class="note">{of}</span></span></td>'
        '<td data-label="{worth_head}">{worth}</td>'
        '<td data-label="{date_head}" class="date">{date}</td></tr>'
    ).format(
        search=_searched(lesson),
        href=quote(f"{lesson.run}/report.{_report(lesson, language)}.html"),
        title=plain(lesson.title.get(language)),
        question=plain(lesson.question.get(language)),
        verdict=lesson.verdict,
        decision=say(language, _decision(lesson)),
        family=plain(lesson.word(lesson.family, language)) or DASH,
        effect=_effect(lesson, language),
        of=_of(lesson, language),
        worth=_worth(log.worth(lesson), language),
        date=date_text(lesson.when, language),
        verdict_head=say(language, "index.verdict"),
        family_head=word(language, "family"),
        effect_head=word(language, "effect"),
        worth_head=word(language, "worth"),
        date_head=say(language, "index.date"),
    )


def _decision(lesson: Lesson) -> str:
    if lesson.ended:
        return "decision.ended"
    return f"decision.offer.{lesson.verdict}" if lesson.offer else f"decision.{lesson.verdict}"


def _report(lesson: Lesson, language: str) -> str:
    """The language of the report to open: this one, or the first that there is."""
    return language if language in lesson.languages else lesson.languages[0]


def _searched(lesson: Lesson) -> str:
    """Everything that one may look for, in both languages, in small letters."""
    texts: list[Translated] = [lesson.title, lesson.question, *lesson.words.values()]
    names = [lesson.experiment, lesson.family, lesson.metric, *(a.arm for a in lesson.arms)]
    said = [say(language, _decision(lesson)) for language in ("en", "zh")]
    both = [text.get(language) for text in texts for language in ("en", "zh")]
    return plain(" ".join(dict.fromkeys(x for x in [*names, *said, *both] if x))).lower()


def _of(lesson: Lesson, language: str) -> str:
    metric = plain(lesson.word(lesson.metric, language))
    if lesson.metric is None or lesson.arm is None:
        return metric if lesson.change is not None else ""
    words = {"metric": metric, "arm": plain(lesson.word(lesson.arm, language))}
    return say(language, "index.effect_of", **words)


def _effect(lesson: Lesson, language: str) -> str:
    """The lift over control, else the change in the metric's own unit."""
    if lesson.change is None:
        return _lift(lesson.lift, lesson.ci, language)
    shown = measure("difference", lesson.change.kind, *lesson.change.ci)
    return _interval_text(shown, lesson.change.estimate, lesson.change.ci, language)


def _lift(lift: float | None, ci: tuple[float, float] | None, language: str) -> str:
    if lift is None:
        return DASH
    if ci is None:
        return measure("lift").text(lift, language)
    return _interval_text(measure("lift", "mean", *ci), lift, ci, language)


def _interval_text(shown: Measure, x: float, ci: tuple[float, float], language: str) -> str:
    low, high = shown.bare(ci[0]), shown.bare(ci[1])
    return say(language, "figure.value", estimate=shown.text(x, language), low=low, high=high)


def _worth(found: Learnt | None, language: str) -> str:
    return DASH if found is None else _lift(found.worth, (found.low, found.high), language)


def _families(log: Log, language: str) -> Markup:
    if not log.families:
        return Markup()
    heads = [word(language, k) for k in ("family", "metric", "tests", "mean", "next")]
    head = Markup().join(Markup('<th scope="col">{}</th>').format(h) for h in heads)
    rows = Markup().join(_family(log, family, heads, language) for family in log.families)
    return Markup(
        '<div class="card"><h3>{title}</h3><table class="wide"><caption>{caption}</caption>'
        "<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        '<p class="note">{about}</p></div>'
    ).format(
        title=word(language, "families"),
        caption=word(language, "families_caption"),
        head=head,
        rows=rows,
        about=word(language, "about"),
    )


def _tests(family: Family, language: str) -> str:
    """How many experiments stand behind a mean, and how many arms where these are more."""
    n, arms = family.pooled.k, len(family.effects)
    return word(language, "over").format(n=n, arms=arms) if arms > n else str(n)


def _family(log: Log, family: Family, heads: list[str], language: str) -> Markup:
    p = family.pooled
    member = next(x for x in log.lessons if x.experiment in family.experiments)
    ends = None if p.low is None or p.high is None else (p.low, p.high)
    following = word(language, "few")
    if p.predict_low is not None and p.predict_high is not None:
        shown = measure("lift", "mean", p.predict_low, p.predict_high)
        low, high = shown.ends(p.predict_low, p.predict_high, language)
        following = f"{low}{say(language, 'to')}{high}"
    cells = [
        plain(member.word(family.metric, language)),
        _tests(family, language),
        _lift(p.mean, ends, language),
        following,
    ]
    parts = Markup().join(
        Markup('<td data-label="{}">{}</td>').format(h, c)
        for h, c in zip(heads[1:], cells, strict=True)
    )
    name = plain(member.word(family.name, language))
    return Markup('<tr><th scope="row">{}</th>{}</tr>').format(name, parts)
