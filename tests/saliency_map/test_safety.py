"""Problems, responses and judgments are text to the page, whatever they hold."""

import html.parser
import json

import pytest
import torch
from playwright.sync_api import expect

from nlft.core import SaliencySettings
from nlft.records import Verdict
from nlft.saliency_map.bundle import script_safe_json
from nlft.saliency_map.export import render_page
from nlft.score.schema import make_scores

HOSTILE = [
    "</script><script>window.pwned = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.pwned = 1'>",
    '" onmouseover="window.pwned = 1',
    "javascript:window.pwned=1",
    "{{7*7}} ${7*7} {question} %s <%= 7*7 %>",
    "]]></title><svg onload=window.pwned=1>",
    "\u202eevil\u202c \u2066x\u2069 \u200b\ufeff",
    "\ud800 lone \udfff",
    "nul \x00 bell \x07 esc \x1b[31m",
    "\u2028\u2029",
    "&lt;b&gt; &amp;amp;",
    "__proto__",
    '=HYPERLINK("http://example.invalid")',
]
LONG = "x" * 1_000_000


def hostile_rows(dress):
    rows = []
    for i, text in enumerate([*HOSTILE, LONG]):
        n = 4
        scores = make_scores(
            model=text if text != LONG else "m",
            token_ids=list(range(n)),
            pieces=[text, "", text[:500], " end"],
            logp_base=torch.full((n,), -1.0),
            logp_standard=torch.full((n,), -0.01),
            logp_judge=torch.full((n,), -0.001),
            hidden_states=torch.eye(n),
            settings=SaliencySettings.paper(),
        )
        hostile = {
            "id": f"{i} {text[:200]}",
            "question": text,
            "reference": text,
            "response": text,
            "judgment": text,
            "judge": text[:200],
            "verdict": Verdict(correct=False, value=text[:200], extracted=text[:200], reason=text[:200]),
        }
        # Copied in without checks: the page must hold even where a record's own checks (which refuse
        # lone surrogates in some fields) were got around.
        rows.append(dress(scores, str(i), correct=False).model_copy(update=hostile))
    return rows


@pytest.mark.browser
def test_hostile_text_changes_and_runs_nothing(dress, open_page, tmp_path):
    rows = hostile_rows(dress)
    path = tmp_path / "map.html"
    path.write_text(render_page(rows, source="</title><script>window.pwned = 1</script>").html, encoding="utf-8")
    opened = open_page(path)
    page = opened.page
    skeleton = page.evaluate("document.querySelectorAll('script, style, iframe, img, a, link, object').length")
    page.check("#show-cut")
    for i in range(len(rows)):
        page.locator("#examples button").nth(i).click()
        page.locator("#tokens .token").first.hover()
        expect(page.locator("#position")).to_have_text(f"{i + 1} / {len(rows)}")
        assert page.locator("#tokens .token").count() == 3
        assert page.text_content("#tokens .token:last-child") == " end"
    with page.expect_download():
        page.click("#export-svg")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("({}).polluted") is None
    assert page.evaluate("document.querySelectorAll('script, style, iframe, img, a, link, object').length") == skeleton
    assert opened.errors == []
    assert all(url.startswith(("file:", "blob:")) for url in opened.requests)
    # What one cannot see is written out, so that it neither hides nor reorders anything.
    page.locator("#examples button").nth(HOSTILE.index("\u202eevil\u202c \u2066x\u2069 \u200b\ufeff")).click()
    assert page.text_content("#question") == "‹202E›evil‹202C› ‹2066›x‹2069› ‹200B›‹FEFF›"


@pytest.mark.browser
def test_the_policy_stops_a_script_that_got_in(make_scored, open_page, exported):
    """The second wall: even an element someone managed to add may not run, nor reach a network."""
    page = open_page(exported([make_scored(1, correct=True)])).page
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.pwned = 1";
          document.body.append(script);
          const button = document.createElement("div");
          button.innerHTML = "<b onclick='window.pwned = 2'>x</b>";
          document.body.append(button);
          button.firstChild.click();
        }"""
    )
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("fetch('http://127.0.0.1:1/').then(() => 'sent', () => 'stopped')") == "stopped"


class Outline(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_file_needs_nothing_but_itself(make_scored):
    page = render_page([make_scored(1, correct=True)], source="scored.jsonl")
    outline = Outline()
    outline.feed(page.html)
    for tag, attributes in outline.tags:
        assert not {"src", "srcset", "style"} & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "unsafe" not in page.policy
    assert "default-src 'none'" in page.policy
    assert page.policy in page.html


def test_the_page_without_its_data_is_small(make_scored):
    row = make_scored(1, correct=True, n=1)
    assert len(render_page([row], source="s").html) < 300_000


def test_data_reads_back_the_same():
    data = {"text": [*HOSTILE, "<>&"]}
    text = script_safe_json(data)
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == data


def test_no_folder_of_the_scoring_machine_is_told(make_scored, dress, tmp_path):
    row = make_scored(1, correct=True, n=3)
    moved = dress(row.scores.model_copy(update={"model": str(tmp_path / "models" / "tiny")}), "r", correct=True)
    text = render_page([moved], source="scored.jsonl").html
    assert str(tmp_path) not in text
    assert '"model":"tiny"' in text
