"""A person's path through the page, in a real browser."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from playwright.sync_api import expect

from nlft.core import SaliencySettings
from nlft.core.settings import PRESETS
from nlft.saliency_map.facts import token_facts
from nlft.saliency_map.terminal import NAMES, figure
from nlft.score.schema import allocate_scores, make_scores, with_marks

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def rows(make_scored):
    return [make_scored(seed, correct=seed % 2 == 0, n=30 + seed) for seed in range(12)]


def roles_on_screen(page) -> Counter:
    names = ("irrelevant", "sub_salient", "salient", "near_error", "error")
    classes = page.locator("#tokens .token").evaluate_all("spans => spans.map((span) => span.className)")
    return Counter(next(name for name in names if name in found.split()) for found in classes)


def test_from_opening_to_exported_settings(rows, open_page, exported):
    opened = open_page(exported(rows))
    page = opened.page
    expect(page.locator("#position")).to_have_text("1 / 12")
    expect(page.locator("#check")).to_contain_text("agree with the file")

    page.select_option("[name=verdict]", "wrong")
    assert page.locator("#examples li").count() == 6
    page.locator("#examples button").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#row-name")).to_have_text("row-5")
    expect(page.locator("#verdict")).to_contain_text("wrong")

    # To the tokens by keyboard, three on, and the panel says what Python says of that token.
    page.keyboard.press("t")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    group = int(page.evaluate("document.activeElement.dataset.group"))
    assert group == 3
    last = [t for t, piece in enumerate(rows[5].scores.pieces) if piece][group]
    fact = token_facts(rows[5].scores)[last]
    said = dict(
        zip(
            page.locator("#inspector dt").all_text_contents(),
            page.locator("#inspector .fact").evaluate_all("facts => facts.map((f) => f.lastChild.textContent)"),
            strict=True,
        )
    )
    assert said["role"] == NAMES[fact.role]
    assert float(said["P judge"].replace("−", "-")) == pytest.approx(fact.p_judge, rel=1e-3)
    assert float(said["r₁ = judge / base"]) == pytest.approx(fact.r1, rel=1e-3)

    # Compare with the start, then move r0: errors disappear, what changed is marked and counted.
    before = roles_on_screen(page)
    page.click("#pin")
    page.fill("#settings [name=r0]", "2")
    page.keyboard.press("Tab")
    opened.wait()
    after = roles_on_screen(page)
    assert 0 < after["error"] < before["error"]
    changed = allocate_scores(rows[5].scores, SaliencySettings(r0=2.0, filter="drop")).salient.sum()
    assert after["error"] <= int(changed)
    assert page.locator("#tokens .changed").count() > 0
    assert page.locator("#preset").input_value() == "custom"
    counted = {
        row.locator("th").text_content(): int(row.locator("td").text_content().replace(",", ""))
        for row in page.locator("#changes tbody tr").all()
    }
    fewer = sum(
        int(
            allocate_scores(row.scores).salient.sum()
            - allocate_scores(row.scores, SaliencySettings(r0=2.0)).salient.sum()
        )
        for row in rows
        if not row.verdict.correct
    )
    lost = sum(count for name, count in counted.items() if name.startswith("error →"))
    assert lost == fewer > 0

    with page.expect_download() as download:
        page.click("#export-yaml")
    settings = SaliencySettings.from_mapping(yaml.safe_load(Path(download.value.path()).read_text()))
    assert settings == SaliencySettings(r0=2.0)

    page.click("#reset")
    opened.wait()
    assert roles_on_screen(page) == before
    assert opened.errors == []
    assert all(url.startswith(("file:", "blob:")) for url in opened.requests)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_its_yaml(name, rows, open_page, exported):
    opened = open_page(exported(rows[:2]))
    opened.page.select_option("#preset", name)
    opened.wait()
    with opened.page.expect_download() as download:
        opened.page.click("#export-yaml")
    assert SaliencySettings.from_mapping(
        yaml.safe_load(Path(download.value.path()).read_text())
    ) == SaliencySettings.preset(name)


def test_other_settings_come_back_too(rows, open_page, exported):
    """Numbers that JavaScript writes as 1e-9, which YAML 1.1 takes for a word; null; lists; switches."""
    opened = open_page(exported(rows[:2]))
    page = opened.page
    page.locator("summary").click()
    page.fill("[name=unlikelihood_floor]", "1e-9")
    page.fill("[name=ratio_threshold]", "1.25")
    page.check("[name=mean_one]")
    page.check(".one:has-text('error') input")
    page.check(".one:has-text('irrelevant') input")
    page.select_option("[name=incorrect_term]", "unlikelihood")
    opened.wait()
    with page.expect_download() as download:
        page.click("#export-yaml")
    assert SaliencySettings.from_mapping(yaml.safe_load(Path(download.value.path()).read_text())) == SaliencySettings(
        unlikelihood_floor=1e-9,
        ratio_threshold=1.25,
        mean_one=True,
        ones=("irrelevant", "error"),
        incorrect_term="unlikelihood",
    )


def test_totals_are_those_of_python(rows, open_page, exported):
    opened = open_page(exported(rows))
    for name in PRESETS:
        opened.page.select_option("#preset", name)
        opened.wait()
        found = [allocate_scores(row.scores, SaliencySettings.preset(name)) for row in rows]
        scales = torch.cat([allocation.scale for allocation in found])
        said = dict(
            zip(
                opened.page.locator("#totals dt").all_text_contents(),
                opened.page.locator("#totals dd").all_text_contents(),
                strict=True,
            )
        )
        assert int(said["excluded"].split()[0]) == sum(allocation.excluded for allocation in found)
        assert int(said["tokens"].replace(",", "")) == len(scales)
        assert int(said["with a scale above 0"].split()[0]) == int((scales > 0).sum())
        effective = float(scales.sum() ** 2 / scales.square().sum())
        assert int(said["effective number of trained tokens"].replace(",", "")) == pytest.approx(effective, abs=0.51)


def test_after_a_filter_the_example_on_screen_is_the_first_of_the_list(rows, open_page, exported):
    page = open_page(exported(rows)).page
    page.select_option("[name=verdict]", "wrong")
    expect(page.locator("#row-name")).to_have_text("row-1")
    expect(page.locator("#examples [aria-current]")).to_have_attribute("data-index", "1")
    expect(page.locator("#verdict")).to_contain_text("wrong")
    page.select_option("[name=order]", "length-down")
    expect(page.locator("#row-name")).to_have_text("row-11")
    page.fill("[name=text]", "is row-3?")
    expect(page.locator("#row-name")).to_have_text("row-3")
    page.fill("[name=text]", "nothing has this")
    expect(page.locator("#row-name")).to_have_text("row-3")


def test_marks_and_weights_are_shown(open_page, exported, make_scored):
    """The person's marks in a role of their own, recomputed in the browser as Python has it; weights with a line above."""
    row = make_scored(3, correct=False, n=30)
    pieces = row.scores.pieces
    at = [t for t, piece in enumerate(pieces) if piece.strip()][3:5]
    starts = [len("".join(pieces[:t])) for t in at]
    ends = [start + len(pieces[t]) for start, t in zip(starts, at, strict=True)]
    spans = [{"start": s, "end": e} for s, e in zip(starts, ends, strict=True)]
    columns = {"marks": spans, "weights": [spans[0] | {"weight": -2.0}]}
    opened = open_page(exported([row.model_copy(update=columns)]))
    page = opened.page
    assert page.locator("#tokens .marked").count() == 2
    assert page.locator("#tokens .error").count() == 0
    assert page.locator("#tokens .weighed").count() == 1
    expect(page.locator("#check")).to_contain_text("agree with the file")
    page.locator("#tokens .marked").first.click()
    said = dict(
        zip(
            page.locator("#inspector dt").all_text_contents(),
            page.locator("#inspector .fact").evaluate_all("facts => facts.map((f) => f.lastChild.textContent)"),
            strict=True,
        )
    )
    fact = token_facts(with_marks(row.model_copy(update=columns)).scores)[at[0]]
    assert (said["role"], said["weight in the data"]) == ("marked by a person", "−2")
    assert fact.role == "marked"
    assert said["share of the loss"].startswith(f"{100 * fact.share:.0f}"[:1])
    page.fill("#settings [name=r0]", "5")  # whatever the thresholds say
    page.keyboard.press("Tab")
    opened.wait()
    assert page.locator("#tokens .marked").count() == 2
    assert opened.errors == []


