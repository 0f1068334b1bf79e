"""The start page: latest verdicts, failures with their reasons, older runs folded."""

from __future__ import annotations

import json
import re
from pathlib import Path

from run.sample import coupon, email, harm, mismatch, write

from retention_lab.run.index import write_index
from retention_lab.run.report import write_reports


def read(reports: Path, language: str = "en") -> str:
    path = write_index(reports)
    named = path if language == "en" else path.with_name(f"index.{language}.html")
    return named.read_text(encoding="utf-8").replace("\u00a0", " ")


def fail(reports: Path, name: str, run_id: str, message: str, status: str = "failed") -> Path:
    folder = reports / name / run_id
    folder.mkdir(parents=True)
    error = {"type": "DataError", "message": message, "traceback": ""}
    run = {"status": status, "started": "2026-01-20T09:15:00+00:00", "title": name, "error": error}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    assert "retention-lab run --all" in read(tmp_path / "reports")
    assert "还没有运行过实验" in read(tmp_path / "reports", "zh")


def test_every_experiment_with_verdict_effect_and_links(tmp_path: Path) -> None:
    for make in (email, coupon, harm):
        write_reports(write(make(), tmp_path))
    en, zh = read(tmp_path), read(tmp_path, "zh")
    assert "+72.1% (+64.1 to +80.7)" in en
    assert "Visit rate (two weeks), “Men&#39;s e-mail”" in en
    assert [w for w in ("Ship", "Keep running", "Stop") if f">{w}</span>" not in en] == []
    assert 'href="hillstrom-email/20260116-081500-a1b2/report.en.html"' in en
    assert "16 January 2026" in en
    assert "男装邮件和女装邮件能否带回老客户？" in zh
    assert zh.index("report.zh.html") < zh.index("report.en.html")


def test_a_later_failure_does_not_hide_the_last_verdict(tmp_path: Path) -> None:
    write_reports(write(email(), tmp_path))
    fail(tmp_path, "hillstrom-email", "20260120-091500-ffff", "column 'x' <b>is</b> not there")
    en = read(tmp_path)
    assert ">Ship</span>" in en
    assert "gave no result (Failed): column &#39;x&#39; &lt;b&gt;is&lt;/b&gt; not there" in en
    assert "1 other run" in en


def test_runs_without_a_result_are_listed_with_their_reason(tmp_path: Path) -> None:
    fail(tmp_path, "never-worked", "20260120-091500-ffff", "no answer" + "!" * 1000)
    fail(tmp_path, "stopped", "20260120-091500-ffff", "", "interrupted")
    fail(tmp_path, "no-data", "20260120-091500-ffff", "dataset not at hand", "skipped_no_data")
    (tmp_path / "broken" / "20260120-091500-ffff").mkdir(parents=True)
    (tmp_path / "broken" / "20260120-091500-ffff" / "run.json").write_text("{")
    en = read(tmp_path)
    for word in ("Failed", "Interrupted", "Skipped, no data", "Unreadable"):
        assert f">{word}</span>" in en
    assert "dataset not at hand" in en
    assert "no answer!!!" in en
    assert "!" * 500 not in en


def test_older_runs_are_folded(tmp_path: Path) -> None:
    for day in (10, 11, 12):
        write(email(), tmp_path, run_id=f"202601{day}-081500-a1b2")
    en = read(tmp_path)
    assert "2 other runs" in en
    assert en.count("<details") == 1


def test_user_text_is_escaped(tmp_path: Path) -> None:
    write(mismatch(), tmp_path)
    for language in ("en", "zh"):
        html = read(tmp_path, language)
        assert "<script" not in html
        assert "fourteen &lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_the_interval_lies_within_its_line(tmp_path: Path) -> None:
    write(email(), tmp_path)
    places = [float(x) for x in re.findall(r"M([\d.]+) \d+[HV]", read(tmp_path))]
    assert len(places) == 3
    assert all(0 <= x <= 100 for x in places)
    assert min(places) == 5.0  # the line of no difference


def test_other_files_in_the_folder_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "notes").mkdir()
    assert "No experiment has been run yet" in read(tmp_path)
