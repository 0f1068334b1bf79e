"""A run's case in; its report's pages as a reader sees them out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

from run.sample import write
from run.sample_rows import Case

from retention_lab.experiment.load import parse, validate
from retention_lab.results import Results
from retention_lab.run.report import write_reports
from retention_lab.run.view.source import Tongue


class Page(HTMLParser):
    """Collects tags with attributes, and the text a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._style = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


Make = Callable[[], Case]
PageOf = Callable[[Make], dict[str, Page]]


def pages(case: Case, root: Path, *languages: str, **more: object) -> dict[str, Page]:
    """The pages of a case: of all languages of the file, or of some, which is quicker.

    `more` is what run.json says besides.
    """
    if languages:
        wanted = f"report:\n  languages: [{', '.join(languages)}]\n"
        case = dataclasses.replace(case, spec=case.spec.replace("report:\n", wanted))
    written = write_reports(write(case, root, **more))
    return {p.name.split(".")[1]: Page(p.read_text(encoding="utf-8")) for p in written}


def tongue(case: Case, language: str = "en") -> Tongue:
    return Tongue(validate(*parse(case.spec)), language)


def only(case: Case, *estimands: str) -> Case:
    rows = [r for r in case.results.rows if r.estimand in estimands]
    return dataclasses.replace(case, results=Results.of(rows))


def section(page: Page, start: str, end: str) -> str:
    """The text between two headings, the last ones of these words."""
    return page.text.rpartition(start)[2].partition(end)[0]
