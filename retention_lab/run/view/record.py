"""A run in; its methods in plain words, and the record of where its numbers come from, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from retention_lab.run.folder import changed_text
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import level_of


@dataclasses.dataclass(frozen=True, slots=True)
class Method:
    """One method: its name, what it does, and where it comes from (may be empty)."""

    title: str
    text: str
    source: str


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """Lines of the provenance table, the tables read, and the files beside the report."""

    lines: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str, str], ...]
    files: tuple[tuple[str, str], ...]


def methods(source: Source, tongue: Tongue) -> tuple[Method, ...]:
    """Only the methods that this run used."""
    rows, spec = source.results.rows, source.spec
    named = " ".join({r.method for r in rows if r.method})
    estimands = {r.estimand for r in rows}
    sequential = spec.inference.sequential
    used = {
        "interval": True,
        "welch": "Welch" in named,
        "fieller": "relative_lift" in estimands,
        "holm": spec.inference.correction == "holm" and any(r.p_adjusted is not None for r in rows),
        "delta": "delta" in named,
        "lin": "Lin" in named,
        "cluster": "cluster" in named,
        "quantile": "quantile" in estimands,
        "cap": any(m.cap for m in spec.metrics),
        "sequence": sequential in (True, "confidence_sequence"),
        "spending": sequential in ("obrien_fleming", "pocock"),
        "margin": "non_inferiority" in estimands,
        "factorial": "main_effect" in estimands,
        "together": "simultaneous_difference" in estimands,
        "bayes": "probability_best" in estimands,
        "segments": "shrunken_difference" in estimands,
        "exploration": any(r.segment and r.p_adjusted is not None for r in rows),
        "ratio": "sample_ratio" in estimands,
        "gate": "aa_rejections" in estimands,
        "window": any(m.within for m in spec.metrics),
    }
    without_source = {"interval", "window", "cap", "margin", "factorial", "together", "gate"}
    return tuple(
        Method(
            tongue.say(f"methods.{key}_title"),
            tongue.say(f"methods.{key}", level=level_of(spec)),
            "" if key in without_source else tongue.say(f"methods.{key}_source"),
        )
        for key, wanted in used.items()
        if wanted
    )


def record(source: Source, tongue: Tongue) -> Record:
    run = source.run
    say = tongue.say
    changed = changed_text(run) or say("provenance.none")
    lines = [
        (say("provenance.run"), source.folder.name),
        (say("provenance.file"), str(run.get("file") or source.spec.name)),
        (say("provenance.changed"), changed),
        (say("provenance.started"), moment(run.get("started"))),
    ]
    if run.get("seconds") is not None:
        seconds = say("provenance.seconds", n=f"{float(run['seconds']):.1f}")
        lines.append((say("provenance.took"), seconds))
    lines += [
        (say("provenance.git"), _git(run.get("git") or {}, tongue)),
        (say("provenance.hashes"), _hashes(run.get("hashes") or {}, tongue)),
        (say("provenance.engine"), str(run.get("engine") or "")),
        (say("provenance.versions"), _pairs(run.get("versions") or {})),
    ]
    mlflow = run.get("mlflow")
    if mlflow:
        words = {"run": mlflow.get("run_id"), "experiment": source.spec.name}
        lines.append((say("provenance.mlflow"), say("provenance.mlflow_run", **words)))
    inputs = tuple(
        (str(i.get("name", "")), str(i.get("ref", "")), short(i.get("digest")))
        for i in run.get("inputs") or []
    )
    names = (("results.csv", "results_file"), ("notebook.ipynb", "notebook_file"))
    files = tuple(
        (name, say(f"provenance.{key}")) for name, key in names if (source.folder / name).is_file()
    )
    return Record(tuple((k, v) for k, v in lines if v), inputs, files)


def moment(value: object) -> str:
    """``2026-01-16 08:15 UTC`` from an ISO time; the text itself where it is none."""
    text = str(value or "")
    if len(text) >= 16 and text[10:11] == "T":
        return f"{text[:10]} {text[11:16]} UTC"
    return text


def short(digest: object) -> str:
    """The first ten characters of a hash."""
    return str(digest)[:10] if digest else ""


def _git(git: Mapping[str, Any], tongue: Tongue) -> str:
    if not git.get("commit"):
        return tongue.say("provenance.git_none")
    key = "provenance.git_dirty" if git.get("dirty") else "provenance.git_clean"
    return tongue.say(key, commit=short(git["commit"]))


def _hashes(hashes: Mapping[str, Any], tongue: Tongue) -> str:
    said = []
    for name, digest in hashes.items():
        if name == "spec" and digest == hashes.get("file"):
            continue
        if digest and name in ("file", "spec", "notebook", "data", "lock", "code"):
            said.append(f"{tongue.say(f'provenance.hash.{name}')} {short(digest)}")
    return tongue.say("comma").join(said)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k.replace('_', '-')} {v}" for k, v in values.items())
