"""``retention-lab`` and ``python -m retention_lab`` in; the command line out.

``validate FILES`` is done before the parser of the commands is imported: the import is a sixth of
its time, and it is typed after every edit of a file.
"""

import sys
from pathlib import Path

from retention_lab import terminal
from retention_lab.errors import LabError


def main() -> None:
    """Run the command line; a `LabError` is printed without a traceback, exit status 1."""
    try:
        if _only_validates(sys.argv[1:]):
            _validate(sys.argv[2:])
        else:
            from retention_lab.cli import app

            app()
    except LabError as error:
        terminal.fail(str(error))
        sys.exit(1)


def _only_validates(words: list[str]) -> bool:
    plain = not any(w.startswith("-") for w in words)
    return plain and len(words) > 1 and words[0] == "validate"


def _validate(files: list[str]) -> None:
    from retention_lab.paths import project_root
    from retention_lab.validate import validate_files

    try:
        sound = validate_files(files, project_root(Path.cwd()))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
