"""Objectives by name."""

from __future__ import annotations

from dataclasses import fields
from inspect import isabstract
from typing import Any, TypeVar

from nlft.config import did_you_mean
from nlft.core.settings import SaliencySettings
from nlft.errors import ConfigError
from nlft.objectives.interface import Objective

_OBJECTIVES: dict[str, type[Objective]] = {}

O = TypeVar("O", bound=type[Objective])  # noqa: E741 - a type variable, not a digit


def register(kind: O) -> O:
    """Make an objective known by its `name`; a class decorator.

    Raises:
        ConfigError: for a class without `loss`, an empty name, or one that another class has.
    """
    if isabstract(kind):
        raise ConfigError(f'the objective "{kind.name}" has no loss', remedy="give it the method `loss`")
    known = _OBJECTIVES.get(kind.name)
    if not kind.name or (known is not None and known.__qualname__ != kind.__qualname__):
        raise ConfigError(f'an objective cannot have the name "{kind.name}"', remedy="choose a name of its own")
    _OBJECTIVES[kind.name] = kind
    return kind


def available() -> list[str]:
    """The names of all objectives."""
    return sorted(_OBJECTIVES)


def get_objective(name: str, settings: SaliencySettings | None = None, **options: Any) -> Objective:
    """The objective of that name.

    Args:
        name: one of `available()`.
        settings: the constants of saliency; the preset `paper` where None.
        options: the objective's own fields, such as `cut`'s `threshold` or `sdft`'s `top_k`.

    Raises:
        ConfigError: for a name or option that does not exist, with the nearest that does.

    >>> get_objective("cut", threshold=1.1).threshold
    1.1
    """
    if name not in _OBJECTIVES:
        raise ConfigError(f'there is no objective "{name}"', remedy=did_you_mean(name, available()))
    kind = _OBJECTIVES[name]
    own = {item.name: item.default for item in fields(kind) if item.name != "settings"}
    for option, value in options.items():
        if option not in own:
            remedy = did_you_mean(option, own) if own else "it has no options"
            raise ConfigError(f'the objective "{name}" has no option "{option}"', remedy=remedy)
        _check_number(f"{name}'s {option}", value, own[option])
    return kind(settings or SaliencySettings.paper(), **options)


def _check_number(what: str, value: Any, default: Any) -> None:
    """Refuse what is no number, or no whole number, where the option's default is one."""
    kinds = {float: (int, float), int: (int,)}.get(type(default))
    if kinds and (isinstance(value, bool) or not isinstance(value, kinds)):
        raise ConfigError(f"{what} cannot be {value!r}", remedy=f"give a number, such as {default}")
