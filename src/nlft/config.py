"""Settings read from YAML: one model per stage, unknown keys refused with the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nlft.errors import ConfigError

__all__ = ["Config", "did_you_mean", "parse_config", "read_yaml"]


class Config(BaseModel):
    """The base of every stage's settings: frozen, and closed to keys it does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=Config)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a name that does not exist.

    >>> did_you_mean("grde", ["grade", "judge"])
    'did you mean "grade"?'
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else "known are: " + ", ".join(known)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping with the safe loader.

    Raises:
        ConfigError: when the file is missing, no YAML, or no mapping.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=path, remedy="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        problem = getattr(error, "problem", None) or "not YAML"
        raise ConfigError(f"broken YAML: {problem}", file=path, line=line, remedy="correct that line") from None
    if not isinstance(data, dict):
        raise ConfigError("the file holds no mapping of keys to values", file=path, remedy="write `key: value` lines")
    return data


def parse_config(data: dict[str, Any], kind: type[C], *, file: str | Path | None = None) -> C:
    """Validate a mapping as `kind`.

    Raises:
        ConfigError: naming the key, with "did you mean" for one that is unknown.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known_keys(kind, first["loc"][:-1])
            raise ConfigError(
                f'unknown key "{where}"', file=file, remedy=did_you_mean(str(first["loc"][-1]), known)
            ) from None
        raise ConfigError(f'"{where}": {first["msg"].lower()}', file=file, remedy="correct the value") from None


def _known_keys(kind: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys of the model that stands at `path` below `kind`."""
    for part in path:
        field = kind.model_fields.get(str(part))
        if field is None:
            continue  # an index into a list, or a union's tag
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if nested:
            kind = nested[0]
    return list(kind.model_fields)
