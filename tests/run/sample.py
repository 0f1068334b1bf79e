"""Nothing in; finished run folders with plausible results for the report's tests out.

The e-mail case carries the true means of Hillstrom's experiment; the other cases are invented.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from run.sample_rows import Case, Cell, compare, quality, reason, suppressed, yes

from retention_lab.results import Reason, Results, Row, Verdict

EMAIL_SPEC = """\
schema: 1
name: hillstrom-email
title:
  en: "Do the men's and the women's e-mail bring customers back?"
  zh: "男装邮件和女装邮件能否带回老客户？"
question:
  en: "64,000 past customers got one of two e-mails, or none. Which should everyone get?"
  zh: "过去十二个月内的 64,000 位客户收到两种邮件之一，或没有收到邮件。应该向所有人发送哪一种？"
owner: growth
data: {units: "dataset:hillstrom"}
design:
  arm: segment
  control: No E-Mail
  expected_split: {No E-Mail: 1, Mens E-Mail: 1, Womens E-Mail: 1}
metrics:
  - {name: visit, kind: proportion, role: primary}
  - {name: conversion, kind: proportion}
  - {name: spend, kind: mean}
  - {name: spend_per_visit, kind: ratio, numerator: spend, denominator: visit}
  - {name: unsubscribed, kind: proportion, role: guardrail, direction: decrease, margin: 0.005}
segments: [zip_code, history_segment]
report:
  labels:
    No E-Mail: {en: "No e-mail", zh: "不发邮件"}
    Mens E-Mail: {en: "Men's e-mail", zh: "男装邮件"}
    Womens E-Mail: {en: "Women's e-mail", zh: "女装邮件"}
    visit: {en: "Visit rate (two weeks)", zh: "两周回访率"}
    conversion: {en: "Purchase rate (two weeks)", zh: "两周购买率"}
    spend: {en: "Spend per customer (USD)", zh: "人均消费（美元）"}
    spend_per_visit: {en: "Spend per visit (USD)", zh: "每次回访消费（美元）"}
    unsubscribed: {en: "Unsubscribe rate", zh: "退订率"}
    zip_code: {en: "Area", zh: "居住地区"}
    history_segment: {en: "Spend in the past year", zh: "过去一年消费"}
    Urban: {en: "Urban", zh: "城市"}
    Surburban: {en: "Suburban", zh: "郊区"}
    Rural: {en: "Rural", zh: "乡村"}
"""
NO, MEN, WOMEN = "No E-Mail", "Mens E-Mail", "Womens E-Mail"
AREAS = {
    "Rural": ((0.15355, 3139), (0.22695, 3243), (0.18265, 3181)),
    "Surburban": ((0.09901, 9625), (0.17335, 9501), (0.14788, 9650)),
    "Urban": ((0.09682, 8542), (0.17646, 8563), (0.14376, 8556)),
}
PAST = {
    "1) $0 - $100": ((0.08487, 7612), (0.15342, 7724), (0.13165, 7634)),
    "2) $100 - $200": ((0.09098, 4836), (0.16009, 4691), (0.13349, 4727)),
    "3) $200 - $350": ((0.12636, 4044), (0.21076, 4090), (0.16245, 4155)),
    "4) $350 - $500": ((0.15019, 2124), (0.23939, 2097), (0.19059, 2188)),
    "5) $500 - $750": ((0.10956, 1652), (0.20852, 1597), (0.17569, 1662)),
    "6) $750 - $1,000": ((0.15434, 622), (0.21584, 644), (0.20911, 593)),
}


def email() -> Case:
    """Two arms, ship, segments with a suppressed level, a ratio, a guardrail that is kept."""
    n = {NO: 21306, MEN: 21307, WOMEN: 21387}
    arms = [NO, MEN, WOMEN]

    def rates(*values: float) -> dict[str, Cell]:
        return {arm: yes(v, n[arm]) for arm, v in zip(arms, values, strict=True)}

    rows = quality(n, dict.fromkeys(n, 1.0), 0.202531, 0.903693)
    rows += compare("visit", rates(0.106167, 0.182757, 0.151400))
    rows += compare("conversion", rates(0.005726, 0.012531, 0.008837))
    spend = {NO: (0.652789, 11.588200), MEN: (1.422617, 17.754205), WOMEN: (1.077202, 15.116106)}
    rows += compare("spend", {a: Cell(m, s, n[a]) for a, (m, s) in spend.items()})
    per_visit = {NO: (6.1487, 105.3), MEN: (7.7842, 95.1), WOMEN: (7.1149, 97.8)}
    cells = {a: Cell(m, s, n[a]) for a, (m, s) in per_visit.items()}
    rows += compare("spend_per_visit", cells, ratio=True)
    rows += compare("unsubscribed", rates(0.0031, 0.0036, 0.0041))
    for segment, levels in (("zip_code", AREAS), ("history_segment", PAST)):
        for level, found in levels.items():
            cells = {a: yes(r, k) for a, (r, k) in zip(arms, found, strict=True)}
            rows += compare("visit", cells, segment, level)
    rows += suppressed("visit", "history_segment", "7) $1,000 +", arms)
    results = Results.of(rows)
    reasons = (
        reason("primary_better", results, "visit", MEN, "proportion"),
        reason("primary_better", results, "visit", WOMEN, "proportion"),
        reason("guardrail_kept", results, "unsubscribed", MEN, "proportion", margin=0.005),
    )
    return Case("hillstrom-email", EMAIL_SPEC, results, Verdict("ship", MEN, reasons))


COUPON_SPEC = """\
schema: 1
name: comeback-coupon
title: {en: "Does a comeback coupon pay?", zh: "回归优惠券值得吗？"}
owner: growth
data:
  assignments: {table: "dataset:twin/assignments", at: assigned_at}
  events: {orders: {table: "dataset:twin/orders", at: ordered_at}}
  as_of: 2026-01-15
