"""The chat template a model is spoken to with: its own or another, with nothing left open.

What a template leaves open (whether to think, today's date) is written into its text, so that the tokenizer, and
whatever is saved with it, says the same thing everywhere and every day.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nlft.errors import ConfigError
from nlft.lm.config import PLAIN, TemplateSettings

# The texts with blank lines between them: what a model without a template is given by choice.
_PLAIN = (
    "{% for message in messages %}{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '\n\n' }}{% endfor %}"
)
_SWITCH = "{{%- if {name} is not defined %}}{{%- set {name} = {value} %}}{{%- endif %}}{{{{ '' }}}}"
_DATE = re.compile(r"""strftime_now\(\s*(["'])(?P<form>[^"']*)\1\s*\)""")


def settle_template(
    tokenizer: Any, settings: TemplateSettings, *, name: str, load_other: Callable[[str], Any] | None = None
) -> None:
    """Give the tokenizer the chosen chat template, with the decisions about thinking and date written into it.

    A template that was settled before keeps what it says unless the settings ask for something else.

    Args:
        tokenizer: Its `chat_template` is set.
        settings: Which template, and what it leaves open.
        name: What messages call the model.
        load_other: Loads the tokenizer of the model that the settings name.

    Raises:
        ConfigError: without a template of its own, if the settings name none; for one that cannot be read, or that
            lacks what the settings would decide.
    """
    chosen = settings.chat_template
    if chosen is None:
        template = getattr(tokenizer, "chat_template", None)
        if not template:
            raise ConfigError(
                f"the tokenizer of {name} has no chat template, as a base model's has none",
                remedy="name one with --chat-template: a Jinja file, the model's Instruct sibling, or plain (the texts "
                "with blank lines between them)",
            )
    elif chosen == PLAIN:
        template = ("{{ bos_token }}" if _adds_bos(tokenizer) else "") + _PLAIN
    else:
        template = _read(chosen, load_other)
    texts = template if isinstance(template, dict) else {"default": template}
    _refuse_idle(settings, "".join(texts.values()))
    settled = {each: _settled(text, settings) for each, text in texts.items()}
    tokenizer.chat_template = settled if isinstance(template, dict) else settled["default"]


def settled_file(path: Path) -> str:
    """A template file's text with nothing left open; one that training saved stays as it is."""
    return _settled(path.read_text(encoding="utf-8"), TemplateSettings())


def _adds_bos(tokenizer: Any) -> bool:
    """Whether it begins every text with a token of its own."""
    first = tokenizer("a").input_ids[:1]
    return bool(first) and first[0] == tokenizer.bos_token_id


def _read(chosen: str, load_other: Callable[[str], Any] | None) -> Any:
    path = Path(chosen).expanduser()
    file = path / "chat_template.jinja" if path.is_dir() else path
    if file.is_file() and file.suffix != ".gguf":
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                "the chat template cannot be read as text", file=file, remedy="give a Jinja file"
            ) from None
    if path.suffix in (".jinja", ".jinja2", ".txt") or load_other is None:
        raise ConfigError("there is no such chat template", file=chosen, remedy="check --chat-template")
    template = getattr(load_other(chosen), "chat_template", None)
    if not template:
        raise ConfigError(
            f"{chosen} has no chat template either", remedy="name a model that has one, such as an Instruct model"
        )
    return template


def _refuse_idle(settings: TemplateSettings, text: str) -> None:
    default = TemplateSettings.model_fields["template_date"].default
    if settings.thinking != "auto" and not _mentions(text, "enable_thinking"):
        raise ConfigError(
            f"thinking={settings.thinking} has no effect: the chat template has no switch for it (enable_thinking)",
            remedy="leave `thinking` out",
        )
    if settings.template_date != default and not (_DATE.search(text) or _mentions(text, "date_string")):
        raise ConfigError(
            "template_date has no effect: the chat template writes no date", remedy="leave `template_date` out"
        )


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def _settled(text: str, settings: TemplateSettings) -> str:
    """The template with its switches set and its clock stopped.

    >>> _settled("{{ strftime_now('%Y-%m-%d') }}", TemplateSettings())
    "{{ '2024-07-26' }}"
    """
    day = datetime.date.fromisoformat(settings.template_date)
    stopped = _DATE.sub(lambda found: f"{found[1]}{day.strftime(found['form'])}{found[1]}", text)
    if "strftime_now(" in stopped:
        raise ConfigError(
            "the chat template writes today's date in a way that cannot be fixed",
            remedy="give a copy with a fixed date: --chat-template FILE",
        )
    if stopped == text and _mentions(text, "date_string"):
        usual = settings.template_date == TemplateSettings.model_fields["template_date"].default
        stopped = _with_default(stopped, "date_string", f'"{day.strftime("%d %b %Y")}"', keep=usual)
    if _mentions(text, "enable_thinking"):
        value = {"auto": "false", "off": "false", "on": "true"}[settings.thinking]
        stopped = _with_default(stopped, "enable_thinking", value, keep=settings.thinking == "auto")
    return stopped


def _with_default(text: str, name: str, value: str, *, keep: bool = False) -> str:
    """The template with a default for a variable at its head; an earlier one is replaced, or kept."""
    head = re.compile(re.escape(_SWITCH.format(name=name, value="VALUE")).replace("VALUE", ".*?"))
    if head.search(text):
        return text if keep else head.sub(lambda _: _SWITCH.format(name=name, value=value), text, count=1)
    return _SWITCH.format(name=name, value=value) + text
