"""The project's own files in; proof that they agree with each other out."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONDA_NAMES = {"python-duckdb": "duckdb"}


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def environment() -> dict:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def locked() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line.strip()]


def locked_version(name: str, python: str) -> str:
    """The version that the lock gives `name` on Linux with this Python."""
    here = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
    }
    found = [
        str(r.specifier).removeprefix("==")
        for r in locked()
        if canonicalize_name(r.name) == name and (r.marker is None or r.marker.evaluate(here))
    ]
    assert len(found) == 1, f"{name} on Python {python}: {found}"
    return found[0]


def declared() -> list[Requirement]:
    project = pyproject()
    lines = [
        *project["project"]["dependencies"],
        *(d for group in project["project"]["optional-dependencies"].values() for d in group),
        *project["dependency-groups"]["dev"],
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("wanted", declared(), ids=lambda r: r.name)
def test_the_lock_holds_every_dependency_at_a_version_that_fits(wanted: Requirement) -> None:
    versions = [
        str(r.specifier).removeprefix("==")
        for r in locked()
        if canonicalize_name(r.name) == canonicalize_name(wanted.name)
    ]
    assert versions
    assert all(wanted.specifier.contains(v, prereleases=True) for v in versions)


def test_the_lock_pins_every_package_and_says_where_none_comes_from() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    assert "--" not in text
    for requirement in locked():
        assert [s.operator for s in requirement.specifier] == ["=="], requirement.name


def test_the_lock_stays_below_duckdb_2() -> None:
    assert int(locked_version("duckdb", "3.11").split(".")[0]) < 2


def conda_pins() -> tuple[dict[str, str], dict[str, str]]:
    """What environment.yml pins: names (as on PyPI) to versions, from conda and from pip."""
    lines = environment()["dependencies"]
    conda = dict(
        line.replace(" ", "").split("=", 1)
        for line in lines
        if isinstance(line, str) and "=" in line
    )
    pip = next(line["pip"] for line in lines if isinstance(line, dict))
    return (
        {CONDA_NAMES.get(k, k): v for k, v in conda.items()},
        dict(line.split("==") for line in pip if "==" in line),
    )


def test_conda_gets_the_direct_dependencies_at_the_locked_versions() -> None:
    conda, _ = conda_pins()
    python = conda.pop("python")
    names = {canonicalize_name(Requirement(d).name) for d in pyproject()["project"]["dependencies"]}
    assert conda == {name: locked_version(name, python) for name in names}


def test_conda_gets_the_optional_datasets_at_the_locked_versions() -> None:
    conda, pip = conda_pins()
    extras = pyproject()["project"]["optional-dependencies"]
    names = {canonicalize_name(Requirement(d).name) for group in extras.values() for d in group}
    assert pip == {name: locked_version(name, conda["python"]) for name in names}


def test_conda_installs_the_lab_itself_on_a_python_that_it_supports() -> None:
    conda, _ = conda_pins()
    assert Requirement(f"x{pyproject()['project']['requires-python']}").specifier.contains(
        conda["python"]
    )
    pip = next(line["pip"] for line in environment()["dependencies"] if isinstance(line, dict))
    assert "--editable ." in pip
    assert environment()["channels"] == ["conda-forge"]


@cache
def tracked() -> dict[str, bytes]:
    """Every file that git holds, as it lies in the work tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = [n for n in listed.stdout.decode().split("\0") if n and (ROOT / n).is_file()]
    return {n: (ROOT / n).read_bytes() for n in names}


# Written in pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    "pypi" + r"\.org",
    "python" + r"hosted\.org",
    "conda" + r"\.anaconda\.org",
    "registry" + r"\.npmjs",
    "npm" + r"mirror\.com",
    "(?<!no-emit-)" + "index" + "-url",
    "extra" + "-index",
    "find" + "-links",
]
MACHINE_PATHS = [
    "/" + "work/",
    "/" + r"root/",
    "/" + r"home/[a-z]",
    "/" + r"Users/[A-Za-z]",
    r"[A-Z]:\\\\?" + "Users",
    "/" + "opt/pypi",
    "/" + r"tmp/(?!$)[a-z0-9_]{6,}",
]


