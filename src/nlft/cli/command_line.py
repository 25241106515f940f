"""A recipe's section as the command line it stands for: its keys are the verb's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from nlft.config import did_you_mean, line_of
from nlft.errors import ConfigError

__all__ = ["Setting", "command_line", "describe", "verb_options"]

Setting = str | int | float | bool | list[str | int | float] | None


def command_line(
    verb: str,
    operands: Sequence[str],
    settings: Mapping[str, Setting],
    *,
    section: str | None = None,
    file: str | Path | None = None,
) -> list[str]:
    """The arguments of `nlft` that run `verb` with these settings, checked as the command itself would.

    A key is an option's name without its dashes, `max_new_tokens` for `--max-new-tokens`; true sets a
    flag, false leaves it out, null leaves an option at its default, a list is joined by commas or, for
    an option that may be repeated, repeats it. The verb is not run, and nothing heavy is loaded.

    Args:
        verb: A command of `nlft`.
        operands: Its positional arguments.
        settings: Key and value for each option.
        section: Where the settings stand in `file`, for messages.
        file: The recipe.

    Raises:
        ConfigError: for an unknown key, with the nearest that exists, and a value the option refuses.
    """
    section = section or verb
    options = verb_options(verb, operands)
    words = [verb, *operands]
    for key, value in settings.items():
        if key not in options:
            raise ConfigError(
                f'unknown key "{section}.{key}"',
                file=file,
                line=line_of(file, (section, key)),
                remedy=did_you_mean(key, options),
            )
        words += _words(options[key], value)
    _parse(words, operands, section, file)
    return words


def verb_options(verb: str, operands: Sequence[str] = ()) -> dict[str, Any]:
    """The options of a verb by their keys in a recipe; those of `data` depend on its source."""
    options = {}
    for parameter in _command(verb, operands)[0].params:
        long = next((name for name in getattr(parameter, "opts", []) if name.startswith("--")), None)
        if long is not None and parameter.name != "help":
            options[long.removeprefix("--").replace("-", "_")] = parameter
    return options


def describe(verb: str, operands: Sequence[str] = ()) -> dict[str, str]:
    """What each key of a verb's section means: the option's help."""
    return {key: str(option.help or "") for key, option in verb_options(verb, operands).items()}


@cache
def _root() -> Any:
    """The whole command line; building it takes a tenth of a second, and a recipe asks for it often."""
    import typer

    from nlft.cli.app import app

    return typer.main.get_command(app)


def _command(verb: str, operands: Sequence[str] = ()) -> tuple[Any, int]:
    """The command that a verb with these operands runs, and how many words of the command line name it."""
    root = _root()
    if verb not in root.commands:
        raise ConfigError(f'there is no command "{verb}"', remedy=did_you_mean(verb, root.commands))
    command = root.commands[verb]
    if not hasattr(command, "commands"):
        return command, 1
    if operands and operands[0] in command.commands:
        return command.commands[operands[0]], 2
    return command.commands["file"], 1  # `nlft data FILE`: a word that names no source is a file


def _words(option: Any, value: Setting) -> list[str]:
    name = next(name for name in option.opts if name.startswith("--"))
    if value is None:
        return []
    if getattr(option, "is_flag", False) and isinstance(value, bool):
        negative = list(option.secondary_opts)
        return [name] if value else negative[:1]
    if isinstance(value, list):
        texts = [_text(item) for item in value]
        return [word for text in texts for word in (name, text)] if option.multiple else [name, ",".join(texts)]
    return [name, _text(value)]


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(words: list[str], operands: Sequence[str], section: str, file: str | Path | None) -> None:
    """Let the command's own parser look at the words; it converts and checks every value."""
    from nlft.cli.app import UsageError

    command, named_by = _command(words[0], operands)
    name = "nlft " + " ".join(words[:named_by])
    try:
        command.make_context(name, words[named_by:])
    except UsageError as error:
        key = getattr(getattr(error, "param", None), "name", None)
        message = error.format_message()
        raise ConfigError(
            f"{section}: {message[:1].lower()}{message[1:]}",
            file=file,
            line=line_of(file, (section, key) if key else (section,)),
            remedy=f"`{name} --help` tells what it takes",
        ) from None
