"""Settings: one model per stage, the one home of each setting's type, default, range and description.

The command line makes its options from a model's fields, a recipe its sections, the JSON Schema its keys. What a
field's type cannot say is in `Annotated`, next to it: `Flags`, `Several`, `Renamed`, `NamesFile`, `Idle`.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Tag, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from nlft.errors import ConfigError
from nlft.files import content_hash
from nlft.files.yaml import line_of

logger = logging.getLogger("nlft")
HASHED = "sha256:"


@dataclass(frozen=True)
class Flags:
    """A field's names on the command line, if not its own name with dashes, such as `("--model", "-m")`."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Several:
    """A field whose option may be repeated on the command line: what follows the first value goes to the field `rest`."""

    rest: str


@dataclass(frozen=True)
class Renamed:
    """A field's old name, accepted for one version with a message that gives the new one.

    With a `key`, the old field is now that key of this field, a mapping.
    """

    old: str
    key: str | None = None


@dataclass(frozen=True)
class NamesFile:
    """The field names a file or folder, whose content, not its place, decides the result.

    The name may follow one of the `prefixes`, as in `replay:FILE`. A value that is not a path here is hashed as text.
    """

    prefixes: tuple[str, ...] = ()

    def content(self, value: str, inside: Path | None = None) -> str:
        """The hash of the file or folder; its relative path if it is `inside` that folder; otherwise the value."""
        prefix, path = self._parts(value)
        if inside is not None and path.is_relative_to(inside):
            return f"{prefix}{path.relative_to(inside).as_posix()}"
        return f"{prefix}{HASHED}{content_hash(path)}" if path.exists() else value

    def beside(self, value: str, folder: Path) -> str:
        """The value; if its file exists only in `folder`, the path to it from the current folder."""
        prefix, path = self._parts(value)
        found = not path.exists() and (folder / path).is_file()
        return f"{prefix}{os.path.relpath(folder / path)}" if found else value

    def _parts(self, value: str) -> tuple[str, Path]:
        prefix = next((prefix for prefix in self.prefixes if value.startswith(prefix)), "")
        return prefix, Path(value.removeprefix(prefix))


@dataclass(frozen=True)
class Idle:
    """The field changes how fast or where a result is computed, never the result."""


class Config(BaseModel):
    """The base of every stage's settings: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any, info: ValidationInfo) -> Any:
        """Accept old names, and look for missing files next to the file that holds the settings."""
        if not isinstance(data, dict):
            return data
        folder = (info.context or {}).get("folder")
        for name, field in cls.model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, Renamed) and mark.old in data and (mark.key or name not in data):
                    now = name if mark.key is None else f"{name}.{mark.key}"
                    logger.warning('"%s" is now called "%s"; the next version drops the old name', mark.old, now)
                    data = dict(data)
                    value = data.pop(mark.old)
                    data[name] = value if mark.key is None else {mark.key: value, **(data.get(name) or {})}
                elif isinstance(mark, NamesFile) and folder is not None:
                    data = (
                        {**data, name: _each(data[name], partial(mark.beside, folder=folder))} if name in data else data
                    )
        return data

    def identity(self, inside: Path | None = None) -> dict[str, Any]:
        """The part of these settings that decides a result, as JSON: no idle fields, and hashes instead of paths.

        Args:
            inside: Paths in this folder count by their relative name, not by content.
        """
        row = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, Idle):
                    row.pop(name, None)
                elif isinstance(mark, NamesFile):
                    row[name] = _each(row.get(name), partial(mark.content, inside=inside))
        return row


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """A name, or each of a list of names, changed; any other value as it is."""
    if isinstance(value, list):
        return [_each(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


C = TypeVar("C", bound=Config)


def refused(error: ConfigError, *at: str) -> PydanticCustomError:
    """An error that a validator may raise: the key's place, and `at` below it, is added; the remedy stays."""
    place = f"{error.file}: " if error.line is None else f"{error.file}:{error.line}: "
    message = (place if error.file else "") + error.message
    return PydanticCustomError("refused", "{message}", {"message": message, "remedy": error.remedy, "at": at})


