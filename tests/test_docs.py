"""The pages in docs/ in; proof that they say what the code does out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

from retention_lab import results
from retention_lab.experiment import sections, spec
from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.sections import BRACKETS

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


def test_every_part_of_the_file_has_its_section() -> None:
    parts = set(spec.Part.__subclasses__())
    parts |= {further for part in parts for further in part.__subclasses__()}
    assert parts - ENGINES == set(SECTIONS.values())


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
    text = source("ab") + source("experiment")
    given = set(re.findall(r'"([a-z_]+): [a-z]', source("ab")))
    given |= set(re.findall(r'_fault\(\s*"(\w+)"', text))
    given -= {"no_arm", "not_a_share"}  # the first is a check only, the second of a rollout
    assert set(first_cells(RESULTS, "note begins with")) == given
