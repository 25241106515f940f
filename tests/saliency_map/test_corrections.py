"""A person corrects rows in a real browser, with the keyboard; what was saved outlives the server, and is trained on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from tests.saliency_map.test_editor import on_disk, rows
from tests.saliency_map.test_safety import HOSTILE
from tests.tiny import tiny_model

from nlft.lm import load_model
from nlft.lm.score import score_batch
from nlft.objectives import get_objective
from nlft.prompts import load_prompts
from nlft.records import Judged, read_records, write_records
from nlft.train import encode_dataset

pytestmark = pytest.mark.browser


class Served:
    """`nlft view FILE --serve --edit` in a process of its own."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "nlft", "view", str(path), "--serve", "--edit"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split(" ")[0]

    def kill(self) -> None:
        """As a crash would: no farewell."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Served]]:
    started: list[Served] = []

    def start(path: Path) -> Served:
        started.append(Served(path))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    write_records(tmp_path / "judged.jsonl", rows(4))
    return tmp_path / "judged.jsonl"


class Keyboard:
    """Counts what is pressed; text typed counts by its characters."""

    def __init__(self, page: Any) -> None:
        self.page, self.keys, self.typed = page, 0, 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.typed += len(text)


def opened_page(browser: Any, url: str, **options: Any) -> tuple[Any, list[str]]:
    page = browser.new_context(viewport={"width": 1400, "height": 1000}, **options).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url)
    return page, errors


def saved(page: Any) -> None:
    expect(page.locator("#saved")).to_contain_text("saved in judged.edits.jsonl")


def word(page: Any) -> str:
    return str(page.evaluate("document.activeElement.textContent"))


def test_a_person_corrects_rows_and_trains_on_them(browser: Any, serve: Any, judged: Path, tmp_path: Path) -> None:
    """Open, correct a verdict, write a judgment, mark two words, save, kill the server, open again, train two steps."""
    server = serve(judged)
    page, errors = opened_page(browser, server.url)
    keyboard = Keyboard(page)

    keyboard.press("r")  # the verdict of the first row: one key, saved
    saved(page)
    expect(page.locator("#verdict")).to_have_text("✓ right")
    assert keyboard.keys == 1
    assert json.loads(on_disk(judged))["edit"] == {"correct": True}

    keyboard.press("j", "e", "Control+a")  # the second row's judgment
    keyboard.type("3 + 4 is 7, not 8.")
    keyboard.press("Control+Enter")
    saved(page)
    expect(page.locator("#judge-name")).to_have_text(" by person")
    assert keyboard.keys == 1 + 4

    # Two words: "8" before the emoji, and the last. Marking is moving there and one key; saving is none.
    keyboard.keys = 0
    assert word(page) == "3"
    keyboard.press(*["ArrowRight"] * 4)
    assert word(page) == "8"
    keyboard.press("m")
    expect(page.locator("#words .marked")).to_have_text(["8"])
    keyboard.press("End")
    assert word(page) == "8"
    keyboard.press("m")
    expect(page.locator("#words .marked")).to_have_text(["8", "8"])
    saved(page)
    assert keyboard.keys == 4 + 1 + 1 + 1

    keyboard.press("j", "j", "s")  # the last row is skipped
    expect(page.locator("#verdict")).to_contain_text("skipped")
    saved(page)

    server.kill()
    keyboard.press("k", "w")
    expect(page.locator("#trouble")).to_contain_text("not saved: nlft does not answer")
    assert len(on_disk(judged).splitlines()) == 5

    again, more = opened_page(browser, serve(judged).url)
    expect(again.locator("#verdict")).to_have_text("✓ right")
    again.keyboard.press("j")
    expect(again.locator("#judge textarea")).to_have_value("3 + 4 is 7, not 8.")
    expect(again.locator("#words .marked")).to_have_text(["8", "8"])
    again.select_option("[name=verdict]", "skipped")
    expect(again.locator("#examples .name")).to_have_count(1)
    expect(again.locator("#row-name")).to_have_text("r3")
    again.locator("body").press("u")
    expect(again.locator("#verdict")).not_to_contain_text("skipped")
    again.locator("body").press("s")
    expect(again.locator("#verdict")).to_contain_text("skipped")
    assert [each for each in [*errors, *more] if "ERR_CONNECTION_REFUSED" not in each] == []

    # Training: the marked tokens are the error tokens.
    model = tiny_model(tmp_path / "model")
    command = [sys.executable, "-m", "nlft", "train", str(judged), "-m", str(model), "-o", str(tmp_path / "adapter")]
    more_options = ["--max-steps", "2", "--prompts", "short", "--device", "cpu", "--dtype", "float32"]
    done = subprocess.run([*command, *more_options], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "3 rows, 2 steps" in done.stdout
    lm, objective = load_model(str(model), dtype="float32", device="cpu"), get_objective("nlft")
    dataset = encode_dataset(read_records(judged, Judged), lm.tokenizer, load_prompts("short"), objective=objective)
    example = next(each for each in dataset.examples if each.id == "r1")
    (scored,) = score_batch(lm.model, [example], objective)
    allocation = objective.weigh(scored)
    assert allocation is not None
    text = [lm.tokenizer.decode([token]) for token in example.response]
    marked = [place for place, error in enumerate(allocation.salient.tolist()) if error]
    assert [text[place] for place in marked] == ["8", "8"]
    assert not allocation.excluded


def test_another_response_begins_anew(browser: Any, serve: Any, judged: Path) -> None:
    page, errors = opened_page(browser, serve(judged).url)
    keyboard = Keyboard(page)
    keyboard.press("Home", "m")
    saved(page)
    keyboard.press("E", "Control+a")
    keyboard.type("3 + 4 = 7")
    keyboard.press("Escape")  # leaves it as it was
    expect(page.locator("#rewrite")).to_be_hidden()
    assert len(on_disk(judged).splitlines()) == 1
    keyboard.press("E", "Control+a")
    keyboard.type("3 + 4 = 7")
    keyboard.press("j")  # typed, so no step
    keyboard.press("Backspace", "Control+Enter")
    expect(page.locator("#verdict")).to_have_text("no verdict yet")
    expect(page.locator("#words .marked")).to_have_count(0)
    expect(page.locator("#judge")).to_be_hidden()
    page.select_option("[name=verdict]", "open")
    expect(page.locator("#examples .name")).to_have_count(1)
    page.locator("body").press("m")
    expect(page.locator("#trouble")).to_contain_text("call it wrong first")
    page.locator("body").press("r")
    saved(page)
    expect(page.locator("#examples .name")).to_have_count(1)  # it stays until another filter is chosen
    (first, *_) = read_records(judged, Judged)
    assert (first.response, first.verdict.correct, first.judgment) == ("3 + 4 = 7", True, None)
    for _ in range(3):
        page.locator("body").press("u")
    expect(page.locator("#words")).to_have_text("3 + 4 = 8 🙂\n#### 8")
    expect(page.locator("[data-does=undo]")).to_be_disabled()
    assert errors == []


def test_words_are_marked_with_the_mouse_too(browser: Any, serve: Any, judged: Path) -> None:
    page, errors = opened_page(browser, serve(judged).url)
    page.locator("#words .word").nth(2).hover()
    page.mouse.down()
    page.locator("#words .word").nth(4).hover()
    page.mouse.up()
    page.click("[data-does=mark]")
    saved(page)
    (found,) = (each for each in read_records(judged, Judged) if each.id == "r0")
    assert (found.model_extra or {})["marks"] == [{"start": 4, "end": 9, "text": "4 = 8"}]
    # Take one word out of the middle again.
    page.locator("#words .word").nth(3).click()
    page.keyboard.press("m")
    expect(page.locator("#words .word.marked")).to_have_text(["4", "8"])
    assert errors == []


def test_two_windows_do_not_overwrite_each_other_silently(browser: Any, serve: Any, judged: Path) -> None:
    server = serve(judged)
    (one, _), (two, _) = opened_page(browser, server.url), opened_page(browser, server.url)
    one.keyboard.press("r")
    saved(one)
    two.keyboard.press("e")
    two.keyboard.press("Control+a")
    two.keyboard.type("my own words")
    two.keyboard.press("Control+Enter")
    expect(two.locator("#trouble")).to_contain_text("changed in another window")
    expect(two.locator("#trouble")).to_contain_text("Your words: “my own words”")  # a right response has no judgment
    expect(two.locator("#verdict")).to_have_text("✓ right")
    assert "my own words" not in on_disk(judged)
    two.keyboard.press("w")
    saved(two)
    one.keyboard.press("j")
    two.keyboard.press("j")
    for page, text in ((one, "the words of one"), (two, "the words of two")):
        page.keyboard.press("e")
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
        page.keyboard.press("Control+Enter")
    saved(one)
    expect(two.locator("#trouble")).to_contain_text("Your words are still in the field")
    expect(two.locator("#judge textarea")).to_have_value("the words of two")
    assert "the words of two" not in on_disk(judged)
    two.keyboard.press("j")  # not left behind unsaved
    expect(two.locator("#row-name")).to_have_text("r1")
    two.keyboard.press("Control+Enter")  # knowing that there are others
    saved(two)
    assert '"the words of two"' in on_disk(judged).splitlines()[-1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_axe_finds_nothing_serious(browser: Any, serve: Any, judged: Path, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = opened_page(browser, serve(judged).url, color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.keyboard.press("m")
    saved(page)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("E")
    found = Axe().run(page).response["violations"]
    serious = [
        (violation["id"], [node["html"][:120] + " " + node["failureSummary"] for node in violation["nodes"][:3]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_hostile_text_changes_and_runs_nothing(browser: Any, serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "judged.jsonl"
    hostile = [text for text in HOSTILE if "\ud800" not in text]
    write_records(
        path,
        [
            row.model_copy(
                update={"id": f"{i} {text}", "question": f"? {text}", "response": f". {text}", "judgment": text}
            )
            for i, (row, text) in enumerate(zip(rows(2)[:1] * len(hostile), hostile, strict=True))
        ],
    )
    page, errors = opened_page(browser, serve(path).url)
    count = "document.querySelectorAll('script, style, iframe, img, a, link, object, b, svg').length"
    skeleton = page.evaluate(count)
    for i in range(len(hostile)):
        expect(page.locator("#position")).to_have_text(f"{i + 1} / {len(hostile)}")
        page.keyboard.press("m")
        saved(page)
        page.keyboard.press("j")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate(count) == skeleton
    assert errors == []
