"""A YAML file's text in; a `Spec` out, or one error that names the line of every fault."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from retention_lab.errors import SpecError, did_you_mean
from retention_lab.experiment.spec import Spec
from retention_lab.experiment.yaml_slips import slip

DATE = "a date, such as 2026-01-15"
WANTED = {  # pydantic's kinds of error -> what was wanted there
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), DATE),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("model_type", "dict_type"), "keys of its own, each with its value"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list: begin each of its items with '- '"),
    "less_than_equal": "at most {le:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "greater_than": "more than {gt:g}",
}
At = tuple[str | int, ...]
Lines = dict[At, int]


class OverrideError(SpecError):
    """A value given with ``--set`` that the file may not have; the file itself is sound."""


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Spec:
    """Read the experiment file at `path`; `overrides` maps dotted keys to new values.

    A dotted key names a place in the file (``inference.alpha``, ``metrics.revenue.within``,
    list items by position or by name). A value given as text is read as YAML and, where the
    schema wants text, taken as it is.

    Raises SpecError: no such file, not YAML, unknown key (with the nearest known one and the
    line), wrong type, or a name that is not the file's. Where only a new value is wrong, it is an
    OverrideError, which names the ``--set``.
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
        if "name" in (overrides or {}):
            raise OverrideError(f"--set name: it must stay the file's name {path.stem!r}")
        where = f"{path}, line {lines.get(('name',), 1)}"
        raise SpecError(f"{where}: name is {spec.name!r}; it must be the file's name {path.stem!r}")
    return spec


def parse(text: str, where: str = "the file") -> tuple[dict[str, Any], Lines]:
    """Plain values of the YAML `text`, and the line of every key and item."""
    lines: Lines = {}
    node = None
    try:
        loader = yaml.CSafeLoader(text)
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            _walk(node, (), lines, where)
        content = loader.construct_document(node) if node is not None else None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        odd = _unreadable(node) if isinstance(error, ValueError) else None
        if odd is not None:
            place = f"{where}, line {odd.start_mark.line + 1}"
            raise SpecError(f"{place}: {odd.value!r} is not a date: {error}") from None
        line, reason = slip(error, text)
        place = f"{where}, line {line}" if line else where
        raise SpecError(f"{place}: not valid YAML: {reason}") from None
    if not isinstance(content, dict):
        raise SpecError(f"{where}: an experiment file is a list of 'key: value' lines")
    return content, lines


def _unreadable(node: yaml.Node | None) -> yaml.ScalarNode | None:
    """The first value below `node` that looks like a date and is none, such as 2025-13-14."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag != "tag:yaml.org,2002:timestamp":
            return None
        try:
            yaml.CSafeLoader("").construct_object(node)
        except ValueError:
            return node
        return None
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    return next((found for n in inner if (found := _unreadable(n)) is not None), None)


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
        faults = [_line(at, lines or {}, where) + said for at, said in _faults(error, raw)]
        raise SpecError("\n".join(dict.fromkeys(faults))) from None


def _line(at: At, lines: Lines, where: str) -> str:
    """``FILE, line 3: `` for the innermost place of `at` that is written."""
    while at and at not in lines:
        at = at[:-1]
    return f"{where}, line {lines[at]}: " if at in lines else f"{where}: "


def _faults(error: ValidationError, raw: Any) -> list[tuple[At, str]]:
    """Place and words of every fault of `raw`; of a choice between types, the nearest to mend."""
    found: dict[At, list[tuple[int, str]]] = {}
    for e in error.errors():
        at = _written(tuple(e["loc"]), raw, e["type"])
        found.setdefault(at, []).append((e["type"] == "literal_error", _said(e, at)))
    faults = []
    for at, said in found.items():
        best = max(rank for rank, _ in said)
        faults += [(at, words) for rank, words in said if rank == best]
    return faults


def _written(loc: At, raw: Any, kind: str) -> At:
    """The place in the file that `loc` means: without pydantic's names of types."""
    at: list[str | int] = []
    here = raw
    for i, step in enumerate(loc):
        last = i == len(loc) - 1
        if isinstance(here, Mapping) and (step in here or (last and kind == "missing")):
            here = here.get(step)
        elif isinstance(here, list | tuple) and isinstance(step, int) and step < len(here):
            here = here[step]
        else:
            continue
        at.append(step)
    return tuple(at)


def _said(error: Any, at: At) -> str:
    """What is wrong, with its place in words and the nearest name that would be right."""
    place, key = _place(at), str(at[-1]) if at else ""
    if error["type"] == "extra_forbidden":
        known = _keys_beside(tuple(error["loc"]))
        hint = _elsewhere(at) or did_you_mean(key, known) or f"; known keys: {', '.join(known)}"
        inside = at[0] == "metrics" and len(at) > 2
        if inside:
            return f"{_place(at[:-1])}: unknown key {key!r}{hint}"
        return f"unknown key {place!r}{hint}"
    if error["type"] == "missing":
        return f"{place!r} is missing" if at[0] != "metrics" else f"{_place(at[:-1])}: no {key!r}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error":
        choices = _choices(error["ctx"]["expected"])
        hint = did_you_mean(str(error["input"]), choices)
        message = f"{error['input']!r} is none of {', '.join(choices)}{hint}"
    elif error["type"] in WANTED:
        wanted = WANTED[error["type"]].format(**error.get("ctx", {}))
        if error["input"] is None and wanted.startswith(("keys", "a list")):
            return f"nothing stands below {place!r}: indent what belongs to it, or leave it out"
        message = f"{error['input']!r} is not {wanted}{_share(error['input'])}"
    return f"{place + ': ' if place else ''}{message}"


