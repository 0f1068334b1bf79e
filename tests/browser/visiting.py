"""A page of the lab in; what a browser found on it out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1280, 800
FIRST_SCREEN = ("#result .badge", "#result .headline", "#effect svg", ".answers", ".facts")
ACTIVE = "script, iframe, img, object, embed"
TEXTS = "[...document.querySelectorAll('figure svg text')].map(t => t.textContent)"
SAID = """[...document.querySelectorAll('main > *')]
  .filter(part => !part.querySelector('#methods, #provenance'))
  .map(part => part.innerText).join('\\n')"""
CUT = """[...document.querySelectorAll('.card')]
  .filter(card => card.scrollWidth > card.clientWidth + 1).length"""
OVERLAPS = """[...document.querySelectorAll('figure svg')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')];
  const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]);
  const out = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (x > 1 && y > 6) out.push(a + ' | ' + b);
  }));
  return out;
})"""


@dataclasses.dataclass
class Visit:
    """What a browser found on one page.

    `boxes` are those of the first screen, `said` is all text with what is folded open, but for the
    methods and the record, and `cut` counts cards that are wider inside than outside.
    """

    faults: list[str]
    title: str
    lang: str | None
    text: str
    drawn: list[str]
    active: int
    boxes: dict[str, dict[str, float] | None]
    widths: dict[int, int]
    overlaps: list[str]
    printed: bool
    said: str
    cut: int


def look(browser: Any, path: Path, first: tuple[str, ...] = FIRST_SCREEN) -> Visit:
    """One page, looked at on a desk, in print, and on a phone with all that is folded open."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    faults: list[str] = []

    def refuse(dialog: Any) -> None:
        faults.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def asked(request: Any) -> None:
        if request.url != path.as_uri() and not request.url.startswith("data:"):
            faults.append(f"request {request.url}")

    page.on("dialog", refuse)
    page.on("pageerror", lambda error: faults.append(f"error {error}"))
    page.on("console", lambda message: faults.append(f"console {message.text}"))
    page.on("request", asked)
    page.goto(path.as_uri())
    boxes = {part: _box(page, part) for part in first}
    overlaps = page.evaluate(OVERLAPS)
    text = page.locator("body").inner_text()
    page.emulate_media(media="print")
    folded = page.locator("details table")
    printed = folded.count() == 0 or folded.first.is_visible()
    page.emulate_media(media="screen")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    said = page.evaluate(SAID)
    widths, cut = {}, 0
    for width in (400, 800, WIDTH):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        widths[width] = page.evaluate("document.documentElement.scrollWidth")
        cut += page.evaluate(CUT)
    found = Visit(
        faults,
        page.title(),
        page.locator("html").get_attribute("lang"),
        text,
        page.evaluate(TEXTS),
        page.locator(ACTIVE).count(),
        boxes,
        widths,
        overlaps,
        printed,
        said,
        cut,
    )
    page.close()
    return found


def _box(page: Any, part: str) -> dict[str, float] | None:
    found = page.locator(part)
    box: dict[str, float] | None = found.first.bounding_box() if found.count() else None
    return box


def han(text: str) -> int:
    """Number of Chinese characters."""
    return sum("\u4e00" <= c <= "\u9fff" for c in text)
