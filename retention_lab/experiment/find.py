"""Names, paths and globs as typed in; the experiment files they mean out."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from retention_lab.errors import SpecError, did_you_mean


def experiment_files(root: Path) -> list[Path]:
    """Every experiment file of the project at `root`, sorted by name."""
    return sorted((root / "experiments").glob("*.yaml"))


def find_files(typed: Sequence[str], root: Path) -> list[Path]:
    """The files that `typed` means, each once, in the order given.

    An entry is a path, a glob, or the bare name of a file in ``experiments/``. A path that does
    not exist is returned as it is where it ends in .yaml: reading it then says what is wrong.

    Raises SpecError for a glob that fits nothing and a name that is not there.
    """
    found: list[Path] = []
    for entry in typed:
        by_name = root / "experiments" / f"{entry}.yaml"
        if Path(entry).is_file():
            found.append(Path(entry))
        elif by_name.is_file():
            found.append(by_name)
        elif glob.has_magic(entry):
            matched = sorted(Path(p) for p in glob.glob(entry, recursive=True))  # noqa: PTH207
            if not matched:
                raise SpecError(f"no experiment file fits {entry!r}")
            found.extend(matched)
        elif Path(entry).suffix in (".yaml", ".yml"):
            found.append(Path(entry))
        else:
            known = [p.stem for p in experiment_files(root)]
            hint = did_you_mean(entry, known) or f"; there are: {', '.join(known) or 'none yet'}"
            raise SpecError(f"there is no experiment {entry!r} in {root / 'experiments'}{hint}")
    once: dict[Path, Path] = {}
    for file in found:
        once.setdefault(file.absolute(), file)
    return list(once.values())
