"""The experiment file: what it may say, and how faults are named."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention_lab.errors import SpecError
from retention_lab.experiment.load import OverrideError, load, parse, validate
from retention_lab.experiment.spec import hours

WHOLE = """\
schema: 1
name: comeback-coupon
title: {en: "Does a comeback coupon pay?", zh: "回归优惠券值得吗?"}
question: "Does it?"
owner: growth
notebook: ab_test
data:
  engine: duckdb
  assignments: {table: who.parquet, at: assigned_at}
  events: {orders: {table: o.parquet, at: ordered_at}, unsubscribes: {table: u.parquet, at: at}}
  as_of: 2026-01-15
  timezone: UTC
design:
  unit: customer_id
  arm: arm
  control: none
  expected_split: {none: 1, c10: 1, c20: 1}
  cluster: store_id
metrics:
  - {name: repurchase_30d, kind: retention, event: orders, within: 30d, role: primary, direction: increase}
  - {name: revenue_30d, kind: sum, event: orders, value: revenue, within: 30d, pre: 90d, cap: {quantile: 0.999}}
  - {name: order_value, kind: ratio, numerator: revenue_30d, denominator: orders_30d}
  - {name: unsubscribed_30d, kind: retention, event: unsubscribes, within: 30d, role: guardrail, direction: decrease, margin: 0.005}
  - {name: spend, kind: mean, value: spend, covariates: [history, recency], missing: error}
