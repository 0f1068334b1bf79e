"""The folder of a finished run in; its report, one page a language, and its figures out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from retention_lab.figures import (
    arms_plot,
    daily_plot,
    effect_plot,
    novelty_plot,
    path_plot,
    segment_plot,
    split_plot,
)
from retention_lab.figures.effects import DIFFERENCES, Estimand, arms_of
from retention_lab.figures.style import blank_axes
from retention_lab.figures.svg import standalone, svg_text
from retention_lab.run.folder import changed_text, write_atomically
from retention_lab.run.html import drawing, page
from retention_lab.run.view.arms import arm_blocks
from retention_lab.run.view.cohort import study, survival_methods
from retention_lab.run.view.course import ages, course
from retention_lab.run.view.findings import is_study
from retention_lab.run.view.hero import by_difference, focus_of, hero
from retention_lab.run.view.incentive import caption, in_test, ledger_figure, offer, offer_methods
from retention_lab.run.view.lives import lives
from retention_lab.run.view.quality import quality
from retention_lab.run.view.record import methods, record
from retention_lab.run.view.remarked import ENTERED, remarked
from retention_lab.run.view.source import Source, Tongue
from retention_lab.run.view.tables import SegmentTable, metric_tables, segment_tables
from retention_lab.run.view.trust import trust
from retention_lab.texts import level_of, plain
from retention_lab.texts.incentive import is_offer
from retention_lab.texts.numbers import moment_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from retention_lab.run.compare import Comparison

MOST_FIGURES = 12
WHO = ("sample_ratio_mismatch", "covariate_differs", "no_arm")


def write_reports(folder: Path) -> list[Path]:
    """Write ``report.<language>.html`` and ``figures/*.svg`` into the run's `folder`.

    Reads only the folder: spec.yaml and run.json, results.parquet, verdict.json. Returns the
    pages, in the order of the file's languages. Raises RunError, SpecError or OSError where
    the folder is not that of a finished run or cannot be written.
    """
    source = Source.load(Path(folder))
    (source.folder / "figures").mkdir(exist_ok=True)
    return [_write(source, language) for language in source.spec.report.languages]


def report_html(source: Source, language: str, keep: Callable[[str, str], None]) -> str:
    """The report's page; `keep(name, svg)` is given every figure."""
    tongue = Tongue(source.spec, language)
    draw = _Draw(source, language, keep)
    if is_study(source.spec):
        found = study(source, tongue, draw.plot)
        template, parts = "cohort.html.j2", {f.name: getattr(found, f.name) for f in fields(found)}
    elif is_offer(source.spec):
        found = offer(source, tongue, draw.plot)
        parts = {f.name: getattr(found, f.name) for f in fields(found)}
        template, parts = "incentive.html.j2", {**parts, "caption": caption(source, tongue)}
    else:
        template, parts = "report.html.j2", _test(source, tongue, draw)
    others = [language_ for language_ in source.spec.report.languages if language_ != language]
    in_index = source.folder.parent.name == source.spec.name
    index = "index.html" if language == "en" else f"index.{language}.html"
    return page(
        template,
        language,
        title=source.spec.title.get(language),
        question=source.spec.question.get(language),
        spec=source.spec,
        level=level_of(source.spec),
        changed=plain(changed_text(source.run)),
        record=record(source, tongue),
        date=moment_text(source.run.get("started"), language),
        version=(source.run.get("versions") or {}).get("retention_lab", ""),
        others=others,
        index=f"../../{index}" if in_index else "",
        **parts,
    )


def _test(source: Source, tongue: Tongue, draw: _Draw) -> dict[str, Any]:
    """What the page of an A/B test shows."""
    metrics = metric_tables(source, tongue)
    segments = segment_tables(source, tongue)
    return {
        "control": tongue.control,
        "hero": hero(source, tongue),
        "hero_figure": draw.hero(),
        "hero_levels": draw.hero_levels(metrics[0].name) if metrics else "",
        "hero_is_split": draw.about_split,
        "hero_how": draw.hero_how(tongue),
        "incentive": in_test(source, tongue, draw.plot),
        "quality": quality(source, tongue),
        "split_figure": draw.split(),
        "metrics": metrics,
        "metric_figures": draw.metrics([m.name for m in metrics]),
        "trust": (*trust(source, tongue), *remarked(source, tongue, ENTERED)),
        "arms": arm_blocks(source, tongue),
        "course": course(source, tongue, draw.path, draw.daily),
        "ages": ages(source, tongue, draw.novelty),
        "segments": [(s, draw.segment(i, s)) for i, s in enumerate(segments, 1)],
        "lives": lives(source, tongue, draw.plot),
        "methods": (
            *methods(source, tongue),
            *survival_methods(source, tongue),
            *offer_methods(source, tongue),
        ),
    }


def _write(source: Source, language: str) -> Path:
    def keep(name: str, svg: str) -> None:
        path = source.folder / "figures" / f"{name}.{language}.svg"
        write_atomically(path, standalone(svg))

    path = source.folder / f"report.{language}.html"
    write_atomically(path, report_html(source, language, keep))
    return path


def comparison_html(comparison: Comparison, language: str = "en") -> str:
    """One self-contained page that says what differs between two runs."""
    from retention_lab.run.view.compared import compared

    return page("comparison.html.j2", language, found=compared(comparison, language))


class _Draw:
    """The figures of one page, each drawn once and kept."""

    def __init__(self, source: Source, language: str, keep: Callable[[str, str], None]) -> None:
        self.source, self.language, self.keep = source, language, keep

    @property
    def about_split(self) -> bool:
        """Whether it is invalid for who is in which arm: then no effect is shown."""
        return any(r.code in WHO for r in self.source.verdict.reasons)

    def hero(self) -> Markup:
        """The effect that decides; the split where nobody should read an effect."""
        if self.about_split:
            return self._svg("why", split_plot)
        ledger = ledger_figure(self.source)
        if ledger is not None:
            return self._svg("why", ledger[0], **ledger[1])
        focus = focus_of(self.source)
        metric = focus.metric if focus else next(iter(self.source.spec.primary), "")
        return self._svg("effects", effect_plot, metric=metric, **self._scale(metric))

    def hero_how(self, tongue: Tongue) -> str:
        """How the first figure is read, where it is that of a ledger; else nothing."""
        about_money = not self.about_split and ledger_figure(self.source) is not None
        return caption(self.source, tongue) if about_money else ""

    @property
    def _room(self) -> bool:
        """Whether the first figure has one line only, so that the levels fit below it."""
        fits = len(arms_of(self.source.results)) < 3 and not self.about_split
        return fits and ledger_figure(self.source) is None

    def hero_levels(self, metric: str) -> Markup | str:
        """The levels of both arms of a test with two, below the effect."""
        return self._svg("levels", arms_plot, metric=metric) if self._room else ""

    def split(self) -> Markup:
        return self._svg("split", split_plot)

    def metrics(self, names: list[str]) -> list[Markup]:
        """Levels of the first metric, then the effects on every metric not shown above."""
        if not names:
            return []
        focus = focus_of(self.source)
        hidden = self.about_split or ledger_figure(self.source) is not None
        above = None if focus is None or hidden else focus.metric
        drawn = [] if self._room else [self._svg("levels", arms_plot, metric=names[0])]
        for name in [n for n in names if n != above][:MOST_FIGURES]:
            scale = self._scale(name)
            drawn.append(self._svg(f"metric-{name}", effect_plot, metric=name, **scale))
        return drawn

    def path(self, name: str, metric: str) -> Markup:
        return self._svg(name, path_plot, metric=metric)

    def daily(self, name: str, metric: str) -> Markup:
        return self._svg(name, daily_plot, metric=metric)

    def plot(self, name: str, plot: Callable[..., Axes], **wanted: Any) -> Markup:
        """Any figure, by its plot and what it is to show."""
        return self._svg(name, plot, **wanted)

    def novelty(self, name: str, metric: str) -> Markup:
        return self._svg(name, novelty_plot, metric=metric)

    def segment(self, i: int, table: SegmentTable) -> Markup | str:
        """The groups pulled towards their mean where that could be done; nothing if blocked."""
        if table.blocked:
            return ""
        wanted = {"metric": table.metric, "segment": table.column}
        scale = self._scale(table.metric)
        if self.source.results.where(**wanted, estimand="shrunken_difference").rows:
            scale = {"estimand": "shrunken_difference"}
        return self._svg(f"segment-{i}", segment_plot, **wanted, **scale)

    def _scale(self, metric: str) -> dict[str, Estimand]:
        """Lifts, unless the metric is told in differences or there is no lift to show."""
        as_difference = by_difference(self.source, metric)
        rows = self.source.results.where(metric=metric, estimand="relative_lift").rows
        lifted = any(r.estimate is not None for r in rows)
        differing = self.source.results.where(metric=metric, estimand=DIFFERENCES).rows
        if (as_difference or not lifted) and differing:
            return {"estimand": "mean_difference"}
        return {"estimand": "relative_lift"}

    def _svg(self, name: str, plot: Callable[..., Axes], **wanted: Any) -> Markup:
        ax = plot(
            self.source.results,
            self.source.spec,
            language=self.language,
            ax=blank_axes(),
            **wanted,
        )
        svg = svg_text(ax, name)
        self.keep(name, svg)
        return drawing(svg)
