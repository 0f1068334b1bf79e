"""The pages in docs/ in; proof that they say what the code does out."""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from pydantic.fields import FieldInfo

from retention_lab import results
from retention_lab.data.source import Source
from retention_lab.experiment import sections, spec
from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.sections import BRACKETS
from retention_lab.incentives.arms.ledger import Terms, ledger
from retention_lab.incentives.arms.means import Contrast, Means

DOCS = Path(__file__).resolve().parents[1] / "docs"
PACKAGE = DOCS.parent / "retention_lab"
PAGE = (DOCS / "experiment-file.md").read_text(encoding="utf-8")
RESULTS = (DOCS / "results.md").read_text(encoding="utf-8")
SECTIONS = {
    "## Top level": spec.Spec,
    "## data": spec.Data,
    "### Tables with a time": spec.Timed,
    "### Events": spec.Events,
    "## design": spec.Design,
    "### switchback": spec.Switchback,
    "## metrics": spec.Metric,
    "### cap": spec.Cap,
    "## covariates": spec.Covariates,
    "## inference": spec.Inference,
    "## planning": spec.Planning,
    "## privacy": spec.Privacy,
    "## report": spec.Report,
    "### Texts": spec.Translated,
    "## survival": spec.Survival,
    "### promotion": spec.Promotion,
    "### bins": spec.Binned,
    "## incentive": spec.Incentive,
    "### cost": spec.Cost,
    "### pull_forward": sections.PullForward,
    "### Covariates with a time": sections.Known,
}
ENGINES = {spec.Duckdb, spec.Spark, spec.Ibis}


def rows(heading: str) -> dict[str, str]:
    """Keys and written defaults of the table under `heading`."""
    assert PAGE.count(f"\n{heading}\n") == 1, heading
    body = PAGE.split(f"\n{heading}\n")[1]
    body = re.split(r"\n##+ ", body)[0]
    table = body.split("| key | default | meaning |")[1]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", table, re.MULTILINE))


def written(field: FieldInfo) -> str:
    """How a page writes the default of `field`."""
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "–"
    part = field.annotation if isinstance(field.annotation, type) else object
    if issubclass(part, spec.Translated):
        return "empty"
    if issubclass(part, spec.Part):
        return "see there"
    if value == BRACKETS:
        return "every 30 days"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_stands_on_the_page_with_its_default(heading: str) -> None:
    fields = SECTIONS[heading].model_fields
    assert rows(heading) == {f.alias or name: written(f) for name, f in fields.items()}


def within(annotation: Any) -> Iterator[Any]:
    """`annotation` and all that it is made of: of `tuple[str | Known, ...]` str and Known too."""
    yield annotation
    for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from within(part)


def parts_of(part: type[spec.Part]) -> set[type[spec.Part]]:
    """`part` and every part that can stand in it, at whatever depth."""
    found, waiting = {part}, [part]
    while waiting:
        for field in waiting.pop().model_fields.values():
            named = {t for t in within(field.annotation) if isinstance(t, type)}
            more = {t for t in named if issubclass(t, spec.Part)} - found
            found |= more
            waiting += more
    return found


def test_every_part_of_the_file_has_its_section() -> None:
    assert parts_of(spec.Spec) - ENGINES == set(SECTIONS.values())
    assert parts_of(spec.Incentive) >= {spec.Cost, sections.PullForward, sections.Known}


