"""A test that is over without an answer: no page and no table says to keep it running."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from run.sample import coupon, write
from run.sample_rows import Case
from run.viewing import en, source

from retention_lab.learning import log, table
from retention_lab.results import ENDED, Reason, Verdict
from retention_lab.run.folder import close_run, read_run
from retention_lab.run.index import index_html
from retention_lab.run.report import write_reports
from retention_lab.run.view.change import changes
from retention_lab.run.view.hero import focus_of, hero
from retention_lab.run.view.source import Tongue
from retention_lab.terminal import _verdict


def ended() -> Case:
    """The guardrail's reason stands before the primary ones, as in a file that names it first."""
    case = coupon()
    unclear = [r for r in case.verdict.reasons if r.code != "immature"]
    reasons = (*reversed(unclear), Reason(ENDED))
    return dataclasses.replace(case, verdict=Verdict("keep_running", None, reasons))


def test_the_first_screen_says_that_it_ended_and_what_to_do_next(tmp_path: Path) -> None:
    found = source(ended(), tmp_path)
    for language, headline, metric in (
        ("en", "The test has ended without an answer.", "Repurchase within 30 days"),
        ("zh", "实验已结束，没有得出结论。", "30 天复购率"),
    ):
        tongue = Tongue(found.spec, language)
        said = hero(found, tongue)
        assert said.headline == headline
        assert said.decision == "keep_running"  # the colour, as the word of verdict.json
        assert metric in said.because
        assert "retention-lab plan comeback-coupon" in changes(found, tongue)[0]
    assert len(changes(found, en(found))) == 2
    focus = focus_of(found)
    assert focus is not None
    assert focus.metric == "repurchase_30d"


def test_no_page_says_to_keep_it_running(tmp_path: Path) -> None:
    folder = write(ended(), tmp_path)
    write_reports(folder)
    close_run(folder, "finished")
    reports = folder.parent.parent
    pages = [(folder / "report.en.html").read_text(encoding="utf-8")]
    pages += [index_html(reports, "en"), str(table(log(reports), "en"))]
    for page in pages:
        assert "Keep running" not in page
        assert "Keep the test running" not in page
        assert "No answer" in page
    assert "more customers" not in pages[0]
    assert _verdict(read_run(folder)["verdict"]) == "no answer"
    zh = (folder / "report.zh.html").read_text(encoding="utf-8")
    assert "继续运行实验" not in zh
    assert "没有结论" in zh
