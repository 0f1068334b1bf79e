"""A template's name and its values in; one self-contained HTML page out."""

from __future__ import annotations

import functools
from pathlib import Path

import jinja2
from markupsafe import Markup

from retention_lab.texts import say

TEMPLATES = Path(__file__).parent / "templates"
# Nothing is fetched, and nothing runs but the start page's own search. Style attributes are what
# figures are drawn with.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@functools.cache
def environment() -> jinja2.Environment:
    """Templates with escaping on: whatever a user wrote stays text."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(template: str, language: str, script: str = "", **values: object) -> str:
    """The page of `template` in `language`; templates call ``t(key, ...)`` for every sentence.

    `script` is the source (a hash) of the one script of our own that the page may run, if any.
    """

    def t(key: str, **words: object) -> str:
        return say(language, key, **words)

    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - our file
    html = environment().get_template(template)
    lang = "zh-CN" if language == "zh" else language
    policy = f"{POLICY}; script-src {script}" if script else POLICY
    return html.render(t=t, language=language, lang=lang, style=style, policy=policy, **values)


def drawing(svg: str) -> Markup:
    """An SVG that figures/svg.py made, whose texts are escaped there, as part of a page."""
    return Markup(svg)  # noqa: S704
