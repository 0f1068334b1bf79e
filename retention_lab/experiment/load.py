"""A YAML file's text in; a `Spec` out, or one error that names the line of every fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from retention_lab.errors import SpecError, did_you_mean
from retention_lab.experiment.spec import Spec

Lines = dict[tuple[str | int, ...], int]


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read the experiment file at `path`; `overrides` maps dotted keys to new values.

    A dotted key names a place in the file (``inference.alpha``, ``metrics.revenue.within``,
    list items by position or by name). A value given as text is read as YAML and, where the
    schema wants text, taken as it is.

    Raises SpecError: no such file, not YAML, unknown key (with the nearest known one and the
    line), wrong type, or a name that is not the file's.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [p.stem for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        hint = did_you_mean(path.stem, near)
        raise SpecError(f"there is no experiment file at {path}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read: {error}") from None
    raw, lines = parse(text, str(path))
    spec = with_overrides(raw, overrides or {}, lines, str(path))
    if spec.name != path.stem:
        where = f"{path}, line {lines.get(('name',), 1)}"
        raise SpecError(f"{where}: name is {spec.name!r}; it must be the file's name {path.stem!r}")
    return spec


def parse(text: str, where: str = "the file") -> tuple[dict[str, Any], Lines]:
    """Plain values of the YAML `text`, and the line of every key and item."""
    lines: Lines = {}
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        if isinstance(node, yaml.MappingNode):
            _walk(node, (), lines, where)
        content = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or error
        raise SpecError(f"{where}{line}: not valid YAML: {reason}") from None
    if not isinstance(content, dict):
        raise SpecError(f"{where}: an experiment file is a list of 'key: value' lines")
    return content, lines


def _walk(node: yaml.Node, at: tuple[str | int, ...], lines: Lines, where: str) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            if here in lines:
                first = lines[here]
                line = key.start_mark.line + 1
                raise SpecError(f"{where}, line {line}: {key.value!r} stands twice (line {first})")
            _walk(value, here, lines, where)
            lines[here] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _walk(value, (*at, i), lines, where)


def validate(raw: Mapping[str, Any], lines: Lines | None = None, where: str = "the file") -> Spec:
    """The `Spec` that the plain values `raw` say; raises SpecError with every fault found."""
    try:
        return Spec.model_validate(raw)
    except ValidationError as error:
        faults = [_fault(e, lines or {}, where) for e in error.errors()]
        raise SpecError("\n".join(dict.fromkeys(faults))) from None


def _fault(error: Any, lines: Lines, where: str) -> str:
    at = tuple(error["loc"])
    written = at
    while written and written not in lines:
        written = written[:-1]
    line = f", line {lines[written]}" if written in lines else ""
    place = ".".join(str(p) for p in at if not str(p).startswith("function-"))
    if error["type"] == "extra_forbidden":
        known = _keys_beside(at)
        hint = did_you_mean(str(at[-1]), known) or f"; known keys: {', '.join(known)}"
        return f"{where}{line}: unknown key {place!r}{hint}"
    if error["type"] == "missing":
        return f"{where}{line}: {place!r} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}{line}: {place + ': ' if place else ''}{message}"


def _keys_beside(at: tuple[str | int, ...]) -> list[str]:
    """The known keys of the mapping in which the key at `at` stands."""
    model: Any = Spec
    for step in at[:-1]:
        if isinstance(step, int):
            continue
        named = {f.alias or n: f for n, f in model.model_fields.items()}
        if step in named:
            inner = _model_in(named[step].annotation)
            if inner is not None:
                model = inner
        else:
            inner = next((m for m in _parts() if m.__name__ == step), None)
            if inner is not None:
                model = inner
    return [f.alias or n for n, f in model.model_fields.items()]


def _parts() -> list[type[BaseModel]]:
    from retention_lab.experiment.spec import Part

    return list(Part.__subclasses__())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def with_overrides(
    raw: dict[str, Any], overrides: Mapping[str, Any], lines: Lines, where: str
) -> Spec:
    """The `Spec` that `raw` says once the dotted keys of `overrides` have their new values."""
    for key, value in overrides.items():
        place = f"--set {key}"
        if not isinstance(value, str):
            _put(raw, key, value, place)
            continue
        _put(raw, key, _typed(value), place)
        try:
            Spec.model_validate(raw)
        except ValidationError as error:
            if any(e["type"] in ("string_type", "model_type") for e in error.errors()):
                _put(raw, key, value, place)
    return validate(raw, lines, where)


def _typed(value: str) -> Any:
    """Text from the command line as YAML reads it; as it is where it is no YAML."""
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        return value


def _put(raw: dict[str, Any], key: str, value: Any, place: str) -> None:
    here: Any = raw
    steps = key.split(".")
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if isinstance(here, list):
            index = _item(here, step, place)
            if last:
                here[index] = value
            else:
                here = here[index]
        elif isinstance(here, dict):
            if last:
                here[step] = value
            else:
                here = here.setdefault(step, {})
        else:
            raise SpecError(f"{place}: {'.'.join(steps[:i])!r} holds a value, not keys")


def _item(items: list[Any], step: str, place: str) -> int:
    if step.isdigit() and int(step) < len(items):
        return int(step)
    names = [i.get("name") if isinstance(i, dict) else i for i in items]
    if step in names:
        return names.index(step)
    raise SpecError(f"{place}: no item {step!r}{did_you_mean(step, map(str, names))}")
