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

from retention_lab.figures.style import STACK, fit, root

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = r"Glyph \d+ .*missing from font"
FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
NO_TURN = re.compile(r' transform="rotate\(-0 [^)]*\)"')
TAG = re.compile(r"<[^>]*>")
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


def svg_text(ax: Axes, name: str = "figure") -> str:
    """The figure of `ax` as an SVG element whose texts serve as its description.

    Text stays text, in the font of the page; there are no dates, and no ids but those
    that start with `name`, so several figures can stand on one page.
    """
    fit(ax)
    alt = described(ax)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), without_glyph_warnings():
        root(ax).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _tidy(buffer.getvalue(), alt, name)


def described(ax: Axes) -> str:
    """What the figure says, as one text: its title, labels and values, in reading order."""
    return "; ".join(t.get_text() for t in ax.texts if t.get_text() and t.get_gid() != "tick")


def _tidy(svg: str, alt: str, name: str) -> str:
    body = METADATA.sub("", svg[svg.index("<svg") :])
    body = TAG.sub(lambda tag: _tidy_tag(tag[0], name), STYLE.sub("", body))
    title = f"{name}-title"
    head, _, rest = body.partition(">")
    head += f' role="img" aria-labelledby="{title}" style="stroke-linejoin: round"'
    return f'{head}>\n <title id="{title}">{escape(alt)}</title>{rest}'


def _tidy_tag(tag: str, name: str) -> str:
    """One tag without fonts and ids of its own; what stands between tags is the user's."""
    tag = GROUP_ID.sub("<g", NO_TURN.sub("", FAMILY.sub("", tag)))
    return re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", tag)


def standalone(svg: str) -> str:
    """An SVG element as a file of its own, which cannot inherit the page's font."""
    named = svg.replace('style="', f'style="font-family: {STACK}; ', 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{named}\n'
