"""The start page: latest verdicts, failures with their reasons, older runs folded."""

from __future__ import annotations

import json
import re
from pathlib import Path

from run.incentive_sample import doses
from run.sample import coupon, email, harm, mismatch, write
from run.sample_rows import Case

from retention_lab.results import Reason, Verdict
from retention_lab.run.folder import note_skip
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
    assert "Visit rate (two weeks), “Men&#39;s e-mail”: relative change" in en
    assert [w for w in ("Ship", "Keep running", "Stop") if f">{w}</span>" not in en] == []
    assert 'href="hillstrom-email/20260116-081500-a1b2/report.en.html"' in en
    assert "16 January 2026, 08:15 UTC" in en
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


def test_failures_of_a_file_that_is_gone_are_not_listed(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    for name in ("gone", "there"):
        folder = fail(reports, name, "20260120-091500-ffff", "no such column")
        run = json.loads((folder / "run.json").read_text())
        run |= {"root": "../../..", "file": f"experiments/{name}.yaml"}
        (folder / "run.json").write_text(json.dumps(run))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "there.yaml").write_text("name: there")
    en = read(reports)
    assert ">there<" in en
    assert ">gone<" not in en


def test_a_skipped_experiment_has_its_title_and_says_how_to_get_its_data(tmp_path: Path) -> None:
    title = {"en": "Do e-mails help?", "zh": "邮件有用吗？"}
    note_skip(tmp_path, "mail", "dataset 'hillstrom' (table) is not at hand", title)
    for language, word in title.items():
        page = read(tmp_path, language)
        assert word in page
        assert "retention-lab data hillstrom" in page


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
        assert html.count("<script") <= 1  # the search of the learning log, by its hash
        assert "fourteen &lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_the_interval_lies_within_its_line(tmp_path: Path) -> None:
    write(email(), tmp_path)
    places = [float(x) for x in re.findall(r"M([\d.]+) \d+[HV]", read(tmp_path))]
    assert len(places) == 3
    assert all(0 <= x <= 100 for x in places)
    assert min(places) == 5.0  # the line of no difference


def test_the_dark_line_of_a_bar_is_named(tmp_path: Path) -> None:
    for make in (email, doses):
        write(make(), tmp_path)
    en, zh = read(tmp_path), read(tmp_path, "zh")
    assert "dark line: no difference" in en
    assert "dark line: 1.2, the least that is wanted" in en
    assert "深色竖线：无差异" in zh
    assert "深色竖线：要求的最低值 1.2" in zh
    assert en.count("dark line: ") == en.count('preserveAspectRatio="none"') == 2


def test_other_files_in_the_folder_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "notes").mkdir()
    assert "No experiment has been run yet" in read(tmp_path)


CHANGED = {"overrides": {"inference.alpha": 0.2}}


def test_the_latest_verdict_is_that_of_the_file_as_written(tmp_path: Path) -> None:
    write(email(), tmp_path)
    later = "2026-01-20T09:15:00+00:00"
    stop = Case("hillstrom-email", email().spec, email().results, Verdict("stop", None, ()))
    write(stop, tmp_path, run_id="20260120-091500-ffff", started=later, **CHANGED)
    en, zh = read(tmp_path), read(tmp_path, "zh")
    assert en.index(">Ship</span>") < en.index("1 other run") < en.index(">Stop</span>")
    assert "with changed values: inference.alpha = 0.2" in en
    assert "使用了修改值：inference.alpha = 0.2" in zh
    assert "gave no result" not in en


def test_a_failure_with_changed_values_is_no_failure_of_the_file(tmp_path: Path) -> None:
    write(email(), tmp_path)
    folder = fail(tmp_path, "hillstrom-email", "20260120-091500-ffff", "too small")
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, **CHANGED}))
    assert "gave no result" not in read(tmp_path)


def test_an_experiment_that_ran_with_changed_values_only_says_so(tmp_path: Path) -> None:
    write(email(), tmp_path, **CHANGED)
    en = read(tmp_path)
    assert "other run" not in en
    assert "with changed values: inference.alpha = 0.2" in en


def test_runs_of_one_day_are_told_apart(tmp_path: Path) -> None:
    for hour in ("08", "17"):
        started = f"2026-01-16T{hour}:15:00+00:00"
        write(email(), tmp_path, run_id=f"20260116-{hour}1500-a1b2", started=started)
    en = read(tmp_path)
    assert "16 January 2026, 08:15 UTC" in en
    assert "16 January 2026, 17:15 UTC" in en


def test_what_was_skipped_is_listed_with_its_reason(tmp_path: Path) -> None:
    write(email(), tmp_path)
    note_skip(tmp_path, "hillstrom-email", "dataset <b> is not at hand")
    note_skip(tmp_path, "never-run", "dataset 'x' is not at hand")
    en, zh = read(tmp_path), read(tmp_path, "zh")
    assert ">Ship</span>" in en
    assert re.search(r"Not run on .*: dataset &lt;b&gt; is not at hand", en)
    assert ">Skipped, no data</span>" in en
    assert "never-run" in zh
    assert "2 experiments" in en


def test_a_skip_is_void_after_a_run(tmp_path: Path) -> None:
    note_skip(tmp_path, "hillstrom-email", "not at hand")
    write(email(), tmp_path, started="2999-01-01T00:00:00+00:00")
    assert "not at hand" not in read(tmp_path)


def test_a_run_in_progress_is_no_failure(tmp_path: Path) -> None:
    write_reports(write(email(), tmp_path))
    fail(tmp_path, "hillstrom-email", "20260120-091500-ffff", "", "running")
    en, zh = read(tmp_path), read(tmp_path, "zh")
    assert "A run of 20 January 2026, 09:15 UTC is in progress." in en
    assert "gave no result" not in en
    assert "正在进行中" in zh


def test_a_margin_of_a_primary_metric_is_told_in_differences(tmp_path: Path) -> None:
    case = email()
    numbers = {**case.verdict.reasons[0].numbers, "margin": 0.2}
    verdict = Verdict("stop", None, (Reason("no_worthwhile_effect", numbers),))
    write(Case(case.name, case.spec, case.results, verdict), tmp_path)
    assert "+7.66 points (+7.00 to +8.32)" in read(tmp_path)