def _elsewhere(at: At) -> str:
    """Where a key that is out of its place belongs: a slip of the indent."""
    key = str(at[-1])
    if len(at) > 1:
        return f"; {key!r} is a key of the file: do not indent it" if key in _sections() else ""
    homes = [name for name, keys in _sections().items() if key in keys]
    return f"; it is a key of {homes[0]!r}: indent it below" if len(homes) == 1 else ""


def _sections() -> dict[str, list[str]]:
    """By key of the file, the keys below it; none for those that hold a value."""
    found = {}
    for name, field in Spec.model_fields.items():
        inner = _model_in(field.annotation) if name not in ("title", "question") else None
        known = inner.model_fields.items() if inner is not None and name != "metrics" else ()
        found[field.alias or name] = [f.alias or n for n, f in known]
    return found


def _share(value: Any) -> str:
    """``; write 0.01`` for 1%."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    return f"; write {float(found[1]) / 100:.10g}" if found else ""


def _choices(expected: str) -> list[str]:
    """The values of pydantic's ``'a', 'b' or 'c'``."""
    return [c.strip().strip("'") for c in expected.replace(" or ", ", ").split(", ")]


def _place(at: Sequence[str | int]) -> str:
    """``inference.alpha``; items are counted from 1, as people do: ``metric 2, cap.quantile``."""
    parts: list[str] = []
    for step in at:
        if isinstance(step, int):
            named = "metric" if parts == ["metrics"] else f"{parts.pop()}, item"
            parts = [f"{named} {step + 1}"]
        elif parts and parts[-1][-1:].isdigit() and " " in parts[-1]:
            parts[-1] += f", {step}"
        else:
            parts = [f"{'.'.join([*parts, step])}"]
    return "".join(parts)


def _keys_beside(at: At) -> list[str]:
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
    """The `Spec` that `raw` says once the dotted keys of `overrides` have their new values.

    Raises OverrideError where `raw` is sound and a new value is not, else SpecError.
    """
    if not overrides:
        return validate(raw, lines, where)
    changed = copy.deepcopy(raw)
    places: dict[str, At] = {}
    for key, value in overrides.items():
        put = f"--set {key}"
        places[key] = _put(changed, key, _typed(value) if isinstance(value, str) else value, put)
        if not isinstance(value, str):
            continue
        try:
            Spec.model_validate(changed)
        except ValidationError as error:
            if any(e["type"] in ("string_type", "model_type") for e in error.errors()):
                _put(changed, key, value, put)
    try:
        return Spec.model_validate(changed)
    except ValidationError as error:
        validate(raw, lines, where)
        faults = [f"{_culprits(at, places)}: {said}" for at, said in _faults(error, changed)]
        raise OverrideError("\n".join(dict.fromkeys(faults))) from None


def _culprits(at: At, places: Mapping[str, At]) -> str:
    """The ``--set`` that a fault at `at` comes from; all of them where it may be any."""
    near = [k for k, place in places.items() if _overlap(place, at)]
    return ", ".join(f"--set {key}" for key in near or places)


def _overlap(a: At, b: At) -> bool:
    """Whether one place lies within the other, the top of the file not counted."""
    short = min(len(a), len(b))
    return short > 0 and a[:short] == b[:short]


def _typed(value: str) -> Any:
    """Text from the command line as YAML reads it; as it is where it is no YAML."""
    try:
        return yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        return value


def _put(raw: dict[str, Any], key: str, value: Any, place: str) -> At:
    """Put `value` at the dotted `key` of `raw`; where that is."""
    here: Any = raw
    at: list[str | int] = []
    steps = key.split(".")
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if isinstance(here, list):
            index = _item(here, step, place)
            at.append(index)
            if last:
                here[index] = value
            else:
                here = here[index]
        elif isinstance(here, dict):
            at.append(step)
            if last:
                here[step] = value
            else:
                here = here.setdefault(step, {})
        else:
            raise OverrideError(f"{place}: {'.'.join(steps[:i])!r} holds a value, not keys")
    return tuple(at)


def _item(items: list[Any], step: str, place: str) -> int:
    if step.isdigit() and int(step) < len(items):
        return int(step)
    names = [i.get("name") if isinstance(i, dict) else i for i in items]
    if step in names:
        return names.index(step)
    raise OverrideError(f"{place}: no item {step!r}{did_you_mean(step, map(str, names))}")