segments: [region, tier]
inference: {alpha: 0.05, correction: holm, sequential: false}
survival:  {origin: first orders, event: next orders, cohorts: month, by: [region], horizon: 365d, competing: [], covariates: [], forecast: 12 months}
incentive: {strategy: randomised, dose: {none: 0, c10: 10, c20: 20}, redeemed: coupon_used, revenue: revenue_30d, margin: 0.35, cost: {contact: 0.05, redemption: dose}, min_roi: 2}
privacy: {min_cell: 20}
report: {languages: [en, zh]}
parameters: {}
"""  # noqa: E501


@pytest.fixture
def file(tmp_path):
    """file(text, *replacements): the whole example, changed, on disk."""

    def _file(*changes):
        text = WHOLE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "comeback-coupon.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _file


def test_the_whole_schema_of_the_design_is_read(file):
    spec = load(file())
    assert spec.title.get("zh") == "回归优惠券值得吗?"
    assert spec.question.get("zh") == "Does it?"
    assert spec.data.as_of == dt.date(2026, 1, 15)
    assert list(spec.design.expected_split) == ["none", "c10", "c20"]
    assert spec.metrics[1].cap.quantile == 0.999
    assert spec.primary == ("repurchase_30d",)
    assert spec.incentive.cost.redemption == "dose"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("segments:", "segmnts:"), "line 25: unknown key 'segmnts'; did you mean 'segments'?"),
        (
            ("quantile: 0.999", "quantle: 0.999"),
            "line 21: metric 2, cap: unknown key 'quantle'; did you mean 'quantile'?",
        ),
        (("at: ordered_at", "att: ordered_at"), "line 10: unknown key 'data.events.orders.att'"),
        (("  arm: arm\n", ""), "line 13: 'design.arm' is missing"),
        (("as_of: 2026-01-15", "as_of: soon"), "line 11: data.as_of: "),
        (("within: 30d, role", "within: 30 days, role"), "is not a window"),
        (("within: 30d, role", "within: 0d, role"), "is not a window"),
        (("alpha: 0.05", "alpha: 0.7"), "line 26: inference.alpha: "),
        (("timezone: UTC", "timezone: Mars"), "'Mars' is not a time zone"),
        (("control: none", "control: nobody"), "control 'nobody' is not in expected_split"),
        (("c20: 1}\n  cluster", "c20: 0}\n  cluster"), "a share above 0"),
        (("control: none", "control: no"), "YAML reads yes/no"),
        (
            ("kind: sum", "kind: total"),
            "line 21: metric 2, kind: 'total' is none of proportion, mean",
        ),
        (("kind: sum", "kind: smu"), "ratio, quantile, retention, sum, count; did you mean 'sum'?"),
        (("role: guardrail", "role: gardrail"), "metric 4, role: 'gardrail' is none of"),
        (("role: guardrail", "role: gardrail"), "did you mean 'guardrail'?"),
        (("kind: mean, value", "value"), "metric 5: no 'kind'"),
        (("value: revenue, ", ""), "a sum metric needs value"),
        (("numerator: revenue_30d, ", ""), "a ratio metric needs numerator"),
        (
            ("kind: mean, value: spend", "kind: mean, within: 3d"),
            "a mean metric does not use within",
        ),
        (("quantile: 0.999", "value: 5, quantile: 0.9"), "exactly one of quantile or value"),
        (("name: order_value", "name: revenue_30d"), "two metrics are called revenue_30d"),
        (
            ("languages: [en, zh]", "languages: [en, fr]"),
            "line 30: report.languages, item 2: 'fr' is none",
        ),
        (("min_cell: 20", "min_cell: many"), "line 29: privacy.min_cell: "),
        (("schema: 1", "schema: 2"), "line 1: schema: "),
        (("owner: growth", "owner: growth\nowner: crm"), "line 6: 'owner' stands twice (line 5)"),
        (("owner: growth", "owner: [growth"), "not valid YAML"),
        (("name: comeback-coupon", "name: other"), "it must be the file's name 'comeback-coupon'"),
        (("margin: 0.35", "margin: .nan"), "incentive.margin: "),
        (("as_of: 2026-01-15", "as_of: 2026-02-30"), "is not a date: day is out of range"),
        (("segments: [region, tier]", "segments: [region, arm]"), "cannot be segments"),
        (("name: spend, kind", "name: Order_Value, kind"), "differ in capitals only: Order_Value"),
    ],
)
def test_a_fault_says_where_and_how_to_mend(file, change, message):
    with pytest.raises(SpecError) as caught:
        load(file(change))
    assert message in str(caught.value)


def test_all_faults_are_said_at_once(file):
    changes = [("segments:", "segmnts:"), ("min_cell: 20", "min_cell: many")]
    with pytest.raises(SpecError) as caught:
        load(file(*changes))
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_not_there_names_the_nearest(file):
    path = file()
    with pytest.raises(SpecError, match="did you mean 'comeback-coupon'"):
        load(path.with_name("comeback-cupon.yaml"))


def test_exactly_one_home_of_the_rows():
    base = {"schema": 1, "name": "x", "title": "X", "design": {"arm": "a", "control": "b"}}
    for data in ({}, {"units": "u.csv", "moments": "m.parquet"}):
        with pytest.raises(SpecError, match="exactly one of units, assignments or moments"):
            validate({**base, "data": data})


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("inference.alpha", "0.1", lambda s: s.inference.alpha == 0.1),
        ("owner", "12", lambda s: s.owner == "12"),
        ("owner", "yes", lambda s: s.owner == "yes"),
        ("inference.sequential", "false", lambda s: s.inference.sequential is False),
        ("metrics.spend.value", "amount", lambda s: s.metrics[4].value == "amount"),
        ("metrics.0.within", "14d", lambda s: s.metrics[0].within == "14d"),
        ("segments", "[tier]", lambda s: s.segments == ("tier",)),
        ("privacy.min_cell", 5, lambda s: s.privacy.min_cell == 5),
        ("data.as_of", "2026-02-01", lambda s: s.data.as_of == dt.date(2026, 2, 1)),
        ("data.assignments.table", "**/*.csv", lambda s: s.data.assignments.table == "**/*.csv"),
        ("parameters.depth", "3", lambda s: s.parameters == {"depth": 3}),
    ],
)
def test_overrides_are_typed_by_the_schema(file, key, value, read):
    assert read(load(file(), {key: value}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("inference.alfa", "0.1", "unknown key 'inference.alfa'; did you mean 'alpha'?"),
        ("metrics.spnd.value", "x", "no item 'spnd'; did you mean 'spend'?"),
        ("owner.name", "x", "'owner' holds a value, not keys"),
        ("inference.alpha", "often", "inference.alpha: "),
        ("metrics.spend.kind", "maen", "metric 5, kind: 'maen' is none of"),
        ("design.control", "nobody", "control 'nobody' is not in expected_split"),
        ("name", "other", "it must stay the file's name 'comeback-coupon'"),
    ],
)
def test_a_wrong_override_is_named_and_no_line_of_the_file(file, key, value, message):
    with pytest.raises(OverrideError) as caught:
        load(file(), {key: value, "question": "Why?"})
    assert message in str(caught.value)
    assert f"--set {key}: " in str(caught.value)
    assert "line" not in str(caught.value)
    assert "--set question" not in str(caught.value)


def test_a_fault_of_the_file_is_not_blamed_on_an_override(file):
    with pytest.raises(SpecError, match=r"line 29: privacy\.min_cell") as caught:
        load(file(("min_cell: 20", "min_cell: many")), {"inference.alpha": "0.1"})
    assert not isinstance(caught.value, OverrideError)


def test_specs_are_frozen(file):
    spec = load(file())
    with pytest.raises(ValueError, match="frozen"):
        spec.owner = "other"


@given(st.integers(1, 500), st.sampled_from("hdw"))
def test_windows_are_hours(n, unit):
    assert hours(f"{n}{unit}") == n * {"h": 1, "d": 24, "w": 168}[unit]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_reason(text):
    with contextlib.suppress(SpecError):  # any other error fails
        validate(*parse(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: T\n  question: x\n", "line 2: not valid YAML: begins at column 3, below line 1"),
        (
            "data:\n    units: a\n  as_of: x\n",
            "line 3: not valid YAML: begins at column 3, the line",
        ),
        ("metrics:\n  - {name: a}\n - {name: b}\n", "line 3: not valid YAML: begins at column 2"),
        ("metrics:\n  - name: a\n  kind: mean\n", "line 3: not valid YAML: a key beside the items"),
        ("a: 1\ntitle: 'It's good'\nb: 2\n", "line 2: not valid YAML: an apostrophe ends the text"),
        ("a: 1\ntitle：测试\nb: 2\n", "line 2: not valid YAML: a full-width colon"),
        ("schema：1\nname: x\n", "line 1: not valid YAML: a full-width colon"),
        ("data:\n\tunits: a\n", "line 2: not valid YAML: a tab at the line's beginning"),
        ("schema:1\nname: a\n", "line 1: not valid YAML: no space after 'schema:'"),
        ("schema: 1\nname:a\ntitle: x\n", "line 2: not valid YAML: no space after 'name:'"),
        ("title: Does it pay: yes\n", "line 1: not valid YAML: a text with ': ' in it: put it in"),
        ("a: {b: 1\nc: 2\n", "line 1: not valid YAML: '}' is missing, or a comma between"),
        ("a: [b, c\nd: 2\n", "line 1: not valid YAML: ']' is missing, or a comma between"),
        ('title: "a\nname: b\n', "line 1: not valid YAML: a quotation mark that opens here is not"),
        ("arm: *x\n", "line 1: not valid YAML: a text that begins with '*': put it in quotes"),
        ("title: 5 %\nowner: %x\n", "line 2: not valid YAML: a text that begins with '%'"),
    ],
)
def test_a_slip_in_yaml_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        parse(text, "f.yaml")
    assert f"f.yaml, {said}" in str(error.value)


SOUND = "schema: 1\nname: a\ntitle: T\ndata: {units: a.csv}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "schema: 1\nname: a\ntitle: T\ndata:\nunits: a\n",
            "'units'; it is a key of 'data': indent",
        ),
        ("schema: 1\nname: a\ntitle: T\ndata:\nunits: a\n", "nothing stands below 'data': indent"),
        (SOUND + "arm: x\n", "unknown key 'arm'; it is a key of 'design': indent it below"),
        (SOUND + "design: {arm: x, control: y, metrics: []}\n", "'metrics' is a key of the file"),
        (SOUND + "metrics: {name: a, kind: mean}\n", "is not a list: begin each of its items with"),
        (SOUND + "segment: [x]\n", "unknown key 'segment'; did you mean 'segments'?"),
        (SOUND + "zzz: x\n", "unknown key 'zzz'; known keys: schema"),
    ],
)
def test_a_key_out_of_its_place_is_sent_where_it_belongs(text: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        validate(*parse(text, "f.yaml"), "f.yaml")
    assert said in str(error.value)
