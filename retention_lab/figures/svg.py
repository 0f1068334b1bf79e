"""Axes with a drawing in; SVG text that is the same on every machine and day out."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

import matplotlib as mpl

from retention_lab.figures.style import STACK, fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = r"Glyph \d+ .*missing from font"
FONT_STYLE = re.compile(r"font: ((?:\S+ )*?)([\d.]+px) [^;\"]*")
GROUP_ID = re.compile(r'<g id="[^"]*"')
METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Ignore matplotlib's warning of characters that the measuring font lacks, and only that.

    An SVG keeps its text as text, and the browser brings the font; the warning is about
    measuring only.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=MISSING, category=UserWarning)
        yield


def svg_text(ax: Axes, alt: str, name: str = "figure") -> str:
    """The figure of `ax` as an SVG element with `alt` as its description for screen readers.

    Text stays text, in the font of the page; there are no dates, and no ids but those
    that start with `name`, so several figures can stand on one page.
    """
    fit(ax)
    buffer = io.StringIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": name}
    with mpl.rc_context(settings), without_glyph_warnings():
        ax.figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _tidy(buffer.getvalue(), alt, name)


def _tidy(svg: str, alt: str, name: str) -> str:
    body = METADATA.sub("", svg[svg.index("<svg") :])
    body = FONT_STYLE.sub(lambda m: f"font: {m[1]}{m[2]} {STACK}", body)
    body = GROUP_ID.sub("<g", body)
    body = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", body)
    title = f'{name}-title'
    head, _, rest = body.partition(">")
    head += f' role="img" aria-labelledby="{title}"'
    return f'{head}>\n <title id="{title}">{escape(alt)}</title>{rest}'


def standalone(svg: str) -> str:
    """An SVG element as a file of its own."""
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg}'