def meaning(heading: str, key: str) -> str:
    """The last cell of the row of `key` in the table under `heading`."""
    body = re.split(r"\n##+ ", PAGE.split(f"\n{heading}\n")[1])[0]
    body = body.split("| key | default | meaning |")[1]
    (found,) = re.findall(rf"^\| `{key}` \| .+? \| (.+) \|$", body, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_word_to_choose_from_stands_in_the_row_of_its_key(heading: str) -> None:
    for name, field in SECTIONS[heading].model_fields.items():
        key = field.alias or name
        words = [w for t in within(field.annotation) if get_origin(t) is Literal
                 for w in get_args(t) if isinstance(w, str)]  # fmt: skip
        row = f"{meaning(heading, key)} `{written(field).strip('`')}`"
        if key != "kind":  # a table of its own
            assert [w for w in words if not re.search(rf"`[^`]*\b{w}\b[^`]*`", row)] == [], key


def test_every_key_of_some_strategies_says_of_which() -> None:
    known = get_args(spec.Incentive.model_fields["strategy"].annotation)
    for key in set(rows("## incentive")) - {"strategy"}:
        head = meaning("## incentive", key).partition(": ")[0].lower().split(", ")
        said = set(head) if set(head) <= set(known) else set(known)
        assert said == set(sections._OWN.get(key, known)), key


def test_every_kind_of_metric_stands_on_the_page() -> None:
    for kind in spec.KINDS:
        assert f"| `{kind}` |" in PAGE


def test_the_whole_file_of_the_page_is_one() -> None:
    example, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    raw, lines = parse(example)
    assert len(validate(raw, lines).metrics) == 5


def test_the_survival_file_of_the_page_is_one() -> None:
    (example,) = re.findall(r"```yml\n(.*?)```", PAGE, re.DOTALL)
    raw, lines = parse(f"schema: 1\nname: cohorts\ntitle: Cohorts\n{example}")
    section = validate(raw, lines).survival
    assert section is not None
    assert section.promotion[0].name == "q4"


def test_the_incentive_of_the_page_goes_with_its_whole_file() -> None:
    whole, _, example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    section = validate(*parse(f"{whole}{example}")).incentive
    assert section is not None
    assert (section.strategy, section.cost.redemption) == ("encouragement", 10)
    assert section.revenue in whole


def test_csv_files_are_read_as_the_page_says(tmp_path: Path) -> None:
    rows = ["id;paid;day;came", "1;1,5;2026-01-31;yes", "2;NA;null;no", "3;;2026-02-01;."]
    (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
    with gzip.open(tmp_path / "b.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(rows).replace(";", "\t").replace(",", "."))
    for name in ("a.csv", "b.tsv.gz"):
        source = Source(spec.Data(units=name), tmp_path, tmp_path)
        assert source.columns(name) == {
            "id": "number", "paid": "number", "day": "date", "came": "truth",
        }  # fmt: skip
        (found,) = source.query("select count(paid) p, count(day) d, count(came) c from t", t=name)
        assert found == {"p": 1, "d": 2, "c": 2}
    section = PAGE.split("### Dates written as text")[1].split("\n### ")[0]
    made = re.findall(r"`(\S+\(.+?)`", section)
    sql = [m for m in made if m.startswith(("to_timestamp", "replace"))]
    assert len(sql) == 2
    of = "(select 1738318000 as ordered_at, '$1,234.50' as price)"
    query = f"select epoch({sql[0]}) as t, {sql[1]} as p from {of}"
    assert source.query(query) == [{"t": 1738318000.0, "p": 1234.5}]


def first_cells(page: str, head: str) -> list[str]:
    """Names in the first column of the table whose first head cell is `head`."""
    body = page.split(f"\n| {head} |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`.+?`) \|", body, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def source(room: str) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted((PACKAGE / room).glob("*.py")))


def test_every_column_of_the_result_table_stands_on_the_page() -> None:
    assert tuple(first_cells(RESULTS, "column")) == results.COLUMNS


def test_every_decision_stands_on_the_page() -> None:
    assert sorted(first_cells(RESULTS, "verdict")) == sorted(get_args(results.Decision))


def test_the_estimands_on_the_page_are_those_of_the_analysis() -> None:
    said = set(re.findall(r'estimand(?:: Any)?="(\w+)"', source("ab")))
    said |= set(re.findall(r'estimand = "(\w+)" if self.ratio else "(\w+)"', source("ab"))[0])
    said |= set(re.findall(r'_where\("(\w+)"', source("ab")))
    said |= {
        "mean",
        "ratio",
        "quantile_difference",
        "main_effect",
        "interaction",
        "ratio_difference",
        "mean_difference",
        "immature",
        "missing",
    }
    assert set(first_cells(RESULTS, "estimand")) == said


def test_every_note_that_the_analysis_or_the_plan_gives_stands_on_the_page() -> None:
    house = source("ab") + (PACKAGE / "clusters.py").read_text(encoding="utf-8")
    text = house + source("experiment")
    given = set(re.findall(r'"([a-z_]+): [a-z]', house))
    given |= set(re.findall(r'_fault\(\s*"(\w+)"', text))
    given -= {"no_arm", "not_a_share"}  # the first is a check only, the second of a rollout
    assert set(first_cells(RESULTS, "note begins with")) == given


HOUSE = PACKAGE / "incentives"
INCENTIVES = RESULTS.split("\n## Incentives\n")[1].split("\n## ")[0]
# What makes the rows of the tables under these headings.
ROWS = {
    ("The ledger",): ["arms/ledger.py", "strategies/randomised.py"],
    ("The effect on redeemers",): ["strategies/encouragement.py"],
    ("The response to a dose",): ["strategies/dose.py"],
    ("Pull-forward",): ["pullforward.py"],
    ("Customers alike", "How strong a hidden cause would have to be"): [
        "strategies/observational.py", "strategies/doubts.py",
    ],
    ("About a threshold",): ["strategies/threshold.py", "threshold/*.py"],
    ("Market by market",): ["strategies/rollout.py", "rollout/*.py"],
}  # fmt: skip
NOTES = {
    "note of these rows begins with": [
        "arms/*.py", "pullforward.py", "strategies/randomised.py", "strategies/encouragement.py",
        "strategies/dose.py", "../clusters.py",
    ],
    "note of an observational row begins with": [
        "strategies/observational.py", "strategies/doubts.py", "observed/*.py",
    ],
    "note of a threshold's row begins with": ["strategies/threshold.py", "threshold/*.py"],
    "note of a rollout's row begins with": ["strategies/rollout.py", "rollout/*.py"],
}  # fmt: skip
MAKERS = {"row", "_row", "_effect", "_with", "_tested", "effect", "linear", "_line", "Line"}
NAME = re.compile(r"[a-z]+(?:_[a-z]+)*")


def trees(patterns: Iterable[str]) -> Iterator[ast.Module]:
    for pattern in patterns:
        paths = sorted(HOUSE.glob(pattern))
        assert paths, pattern
        for path in paths:
            yield ast.parse(path.read_text(encoding="utf-8"))


def words(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The names among some nodes, those in tuples too."""
    for node in nodes:
        if isinstance(node, ast.Tuple):
            yield from words(node.elts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from NAME.findall(node.value) if NAME.fullmatch(node.value) else ()


def estimands(tree: ast.Module) -> set[str]:
    """What is given as an estimand: by that name, or first to a function that makes a row."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found |= set(words(k.value for k in node.keywords if k.arg == "estimand"))
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            found |= set(list(words(node.args))[:1]) if name in MAKERS else set()
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in (
            "name", "names", "estimand",
        ):  # fmt: skip
            found |= set(words([node.value]))
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
            targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
            if getattr(targets[0], "id", "") == "estimand":
                found |= {w for row in node.iter.elts for w in list(words([row]))[:1]}
    return found


def codes(tree: ast.Module) -> set[str]:
    """What begins a text ``code: sentence`` that is no docstring."""
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in said]
    found = [re.match(r"([a-z]+(?:_[a-z]+)*): ", t) for t in texts if isinstance(t, str)]
    return {m[1] for m in found if m}


def tables(page: str, head: str) -> set[str]:
    """Names in the first columns of all tables of `page` whose first head cell is `head`."""
    parts = page.split(f"\n| {head} |")[1:]
    return {n for part in parts for n in first_cells(f"\n| {head} |{part}", head)}


@pytest.mark.parametrize("headings", ROWS, ids=lambda h: h[0])
def test_every_estimand_of_an_incentive_stands_in_the_table_of_its_strategy(
    headings: tuple[str, ...],
) -> None:
    given = {e for tree in trees(ROWS[headings]) for e in estimands(tree)}
    parts = [re.split(r"\n### ", INCENTIVES.split(f"\n### {h}\n")[1])[0] for h in headings]
    said = {name for part in parts for name in tables(part, "row")}
    if headings == ("About a threshold",):  # points to the ledger, whose first and last it names
        said -= {"incremental_revenue", "revenue_ratio"}
        given -= {"incremental_returns", "incremental_profit"}
    assert said == given


@pytest.mark.parametrize("head", NOTES)
def test_every_note_of_an_incentive_stands_in_the_table_of_its_strategy(head: str) -> None:
    given = {c for tree in trees(NOTES[head]) for c in codes(tree)}
    said = set(first_cells(INCENTIVES, head))
    assert given - said == set()
    of_the_plan = set(re.findall(r'_fault\(\s*"(\w+)"', source("experiment")))
    assert said - given <= of_the_plan | {"missing_values"}


def test_every_table_of_incentives_is_held_against_the_source() -> None:
    headings = set(re.findall(r"^### (.+)$", INCENTIVES, re.MULTILINE))
    assert headings == {h for several in ROWS for h in several}
    heads = set(re.findall(r"^\| (.+?) \|.*\n\|---", INCENTIVES, re.MULTILINE))
    assert heads == {"row", *NOTES}
    held = {p for patterns in [*ROWS.values(), *NOTES.values()] for t in patterns
            for p in HOUSE.glob(t)}  # fmt: skip
    others = {p.name for p in set(HOUSE.rglob("*.py")) - held}
    assert others == {"__init__.py", "analyse.py", "decide.py", "terms.py"}


def test_intervals_from_few_buyers_hold_as_seldom_as_the_page_says() -> None:
    (told,) = re.findall(r"4 and 2 % buy .*? in (\d+) % of simulations", RESULTS)
    rng, units, times, sigma = np.random.default_rng(3), 200, 1500, 1.3
    sides = [
        np.where(rng.random((times, units)) < share, rng.lognormal(3.5, sigma, (times, units)), 0.0)
        for share in (0.04, 0.02)
    ]
    truth = 0.3 * 0.02 * np.exp(3.5 + sigma**2 / 2) - 0.1
    zero, held, flagged = np.zeros((1, 1)), 0, 0
    for arm, base in zip(*sides, strict=True):
        means = [
            Means(np.array([y.mean()]), np.array([[y.var(ddof=1) / units]]), units, units)
            for y in (arm, base)
        ]
        lines = ledger(("revenue",), Contrast(*means, zero, zero, zero), Terms(0.3, 0.1), 0.05)
        profit = next(x for x in lines if x.estimand == "incremental_profit")
        held += profit.low is not None and profit.low <= truth <= (profit.high or 0.0)
        flagged += (profit.note or "").startswith("few_buyers")
    assert abs(held / times - int(told) / 100) < 3.5 * (0.09 * 0.91 / times) ** 0.5
    assert flagged > 0.95 * times