def test_filters_and_order(rows, open_page, exported):
    page = open_page(exported(rows)).page
    page.select_option("[name=verdict]", "excluded")
    excluded = [row.id for row in rows if row.scores.excluded]
    assert page.locator("#examples li").count() == len(excluded) > 0
    page.select_option("[name=verdict]", "all")
    page.fill("[name=text]", "IS ROW-7?")
    assert page.locator("#examples li").count() == 1
    page.fill("[name=text]", "")
    page.select_option("[name=order]", "length-down")
    expect(page.locator("#examples .note").first).to_contain_text("row-11")
    page.fill("[name=least]", "100")
    page.keyboard.press("j")  # typed into a field, so no step
    expect(page.locator("#position")).to_have_text("12 / 12")  # the longest, from before


def test_one_character_of_several_tokens_stays_together(open_page, exported, dress):
    pieces = ["a", "", "", "🙂", "\n", "é", "<|end|>"]
    n = len(pieces)
    scores = make_scores(
        model="m",
        token_ids=list(range(n)),
        pieces=pieces,
        logp_base=torch.full((n,), -1.0),
        logp_standard=torch.full((n,), -0.01),
        logp_judge=None,
        hidden_states=torch.eye(n),
        settings=SaliencySettings.paper(),
    )
    page = open_page(exported([dress(scores, "r", correct=True)])).page
    assert page.locator("#tokens .token").all_text_contents() == ["a", "🙂", "↵\n", "é", "<|end|>"]
    page.locator("#tokens .token").nth(1).click()
    expect(page.locator("#inspector .where")).to_contain_text("3 tokens that make one character")
    assert page.locator("#inspector .fact").first.locator("dd").count() == 3


