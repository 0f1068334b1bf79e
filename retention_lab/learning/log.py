"""A folder of reports in; the learning log, and its file learning.json, out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retention_lab.experiment.spec import Translated
from retention_lab.learning.families import Family, Learnt, families, same_family
from retention_lab.learning.lessons import Lesson, lessons
from retention_lab.run.folder import write_atomically

NAME = "learning.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Log:
    """What was learnt: a lesson an experiment, the newest first, and what families add up to."""

    lessons: tuple[Lesson, ...] = ()
    families: tuple[Family, ...] = ()

    def worth(self, lesson: Lesson) -> Learnt | None:
        """The lesson's effect less the winner's curse; None where its family is too small."""
        for family in self.families:
            names = (same_family(family.name), same_family(lesson.family))
            if family.note is None and names[0] == names[1] and family.metric == lesson.metric:
                known = {(e.experiment, e.arm): e for e in family.effects}
                return known.get((lesson.experiment, str(lesson.arm)))
        return None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for learning.json."""
        found = dataclasses.asdict(dataclasses.replace(self, lessons=()))
        return {
            "schema": 1,
            "lessons": [_plain(lesson) for lesson in self.lessons],
            "families": found["families"],
        }


def log(reports: Path) -> Log:
    """The log of the runs under `reports`; reads only, and never fails for a broken run."""
    found = lessons(Path(reports))
    return Log(found, families(found))


def write(reports: Path, learnt: Log | None = None) -> Path:
    """Write ``learning.json`` (of `learnt`, or of what is there) and return its path.

    Raises OSError where `reports` cannot be written.
    """
    content = (learnt if learnt is not None else log(reports)).as_dict()
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    path = Path(reports) / NAME
    write_atomically(path, text + "\n")
    return path


def _plain(lesson: Lesson) -> dict[str, Any]:
    return {f.name: _value(getattr(lesson, f.name)) for f in dataclasses.fields(lesson)}


def _value(value: Any) -> Any:
    if isinstance(value, Translated):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {name: _value(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
