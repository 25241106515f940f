"""The blocks of the project's pages: what is a command, what is Python, and why some of it is not run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "recipes/README.md", *sorted(ROOT.glob("docs/**/*.md"))]
# Pages with a test of their own, which also looks at what their commands print.
ELSEWHERE = {"docs/your-own-task.md": "tests/pipeline/test_your_own_task.py",
             "docs/from-adapter-to-server.md": "tests/export/test_docs.py"}  # fmt: skip
# Before a block that is not run: `<!-- not run: needs a GPU -->`, with one of these reasons first.
REASONS = ("needs a GPU", "needs a key", "needs the hub", "takes hours")
# Programs of others, and of this repository's own targets: the test runs what is said between them.
OTHERS = {
    "accelerate",
    "for",
    "kill",
    "llama-server",
    "lm_eval",
    "make",
    "pip",
    "python",
    "torchrun",
    "transformers",
    "vllm",
    "wait",
}

_BLOCK = re.compile(r"(?:^<!-- not run: (.*?) -->\n+)?^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, first line, language, text, and the reason why it is not run, if any."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def commands(self) -> Iterator[list[str]]:
        """The words of each line, without comments, variables that it sets and an ampersand at its end."""
        for line in self.text.splitlines():
            words = shlex.split(re.sub(r"\$\(.*\)", "", line), comments=True)
            if words:
                yield words


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start(3)].count("\n") + 1, found[2], found[3], found[1])
        for found in _BLOCK.finditer(text)
    ]


def program(words: list[str]) -> str:
    """The first word that is no assignment, such as `OMP_NUM_THREADS=1`; empty if all are."""
    return next((word for word in words if not re.match(r"[A-Z_]+=", word)), "")


def nlft_words(words: list[str]) -> list[str]:
    """The arguments of `nlft`, also where a launcher starts it; empty if the line does not."""
    return [word for word in words[words.index("nlft") + 1 :] if word != "&"] if "nlft" in words else []
