"""Every block of commands in the pages is run by a test, or says why not; and every option they name exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from tests.docs.blocks import ELSEWHERE, OTHERS, PAGES, REASONS, ROOT, Block, blocks, name, nlft_words, program

from nlft.cli.app import VERBS, UsageError, load_verb

ALL = [block for page in PAGES for block in blocks(page)]
COMMANDS = [block for block in ALL if block.language == "sh"]
INLINE = sorted({(page, code) for page in PAGES for code in re.findall(r"`(nlft [^`\n]+)`", page.read_text("utf-8"))})


# How the reader of options calls what a sentence leaves out.
UNFINISHED = ("MissingParameter", "BadOptionUsage", "NoArgsIsHelpError")


def place(block: Block) -> str:
    return f"{name(block.page)}:{block.line}"


def parse(words: list[str], *, complete: bool) -> None:
    """Read the words as the command line does; a part of a command need not name everything it takes."""
    verb, *rest = words
    command, name, parent = load_verb(verb), verb, None
    try:
        while command is not None:
            context = command.make_context(name, rest, parent=parent)
            parts = [*getattr(context, "_protected_args", []), *context.args]
            if not getattr(command, "commands", None) or not parts:
                return
            name, *rest = parts
            command, parent = command.get_command(context, name), context
        raise AssertionError(f"there is no command {name}")
    except typer.Exit:
        assert "--help" in words
    except UsageError as error:
        if complete or type(error).__name__ not in UNFINISHED:
            raise


def test_the_pages_have_blocks() -> None:
    assert len(COMMANDS) >= 25
    assert {"README.md", *ELSEWHERE} <= {name(block.page) for block in COMMANDS}
    for path in ELSEWHERE.values():
        assert (ROOT / path).exists()


@pytest.mark.parametrize("block", COMMANDS, ids=place)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    if block.reason is not None:
        assert block.reason.startswith(REASONS), f"begin the reason with one of {REASONS}"
        return
    for words in block.commands():
        assert program(words) in {"", "nlft", "cp", *OTHERS}, "no test runs this program"


@pytest.mark.parametrize("block", COMMANDS, ids=place)
def test_every_command_of_a_block_is_one(block: Block) -> None:
    for words in block.commands():
        if given := nlft_words(words):
            parse(given, complete=True)


@pytest.mark.parametrize(("page", "code"), INLINE, ids=lambda each: each if isinstance(each, str) else each.name)
def test_every_command_in_a_sentence_is_one(page: Path, code: str) -> None:
    words = shlex.split(re.sub(r" (?:\.\.\.|>).*|[\[|].*", "", code))[1:]
    words = ["1" if re.fullmatch("[A-Z]", word) else word for word in words]  # a number, or M
    if words and words[0] in VERBS:
        parse(words, complete=False)
    else:
        assert not words or words[0].startswith("-") or not words[0].islower(), f"{page}: {code}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_command_stands_in_a_block_of_commands(page: Path) -> None:
    """Not in a plain block, nor indented: those are not looked at above."""
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"^    (?:nlft|make|pip|torchrun) .*", text, re.MULTILINE)
    plain = [line for block in blocks(page) if block.language == "" for line in block.text.splitlines()]
    assert not [line for line in plain if line.startswith(("nlft ", "make ", "pip ", "torchrun "))]