def test_beside_cut(rows, open_page, exported):
    """Figure 10: the same response as CUT marks it, P(judge) / P(base) > lambda."""
    page = open_page(exported(rows)).page
    page.locator("#examples button").nth(1).click()
    page.check("#show-cut")
    scores = rows[1].scores
    ratio = torch.tensor(scores.logp_judge).double() - torch.tensor(scores.logp_base).double()
    marked = int((ratio > torch.log(torch.tensor(1.1, dtype=torch.float64))).sum())
    expect(page.locator("#cut-note")).to_contain_text(f"CUT marks {marked} of {len(ratio)} tokens")
    assert page.locator("#cut-tokens .error").count() > 0
    page.locator("#examples button").nth(0).click()  # a right answer: CUT marks nothing there
    assert page.locator("#cut-box").is_hidden()


def test_pictures(rows, open_page, exported):
    opened = open_page(exported(rows[:2]))
    with opened.page.expect_download() as download:
        opened.page.click("#export-svg")
    root = ElementTree.fromstring(Path(download.value.path()).read_text())  # noqa: S314  # our own file
    text = "".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "".join(rows[0].scores.pieces).replace("\n", "").replace(" ", "")[:20] in text.replace(" ", "")
    with opened.page.expect_download() as download:
        opened.page.click("#export-png")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    assert opened.errors == []


def test_a_field_refuses_what_the_setting_cannot_take(rows, open_page, exported):
    page = open_page(exported(rows[:1])).page
    before = page.text_content("#example-note")
    page.fill("#settings [name=p0_correct]", "1.5")
    page.keyboard.press("Tab")
    assert page.get_attribute("#settings [name=p0_correct]", "aria-invalid") == "true"
    assert page.text_content("#example-note") == before


def test_a_slider_moves_the_field_and_the_roles(rows, open_page, exported):
    opened = open_page(exported(rows[:1]))
    page = opened.page
    before = roles_on_screen(page)["salient"]
    page.locator("[name=p0_correct-slider]").focus()
    page.keyboard.press("Home")
    opened.wait()
    assert page.input_value("#settings [name=p0_correct]") == "0.05"
    assert roles_on_screen(page)["salient"] > before


def test_numbers_read_alike_in_both_views():
    assert json.loads(figure(0.25)) == 0.25


def test_the_exported_settings_train(open_page, tmp_path):
    """From scores of a model through the page to two steps of training under the settings found there."""
    from tests.tiny import tiny_model
    from typer.testing import CliRunner

    from nlft.cli.app import app
    from nlft.records import Judged, Verdict, write_records

    model, judged, scored = tiny_model(tmp_path / "model"), tmp_path / "judged.jsonl", tmp_path / "scored.jsonl"
    texts = [("1+1?", "#### 2", "It is 2.\n#### 2", True), ("2+2?", "#### 4", "It is 5.\n#### 5", False)]
    write_records(
        judged,
        [
            Judged(
                id=question,
                question=question,
                reference=reference,
                response=response,
                verdict=Verdict(correct=correct, reason="the last number"),
                judgment=None if correct else "the sum is 4",
            )
            for question, reference, response, correct in texts
        ],
    )

    def nlft(*arguments: str) -> None:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output

    nlft("score", judged, "-m", model, "-o", scored)
    nlft("view", scored, "-o", tmp_path / "map.html")
    opened = open_page(tmp_path / "map.html")
    assert opened.page.locator("#tokens .token").all_text_contents()[:3] == ["I", "t", " "]
    opened.page.fill("#settings [name=p0_correct]", "0.4")
    opened.page.fill("#settings [name=filter_threshold]", "0.9")
    opened.page.keyboard.press("Tab")
    opened.wait()
    with opened.page.expect_download() as download:
        opened.page.click("#export-yaml")
    settings = tmp_path / "settings.yaml"
    settings.write_bytes(Path(download.value.path()).read_bytes())
    nlft("train", judged, "-m", model, "-o", tmp_path / "adapter", "--settings", settings, "--max-steps", "2")
    assert list((tmp_path / "adapter").rglob("adapter_model.safetensors"))
