"""Options from settings: a verb gets one option for each field of its settings model, and the validated model."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nlft.config import Config, Flags, Renamed, Several, parse_config
from nlft.files.yaml import override

# Options that several verbs share but that are not settings: where to write, and what this call does.
Output = Annotated[Path, typer.Option("--output", "-o", help="JSONL file to write.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would run, then stop.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Overwrite an earlier run in -o.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as train.epochs=1; repeatable."),
]


def _allow(value: bool) -> bool:
    """At once, because settings are checked before the command begins."""
    if value:
        from nlft.grade import allow_code

        allow_code()
    return value


AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        callback=_allow,
        help="Run code that a model or a recipe brings (graders, trust_remote_code); its limits are no sandbox.",
    ),
]

V = TypeVar("V", bound=Callable[..., Any])
M = TypeVar("M")


def make_app(**settings: Any) -> typer.Typer:
    """The app of one verb, or of a verb with parts."""
    return typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def with_settings(
    kind: type[Config], *, operands: Sequence[str] = (), leave_out: Iterable[str] = ()
) -> Callable[[V], V]:
    """Decorate a verb that takes `settings: kind`: its other parameters stay, each field of `kind` becomes an option.

    An option that is not given keeps its field unset, so that the model can tell a choice from a default.

    Args:
        kind: The settings model; its fields' descriptions, ranges and defaults are the options' help.
        operands: Fields that are positional, before everything else.
        leave_out: Fields that the command line does not offer.
    """
    # A stage's own settings come first, then those it shares with other stages.
    names = [
        name for each in kind.__mro__ for name in getattr(each, "__annotations__", {}) if name in kind.model_fields
    ]
    rests = {name: mark.rest for name, mark in _marked(kind.model_fields, Several)}
    hidden = {*leave_out, *rests.values()}
    fields = {name: kind.model_fields[name] for name in dict.fromkeys(names) if name not in hidden}

    def decorate(function: V) -> V:
        signature = inspect.signature(function, eval_str=True)
        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [each.replace(kind=keyword) for each in signature.parameters.values() if each.name != "settings"]
        marks = [(fields[name], mark) for name, mark in _marked(fields, Renamed)]
        old = {mark.old: FieldInfo(annotation=str) if mark.key else field for field, mark in marks}

        def verb(**given: Any) -> Any:
            values = {name: given.pop(name) for name in (*fields, *old)}
            chosen = {name: _value(fields.get(name), value) for name, value in values.items() if value is not None}
            for name, rest in rests.items():
                if len(given_all := chosen.pop(name, [])) > 1:
                    chosen[rest] = given_all[1:]
                chosen |= {name: given_all[0]} if given_all else {}
            return function(**given, settings=parse_config(chosen, kind, spell=_flag))

        first = [_operand(name, fields[name]) for name in operands]
        options = [_option(name, field) for name, field in fields.items() if name not in operands]
        options += [_option(name, field, hidden=True) for name, field in old.items()]
        verb.__name__, verb.__doc__, verb.__annotations__ = function.__name__, function.__doc__, {}
        verb.__signature__ = signature.replace(parameters=[*first, *own, *options])  # type: ignore[attr-defined]
        return verb  # type: ignore[return-value]

    return decorate


def _marked(fields: Mapping[str, FieldInfo], kind: type[M]) -> list[tuple[str, M]]:
    """The fields with a mark of this kind, and their marks."""
    return [(name, mark) for name, field in fields.items() for mark in field.metadata if isinstance(mark, kind)]


def _operand(name: str, field: FieldInfo) -> inspect.Parameter:
    info = typer.Argument(metavar="FILE" if name == "source" else None, help=_sentence(field.description or ""))
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, info])


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _option(name: str, field: FieldInfo, *, hidden: bool = False) -> inspect.Parameter:
    """The parameter that typer turns into an option."""
    flags = next((mark.names for mark in field.metadata if isinstance(mark, Flags)), (_flag(name),))
    kind, choices = _kind(field.annotation)
    kind = list[str] if any(isinstance(mark, Several) for mark in field.metadata) else kind
    required = field.is_required() and not hidden
    notes = [_range(field), f"default: {default}" if (default := _default(field)) else ""]
    help_text = _sentence(field.description or "") + "".join(f" [{note}]" for note in notes if note)
    info = typer.Option(
        *((_flag(name),) if hidden else flags),
        help=help_text,
        show_default=False,
        hidden=hidden,
        metavar="KEY=VALUE" if _is_mapping(field.annotation) else ("|".join(choices) if choices else None),
        autocompletion=(lambda incomplete: [c for c in choices if c.startswith(incomplete)]) if choices else None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if required else None,
        annotation=Annotated[kind if required else kind | None, info],
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _value(field: FieldInfo | None, value: Any) -> Any:
    """The value for the model: a mapping's assignments merged; any other value as typer read it."""
    if field is not None and _is_mapping(field.annotation):
        return override({}, value)
    return value


def _default(field: FieldInfo) -> str:
    """The default as the help shows it; empty for a flag, a required option, or None."""
    default = field.get_default(call_default_factory=True)
    if default in (PydanticUndefined, None, {}, []) or default is False:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def _range(field: FieldInfo) -> str:
    signs = {Ge: (">=", "ge"), Gt: (">", "gt"), Le: ("<=", "le"), Lt: ("<", "lt")}
    marks = [(signs[type(mark)], mark) for mark in field.metadata if type(mark) in signs]
    return ", ".join(f"{sign} {getattr(mark, name)}" for (sign, name), mark in marks)


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types an annotation unites, without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(each for part in get_args(annotation) for each in _members(part) if each is not type(None))
    return (get_args(annotation)[0],) if get_origin(annotation) is Annotated else (annotation,)


def _is_mapping(annotation: Any) -> bool:
    return [get_origin(each) or each for each in _members(annotation)] == [dict]


def _kind(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """The type typer converts to, and the words to choose from; the model itself checks every value."""
    members = _members(annotation)
    if _is_mapping(annotation):
        return list[str], ()
    literals = tuple(str(word) for each in members if get_origin(each) is Literal for word in get_args(each))
    if literals or str in members:
        return str, literals
    if any(get_origin(each) is list for each in members):
        return list[str], ()
    return next(each for each in (bool, float, int, str) if each in members), ()
