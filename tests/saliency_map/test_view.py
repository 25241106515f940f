"""`nlft view`: the command and the page it writes."""

import json
import re

import pytest
from typer.testing import CliRunner

from nlft.cli.app import app
from nlft.config import Config
from nlft.errors import ConfigError, DataError
from nlft.records import write_records
from nlft.saliency_map.bundle import PAGES, STATIC, bundle
from nlft.saliency_map.export import page_file


def test_the_command_writes_the_page(make_scored, tmp_path):
    scored, out = tmp_path / "scored.jsonl", tmp_path / "map.html"
    write_records(scored, [make_scored(1, correct=True), make_scored(2, correct=False)])
    result = CliRunner().invoke(app, ["view", str(scored), "-o", str(out)])
    assert result.exit_code == 0
    assert "2 examples" in result.stdout
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', out.read_text(), re.DOTALL)
    rows = json.loads(data[1])["rows"]
    assert [row["id"] for row in rows] == ["row-1", "row-2"]
    assert rows[1]["scores"]["logp_judge"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--serve", "-o", "map.html"],
        ["-o", "map.html", "-m", "model"],
        ["--edit"],
        ["--edit", "-o", "map.html"],
        ["--serve", "--edit", "-m", "model"],
    ],
)
def test_contradictory_options(arguments, tmp_path):
    result = CliRunner().invoke(app, ["view", str(tmp_path / "scored.jsonl"), *arguments])
    assert isinstance(result.exception, ConfigError)


def test_scores_of_another_form_are_refused(make_scored, tmp_path):
    row = make_scored(1, correct=True).model_dump(mode="json")
    path = tmp_path / "scored.jsonl"
    for version, words in ((0, "an older release"), (99, "a newer release")):
        row["scores"]["version"] = version
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError, match=words) as refused:
            page_file(Config(), path, tmp_path / "map.html")
        assert refused.value.line == 1
    assert not (tmp_path / "map.html").exists()


def test_all_sources_are_in_the_bundle_once():
    texts = [bundle(entry) for _, entry in PAGES.values()]
    names = [path.stem for path in STATIC.glob("*.js")]
    assert len(names) > 10
    for name in names:
        assert {text.count(f"const module_{name} = ") for text in texts} <= {0, 1}
        assert any(f"const module_{name} = " in text for text in texts)
    for text in texts:
        assert not re.search(r"^(import|export) ", text, re.MULTILINE)
        assert "</script" not in text.lower()


def test_sources_are_of_readable_size():
    for path in STATIC.glob("*.js"):
        lines = path.read_text().splitlines()
        assert len(lines) < 300, path.name
        assert max(map(len, lines)) <= 140, path.name