@pytest.mark.parametrize("pattern", REGISTRIES)
def test_no_file_names_a_package_registry(pattern: str) -> None:
    found = [n for n, b in tracked().items() if re.search(pattern.encode(), b, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize("pattern", MACHINE_PATHS)
def test_no_file_holds_a_path_of_one_machine(pattern: str) -> None:
    found = [n for n, b in tracked().items() if re.search(pattern.encode(), b)]
    assert found == []


def test_the_searches_find_what_they_look_for() -> None:
    assert re.search(REGISTRIES[0], "https://pypi" + ".org/simple")
    assert re.search(REGISTRIES[5], "pip install --index" + "-url x")
    assert not re.search(REGISTRIES[5], "--no-emit-index" + "-url")
    assert re.search(MACHINE_PATHS[2], "/" + "home/ada/project")


def test_notebooks_are_committed_without_outputs() -> None:
    notebooks = {n: b for n, b in tracked().items() if n.endswith(".ipynb")}
    assert notebooks
    for name, content in notebooks.items():
        for cell in json.loads(content)["cells"]:
            assert not cell.get("outputs"), name
            assert cell.get("execution_count") is None, name


def test_nothing_generated_is_committed() -> None:
    generated = ("mlruns/", "mlflow.db", "benchmarks/out/", ".venv/")
    assert [n for n in tracked() if n.startswith(generated)] == []
    assert [n for n in tracked() if n.startswith("reports/")] == ["reports/README.md"]
    assert {n: len(b) for n, b in tracked().items() if len(b) > 1_000_000} == {}


def test_the_licence_is_what_pyproject_says() -> None:
    assert pyproject()["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "reports" / "README.md"]


def commands(path: Path) -> list[str]:
    """Every command line of `path`: in code blocks, and between backquotes."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    return [line.strip().removeprefix("$ ").split("#")[0].strip() for line in lines]


@pytest.mark.parametrize("path", documents(), ids=lambda p: p.name)
def test_every_make_target_in_a_document_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for line in commands(path):
        if found := re.match(r"make ([a-z-]+)", line):
            assert found[1] in targets, line


@pytest.mark.parametrize("path", documents(), ids=lambda p: p.name)
def test_every_command_and_option_in_a_document_exists(path: Path) -> None:
    import typer.main

    from retention_lab.cli import app

    group = typer.main.get_command(app)
    for line in commands(path):
        found = re.match(r"(?:\.venv/bin/)?retention-lab(?: (.*))?$", line)
        if not found or not found[1] or found[1].startswith("-"):
            continue
        words = found[1].split()
        assert words[0] in group.commands, line
        known = {o for p in group.commands[words[0]].params for o in p.opts} | {"--help"}
        used = {w.split("=")[0] for w in words[1:] if w.startswith("--")}
        assert used <= known, line


@pytest.mark.parametrize("path", documents(), ids=lambda p: p.name)
def test_every_link_in_a_document_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_the_demo_runs_four_of_the_experiments_that_come_with_the_lab() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (names,) = re.findall(r"^demo:.*\n.*retention-lab run (.*)$", makefile, re.MULTILINE)
    shipped = [Path(n).stem for n in tracked() if n.startswith("experiments/")]
    assert names.split() == [
        "comeback-coupon",
        "hillstrom-email",
        "cdnow-cohorts",
        "complete-journey-coupons",
    ]
    assert set(names.split()) <= set(shipped)


def test_tables_of_a_user_are_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/data/" in ignored
    assert "/reports/*" in ignored


def test_the_notebook_opens_on_an_experiment_that_needs_no_download() -> None:
    cells = json.loads((ROOT / "notebooks" / "ab_test.ipynb").read_text(encoding="utf-8"))["cells"]
    first = next("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    assert 'experiment = "experiments/comeback-coupon.yaml"' in first


@pytest.mark.parametrize("room", ["run", "experiment", "survival"])
def test_the_map_names_every_module(room: str) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^  {room}/ +(.*\n(?: {{6,}}.*\n)*)", page, re.MULTILINE)
    inside = re.compile(rf"retention_lab/{room}/(?:model/)?\w+\.py$")
    modules = [Path(n).name for n in tracked() if inside.match(n)]
    assert [m for m in modules if m not in line and m != "__init__.py"] == []


def test_the_documented_change_of_values_works() -> None:
    from retention_lab.experiment.load import load

    page = (ROOT / "docs" / "experiment-file.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`retention-lab run (.+ --set .+)`", page)
    name, *words = line.split()
    changes = dict(w.split("=", 1) for w in words if w != "--set")
    spec = load(ROOT / "experiments" / f"{name}.yaml", changes)
    assert spec.inference.alpha == 0.1
    assert any(m.margin == 0.01 for m in spec.metrics)
