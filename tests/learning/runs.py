"""Verdicts and lifts in; run folders as the runner leaves them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retention_lab.results import Reason, Results, Row, Verdict

Lift = tuple[float | None, float | None]

SPEC = """
schema: 1
name: {name}
title: {{en: "{title}", zh: "{title}？"}}
question: {{en: "Does {title} help?", zh: "有用吗？"}}
{family}
data: {{units: units.parquet}}
design: {{arm: arm, control: none}}
metrics:
  - {{name: {metric}, kind: mean, role: primary}}
report:
  languages: [en, zh]
  labels: {{c10: {{en: "$10 coupon", zh: 10 美元券}}, price: {{en: Price incentive, zh: 价格优惠}}}}
"""


def leave_run(
    reports: Path,
    name: str,
    lifts: dict[str, Lift],
    decision: Any = "ship",
    arm: str | None = None,
    run: str = "20260101-000000-aaaa",
    family: str | None = "price",
    metric: str = "spend",
    title: str = "a coupon",
    **record: Any,
) -> Path:
    """A finished run of `name`: by arm, its relative lift and standard error."""
    folder = reports / name / run
    folder.mkdir(parents=True)
    said = f"family: {family}" if family else ""
    text = SPEC.format(name=name, title=title, family=said, metric=metric)
    (folder / "spec.yaml").write_text(text, encoding="utf-8")
    content = {
        "run_id": run,
        "status": "finished",
        "started": f"{run[:4]}-{run[4:6]}-{run[6:8]}T08:00:00.000+00:00",
        "overrides": {},
        **record,
    }
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    Results.of(rows(metric, lifts)).save(folder)
    about = arm or next(iter(lifts), None)
    reasons = (Reason("primary_better", {"metric": metric, "arm": about}),) if about else ()
    verdict = Verdict(decision, arm, reasons)
    verdict.save(folder, {"en": ["Better." for _ in reasons]})
    return folder


def rows(metric: str, lifts: dict[str, Lift]) -> list[Row]:
    place: dict[str, Any] = {"analysis": "ab", "metric": metric, "estimand": "relative_lift"}
    found = [Row(**{**place, "estimand": "mean"}, arm="none", estimate=1.0)]
    for arm, (lift, error) in lifts.items():
        ends: dict[str, Any] = {"estimate": lift, "std_error": error}
        if lift is not None and error is not None:
            ends |= {"ci_low": lift - 1.96 * error, "ci_high": lift + 1.96 * error}
        found.append(Row(**place, arm=arm, baseline="none", **ends))
        other = {**place, "segment": "region", "level": "Europe"}
        found.append(Row(**other, arm=arm, baseline="none", estimate=9.0, std_error=0.1))
        found.append(Row(**place, arm="none", baseline=arm, estimate=-9.0, std_error=0.1))
    return found