def checked_by(check: Callable[[str], object]) -> AfterValidator:
    """Make a field's validator from a function that raises ConfigError for an invalid value."""

    def validate(value: str) -> str:
        try:
            check(value)
        except ConfigError as error:
            raise refused(error) from None
        return value

    return AfterValidator(lambda value: validate(value) if value is not None else None)


def by_comma(value: Any) -> Any:
    """Texts, also as comma-separated text: for a field's `BeforeValidator`."""
    texts = [value] if isinstance(value, str) else value
    return [each for text in texts for each in str(text).split(",")] if isinstance(texts, list) else texts


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The remedy for a name that does not exist.

    >>> did_you_mean("grde", ["grade", "judge"])
    'did you mean "grade"?'
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else "choose from: " + ", ".join(known)


def parse_config(
    data: Mapping[str, Any],
    kind: type[C],
    *,
    file: str | Path | None = None,
    at: Sequence[int | str] = (),
    spell: Callable[[str], str] = str,
) -> C:
    """Validate a mapping as `kind`.

    Args:
        data: Keys and values.
        kind: The settings model.
        file: Where they come from, for messages.
        at: Their position in the file.
        spell: How messages write a key, such as `--max-steps` on a command line.

    Raises:
        ConfigError: naming the key and its line, with "did you mean" for an unknown key.
    """
    try:
        return kind.model_validate(dict(data), context={"folder": Path(file).parent} if file is not None else None)
    except ValidationError as error:
        # A mistyped key often causes a missing one, too, so report the typo.
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    context = first.get("ctx", {})
    known, loc = _place(kind, (*first["loc"], *context.get("at", ())))
    where = ".".join(str(part) for part in [*at, *loc])
    where = spell(where) if spell is not str else f'"{where}"'
    line = line_of(file, [*at, *loc])
    if first["type"] == "extra_forbidden":
        raise ConfigError(f"unknown key {where}", file=file, line=line, remedy=did_you_mean(str(loc[-1]), known))
    if first["type"] == "missing":
        raise ConfigError(f"the key {where} is missing", file=file, line=line, remedy="add it")
    message = first["msg"].removeprefix("Value error, ")
    words, remedy = context.get("expected"), context.get("remedy", "correct the value")
    if first["type"] == "literal_error" and isinstance(first["input"], str) and words:
        message, remedy = (
            f'unknown value "{first["input"]}"',
            did_you_mean(first["input"], re.findall(r"'([^']*)'", words)),
        )
    told = f"{message[:1].lower()}{message[1:]}"
    # Where several keys together do not fit, the message itself names them.
    raise ConfigError(f"{where}: {told}" if [*at, *loc] else told, file=file, line=line, remedy=remedy)


def _place(kind: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], list[int | str]]:
    """The keys of the model that holds the key at `loc` below `kind`, and the place without the tags of unions."""
    place: list[int | str] = []
    known: list[str] = []
    current: Any = kind
    for part in loc:
        choices = _choices(current)
        tagged = next((each for tag, each in choices if tag == part), None)
        model = next((each for _, each in choices if isinstance(each, type) and issubclass(each, BaseModel)), None)
        container = next((each for _, each in choices if get_origin(each) in (dict, list)), None)
        if tagged is not None and len(choices) > 1:
            current = tagged
            continue
        place.append(part)
        if model is not None:
            known = list(model.model_fields)
            field = model.model_fields.get(str(part))
            current = field.annotation if field is not None else None
        else:
            current = get_args(container)[-1] if container is not None and get_args(container) else None
    return known, place


def _choices(annotation: Any) -> list[tuple[str | None, Any]]:
    """The types an annotation unites, each with the tag that errors name it by."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        tag = next((mark.tag for mark in marks if isinstance(mark, Tag)), None)
        return [(tag or own, each) for own, each in _choices(inner)]
    if get_origin(annotation) in (Union, types.UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return [(getattr(annotation, "__name__", None), annotation)]