design: {unit: customer_id, arm: arm, control: none}
metrics:
  - {name: repurchase_30d, kind: retention, event: orders, within: 30d, role: primary}
  - {name: revenue_30d, kind: sum, event: orders, value: revenue, within: 30d, pre: 90d}
  - {name: unsubscribed_30d, kind: retention, event: orders, within: 30d, role: guardrail,
     direction: decrease, margin: 0.004}
segments: [region]
report:
  labels:
    none: {en: "No coupon", zh: "无优惠券"}
    c10: {en: "$10 coupon", zh: "10 美元优惠券"}
    c20:
      en: "$20 coupon, free shipping over $49 and a hand-written thank-you card from the founder"
      zh: "20 美元优惠券，满 49 美元免运费，并附创始人亲笔感谢卡，感谢老客户长期以来的支持与信任"
    repurchase_30d: {en: "Repurchase within 30 days", zh: "30 天复购率"}
    revenue_30d: {en: "Revenue in 30 days (USD)", zh: "30 天收入（美元）"}
    unsubscribed_30d: {en: "Unsubscribed within 30 days", zh: "30 天退订率"}
    region: {en: "Region", zh: "地区"}
"""


def coupon() -> Case:
    """Unclear, keep running: long labels, immature units, a pre-period, an unbounded lift."""
    arms = {"none": 3012, "c10": 2987, "c20": 3051}
    rows = quality(arms, dict.fromkeys(arms, 1.0), 0.68, 0.712)
    mature = {"none": 2410, "c10": 2388, "c20": 2443}

    def rates(n: dict[str, int], *values: float) -> dict[str, Cell]:
        return {a: yes(v, n[a]) for a, v in zip(n, values, strict=True)}

    rows += compare("repurchase_30d", rates(mature, 0.2232, 0.2345, 0.2417))
    values = {"none": (11.2, 31.5), "c10": (12.1, 33.0), "c20": (12.3, 32.1)}
    rows += compare("revenue_30d", {a: Cell(m, s, mature[a]) for a, (m, s) in values.items()})
    before = {"none": (24.31, 55.0), "c10": (24.02, 54.1), "c20": (24.77, 56.2)}
    for row in compare("revenue_30d", {a: Cell(m, s, arms[a]) for a, (m, s) in before.items()}):
        if row.estimand == "mean_difference":
            rows.append(dataclasses.replace(row, estimand="pre_period_difference", p_adjusted=None))
    rows += compare("unsubscribed_30d", rates(mature, 0.0008, 0.0013, 0.0030))
    for level, n, r in (
        ("Europe", 900, (0.25, 0.28, 0.27)),
        ("Middle East", 210, (0.14, 0.12, 0.19)),
        ("North America", 800, (0.30, 0.31, 0.33)),
    ):
        rows += compare("repurchase_30d", rates(dict.fromkeys(arms, n), *r), "region", level)
    for level in ("Africa", "Latin America"):
        rows += suppressed("repurchase_30d", "region", level, list(arms))
    for metric in ("repurchase_30d", "revenue_30d", "unsubscribed_30d"):
        rows.append(
            Row(analysis="quality", metric=metric, estimand="immature", estimate=1809, n=9050)
        )
    rows.append(
        Row(analysis="quality", metric="revenue_30d", estimand="missing", estimate=37, n=9050)
    )
    results = Results.of(rows)
    reasons = (
        reason("primary_unclear", results, "repurchase_30d", "c20", "retention"),
        reason("primary_unclear", results, "repurchase_30d", "c10", "retention"),
        reason("guardrail_unclear", results, "unsubscribed_30d", "c20", "retention", margin=0.004),
        Reason(
            "immature",
            {"metric": "repurchase_30d", "immature": 1809, "n": 9050, "as_of": "2026-01-15"},
        ),
    )
    return Case("comeback-coupon", COUPON_SPEC, results, Verdict("keep_running", None, reasons))


RATIO_SPEC = """\
schema: 1
name: return-window
title: "Thirty days to return instead of fourteen <script>alert(1)</script>"
owner: after-sales
data: {units: "returns.parquet"}
design: {arm: arm, control: days_14, expected_split: {days_14: 1, days_30: 1}}
metrics:
  - {name: repurchased, kind: proportion, role: primary}
  - {name: margin_per_order, kind: mean, role: guardrail}
