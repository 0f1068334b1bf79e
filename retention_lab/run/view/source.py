"""A run folder in; everything that its report is made from out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retention_lab.experiment.spec import Spec
from retention_lab.results import Results, Verdict
from retention_lab.run.folder import read_run, spec_of
from retention_lab.texts import label, metric_label, say


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One finished run, as its folder holds it."""

    folder: Path
    run: dict[str, Any]
    spec: Spec
    results: Results
    verdict: Verdict

    @classmethod
    def load(cls, folder: Path) -> Source:
        """Read the folder; raises RunError or SpecError where it does not hold a finished run."""
        return cls(
            folder, read_run(folder), spec_of(folder), Results.load(folder), Verdict.load(folder)
        )

    @property
    def control(self) -> str:
        return self.spec.design.control if self.spec.design else ""


@dataclasses.dataclass(frozen=True, slots=True)
class Tongue:
    """A run's words in one language: sentences, and the labels of its arms and metrics."""

    spec: Spec
    language: str

    def say(self, key: str, **values: object) -> str:
        return say(self.language, key, **values)

    def arm(self, name: object) -> str:
        return label(self.spec, name, self.language)

    def metric(self, name: object) -> str:
        return metric_label(self.spec, name, self.language)

    def joined(self, sentences: Sequence[str]) -> str:
        """Sentences one after the other; Chinese ones without a space between."""
        return ("" if self.language == "zh" else " ").join(sentences)

    @property
    def control(self) -> str:
        return self.arm(self.spec.design.control) if self.spec.design else ""
