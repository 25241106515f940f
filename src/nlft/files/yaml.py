"""YAML files: read by a safe loader, overridden key by key, with the line of every key."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from nlft.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `on`, `yes` and `no` are words, `1e-4` is a number; no repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # settings have no such keys; the base class rejects unhashable ones
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f'the key "{key.value}" occurs twice', problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)$"),
    "-+.0123456789",
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with a safe loader.

    Raises:
        ConfigError: if the file is missing, is not valid YAML or not a mapping, or repeats a key.
    """
    path = Path(path)
    try:
        # The loader is a SafeLoader: it builds only plain values.
        data = yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506
    except FileNotFoundError:
        raise ConfigError("no such file", file=path, remedy="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read: {error}", file=path) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        problem = getattr(error, "problem", None) or "malformed"
        raise ConfigError(f"invalid YAML: {problem}", file=path, line=line, remedy="correct that line") from None
    if not isinstance(data, dict):
        raise ConfigError("the file is not a mapping of keys to values", file=path, remedy="write `key: value` lines")
    return data


def override(data: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The mapping with `key=value` assignments applied; keys may be dotted, values are YAML.

    >>> override({"train": {"epochs": 3}}, ["train.epochs=1", "sizes=[2, 4]", "answer=null"])
    {'train': {'epochs': 1}, 'sizes': [2, 4], 'answer': None}

    Raises:
        ConfigError: for a malformed assignment, or a value that is not valid YAML.
    """
    result: dict[str, Any] = dict(data)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not key or not equals:
            raise ConfigError(
                f'"{assignment}" is not an assignment', remedy="write it as key=value, such as train.epochs=1"
            )
        try:
            value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError:
            raise ConfigError(f'"{assignment}": the value is not valid YAML', remedy="quote it") from None
        *path, last = key.split(".")
        place = result
        for part in path:
            inner = place.get(part)
            place[part] = dict(inner) if isinstance(inner, dict) else {}
            place = place[part]
        place[last] = value
    return result


def line_of(file: str | Path | None, loc: Sequence[int | str]) -> int | None:
    """The line of a YAML file on which the value at `loc`, or the nearest enclosing value, begins."""
    if file is None or not Path(file).is_file():
        return None
    node, line = yaml.compose(Path(file).read_text(encoding="utf-8-sig"), Loader=_Loader), None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            pair = (node.value[part], node.value[part])
        else:
            break
        if pair is None:
            continue  # a union's tag, or a key that is missing
        line = pair[0].start_mark.line + 1
        node = pair[1]
    return line
