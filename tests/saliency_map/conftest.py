"""A real Chromium, and scored records made on the spot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nlft.core import SaliencySettings
from nlft.records import Scored, Verdict, write_records
from nlft.score.schema import make_scores

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing of the browser's own may reach for a network; the sandbox needs rights a container lacks.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WORDS = [" The", " total", " is", " 3", " +", " 4", " =", " 7", ".", "\n", "####", " so", " é", "", "🙂", " cost"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; without one these tests are skipped, but where CI is set they fail."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        reason = "no Chromium on the PATH (tests/install_browser.sh installs one)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, headless=True, args=ARGUMENTS)
        yield launched
        launched.close()


class Opened:
    """A page in the browser with everything it complained of or asked a network for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    def wait(self) -> None:
        """Until the whole set is computed under the settings of now."""
        self.page.wait_for_selector("body:not([data-busy])")
        self.page.wait_for_selector("#check:not(:empty)", state="attached")


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file or URL: `open_page(target, width=..., color_scheme=...)`."""
    contexts = []

    def open_(target: Path | str, *, width: int = 1400, height: int = 1000, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.goto(target.as_uri() if isinstance(target, Path) else target)
        opened.wait()
        return opened

    yield open_
    for context in contexts:
        context.close()


def random_scored(
    seed: int, *, correct: bool, n: int | None = None, settings: SaliencySettings | None = None
) -> Scored:
    """A response of random probabilities, with hidden states that drift so that phrases have all lengths."""
    generator = torch.Generator().manual_seed(seed)
    n = n if n is not None else int(torch.randint(1, 60, (), generator=generator))
    d = int(torch.randint(3, 80, (), generator=generator))

    def logps() -> torch.Tensor:
        return torch.rand(n, generator=generator).pow(float(torch.rand((), generator=generator)) + 0.05).log()

    drift = torch.randn(n, d, generator=generator).cumsum(dim=0) * 0.4
    # One token of the vocabulary a position; the last two are a character of two tokens.
    pieces = [WORDS[i] for i in torch.randint(0, len(WORDS), (n,), generator=generator).tolist()]
    scores = make_scores(
        model="a tiny model",
        token_ids=list(range(n)),
        pieces=pieces,
        logp_base=logps(),
        logp_standard=logps(),
        logp_judge=None if correct else logps(),
        hidden_states=drift + torch.randn(n, d, generator=generator),
        settings=settings or SaliencySettings.paper(),
    )
    return scored_with(scores, f"row-{seed}", correct=correct)


def scored_with(scores: Any, identity: str, *, correct: bool, **fields: Any) -> Scored:
    given = {
        "id": identity,
        "question": f"What is {identity}?",
        "reference": "#### 7",
        "response": "".join(scores.pieces),
        "verdict": Verdict(correct=correct, value="7", reason="the last number"),
        "judgment": None if correct else "the sum is wrong",
        "judge": None if correct else "rule",
        "scores": scores,
    }
    return Scored(**(given | fields))


@pytest.fixture(scope="session")
def make_scored() -> Callable[..., Scored]:
    return random_scored


@pytest.fixture(scope="session")
def dress() -> Callable[..., Scored]:
    """A record around given scores."""
    return scored_with


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., Path]:
    """Write records and export them, as the command does; the page's path."""
    from nlft.config import Config
    from nlft.saliency_map.export import page_file

    def export(rows: list[Scored], name: str = "map.html") -> Path:
        scored = tmp_path / "scored.jsonl"
        write_records(scored, rows)
        page_file(Config(), scored, tmp_path / name)
        return tmp_path / name

    return export