segments: [market]
report:
  labels:
    days_30: {en: "30 days <script>alert(2)</script>"}
    repurchased: {en: "Repurchased <b>"}
"""


def mismatch() -> Case:
    """Invalid: the arms did not get the planned shares; markup in title, labels and levels."""
    arms = {"days_14": 10211, "days_30": 9488}
    rows = quality(arms, dict.fromkeys(arms, 1.0), 26.53, 2.6e-7)
    rates = {"days_14": yes(0.211, 10211), "days_30": yes(0.229, 9488)}
    rows += compare("repurchased", rates)
    money = {"days_14": Cell(8.1, 12.2, 10211), "days_30": Cell(7.9, 12.9, 9488)}
    rows += compare("margin_per_order", money)
    rows += compare("repurchased", rates, "market", "<img src=x onerror=alert(3)>")
    results = Results.of(rows)
    reasons = (Reason("sample_ratio_mismatch", {"chi2": 26.53, "p": 2.6e-7}),)
    return Case("return-window", RATIO_SPEC, results, Verdict("invalid", None, reasons))


STOP_SPEC = """\
schema: 1
name: daily-mail
title: {en: "A promotion mail every day", zh: "每日促销邮件"}
owner: growth
data: {units: "mails.parquet", as_of: 2026-02-01}
design: {arm: arm, control: weekly}
metrics:
  - {name: orders_30d, kind: mean, role: primary}
  - {name: unsubscribed, kind: proportion, role: guardrail, direction: decrease, margin: 0.005}
  - {name: big_spender, kind: proportion}
report:
  labels:
    weekly: {en: "One mail a week", zh: "每周一封"}
    daily: {en: "One mail a day", zh: "每日一封"}
    orders_30d: {en: "Orders in 30 days", zh: "30 天订单数"}
    unsubscribed: {en: "Unsubscribe rate", zh: "退订率"}
    big_spender: {en: "Spent over $500", zh: "消费超过 500 美元"}
"""


def harm() -> Case:
    """Stop: the guardrail was harmed; a metric without any result."""
    arms = {"weekly": 15021, "daily": 14979}
    rows = quality(arms, dict.fromkeys(arms, 1.0), 0.0588, 0.8084)
    rows += compare(
        "orders_30d", {"weekly": Cell(0.41, 0.9, 15021), "daily": Cell(0.418, 0.91, 14979)}
    )
    rows += compare("unsubscribed", {"weekly": yes(0.011, 15021), "daily": yes(0.024, 14979)})
    note = "zero_variance: every unit has the same value"
    for estimand in ("mean_difference", "relative_lift"):
        rows.append(
            Row(
                analysis="ab",
                metric="big_spender",
                estimand=estimand,
                arm="daily",
                baseline="weekly",
                note=note,
            )
        )
    results = Results.of(rows)
    reasons = (
        reason("guardrail_harmed", results, "unsubscribed", "daily", "proportion", margin=0.005),
        reason("primary_unclear", results, "orders_30d", "daily", "mean"),
    )
    return Case("daily-mail", STOP_SPEC, results, Verdict("stop", "daily", reasons))


CASES = (email, coupon, mismatch, harm)


def write(case: Case, reports: Path, run_id: str = "20260116-081500-a1b2", **more: Any) -> Path:
    """The folder of a finished run of `case` under `reports`, as the runner leaves it."""
    folder = reports / case.name / run_id
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text(case.spec, encoding="utf-8")
    case.results.save(folder)
    case.verdict.save(folder, {"en": [r.code for r in case.verdict.reasons]})
    run = {
        "status": "finished",
        "started": "2026-01-16T08:15:00+00:00",
        "finished": "2026-01-16T08:15:09+00:00",
        "seconds": 9.2,
        "error": None,
        "experiment": case.name,
        "file": f"experiments/{case.name}.yaml",
        "title": case.name,
        "owner": "growth",
        "overrides": {},
        "hashes": {k: 8 * f"{i}c0ffee{i}" for i, k in enumerate(("spec", "notebook", "data"))},
        "key": "0123456789abcdef",
        "inputs": [{"name": "units", "ref": "dataset:hillstrom", "digest": "573789db", "bytes": 4}],
        "git": {"commit": "ab8d12b0000000000000000000000000000000ff", "dirty": False},
        "engine": "duckdb",
        "versions": {"python": "3.11.2", "retention_lab": "0.1.0", "duckdb": "1.5.0"},
        "verdict": {"verdict": case.verdict.decision, "arm": case.verdict.arm},
        "mlflow": None,
        **case.run,
        **more,
    }
    (folder / "run.json").write_text(json.dumps(run, ensure_ascii=False), encoding="utf-8")
    return folder
