"""``retention-lab`` and ``python -m retention_lab`` in; the command line out.

``validate FILES`` is done before the parser of the commands is imported: the import is a sixth of
its time, and it is typed after every edit of a file. For the same reason it collects no garbage,
looks for no plugins, and ends without taking its modules apart.
"""

import gc
import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from retention_lab import terminal
from retention_lab.errors import LabError


def main() -> None:
    """The program: `answer`, and of a quick answer only the answer."""
    quick = _only_validates(sys.argv[1:])
    if quick:
        gc.disable()
        _look_for_no_plugins()
    try:
        answer()
    except SystemExit as end:
        if quick and isinstance(end.code, int):
            _end(end.code)
        raise


def answer() -> None:
    """Do what the command line says; a `LabError` is printed without a traceback, exit status 1."""
    try:
        if _only_validates(sys.argv[1:]):
            sys.exit(_validate(sys.argv[2:]))
        from retention_lab.cli import app

        app()
    except LabError as error:
        terminal.fail(str(error))
        sys.exit(1)
    except BrokenPipeError:  # whoever read, as `head` does, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _only_validates(words: list[str]) -> bool:
    plain = not any(w.startswith("-") for w in words)
    return plain and len(words) > 1 and words[0] == "validate"


def _validate(files: list[str]) -> int:
    """The exit status: 0 where all files are sound."""
    from retention_lab.paths import project_root
    from retention_lab.validate import validate_files

    try:
        sound = validate_files(files, project_root(Path.cwd()))
    except KeyboardInterrupt:
        return 130
    return 0 if sound else 1


def _look_for_no_plugins() -> None:
    """Spare pydantic the search for its plugins, as PYDANTIC_DISABLE_PLUGINS=__all__ does.

    It would read the metadata of every installed package; with the variable it would still import
    what reads them, which takes as long again.
    """
    name = "pydantic.plugin._loader"
    if name in sys.modules:
        return
    stand_in = ModuleType(name)

    def the_real(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        sys.modules.pop(name, None)
        return getattr(import_module(name), attribute)

    vars(stand_in).update(get_plugins=tuple, __getattr__=the_real)
    sys.modules[name] = stand_in


def _end(status: int) -> NoReturn:
    """End the process with `status`: all is written, and nothing else is open."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(status)  # which says on stderr what could not be written
    os._exit(status)


if __name__ == "__main__":
    main()
