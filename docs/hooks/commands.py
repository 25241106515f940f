"""The reference of the commands, written into docs/commands.md from what `nlft` itself reads: the settings' fields."""

import re
from collections.abc import Iterator
from typing import Any

from nlft.cli.app import VERBS, load_verb

PLACE = "<!-- the commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the reference where the page asks for it; every other page stays as it is."""
    return markdown.replace(PLACE, "\n".join(reference()))


def reference() -> Iterator[str]:
    """Every command, in the order of `nlft --help`, with the options that it shows."""
    for name in VERBS:
        verb = load_verb(name)
        parts = getattr(verb, "commands", {})
        if not parts or verb.invoke_without_command:
            yield from command(f"nlft {name}", verb)
        else:
            yield from ("", f"## nlft {name}", "", plain(verb.help))
        for part, each in parts.items():
            yield from command(f"nlft {name} {part}", each)


def command(name: str, verb: Any) -> Iterator[str]:
    """One command: what it does, its usage, its arguments and options as its help has them."""
    context = verb.make_context(name, [], resilient_parsing=True)
    usage = " ".join(context.get_usage().removeprefix("Usage: ").split())
    yield from ("", f"{'#' * len(name.split())} {name}", "", plain(verb.help), "", "```text", usage, "```", "")
    records = [record for each in verb.params if (record := each.get_help_record(context)) is not None]
    if records:
        yield from ("| argument or option | what it does |", "|---|---|")
    for named, what in records:
        yield f"| `{cell(named)}` | {cell(plain(what))} |"


def plain(text: str | None) -> str:
    """A help text as Markdown: paragraphs stay, signs that would be markup are text."""
    paragraphs = [" ".join(each.split()) for each in re.split(r"\n\s*\n", text or "")]
    # What stands in backquotes is code already; elsewhere a bracket or an asterisk is a sign.
    parts = re.split(r"(`[^`]*`)", "\n\n".join(paragraphs))
    return "".join(part if part.startswith("`") else re.sub(r"([<>*_\[\]])", r"\\\1", part) for part in parts)


def cell(text: str) -> str:
    """Text inside a table."""
    return text.replace("|", "\\|").replace("\n", " ")
