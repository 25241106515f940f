"""`nlft show`: the page's colours and numbers in the terminal."""

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nlft.cli.app import app
from nlft.core import SaliencySettings
from nlft.page.facts import token_facts
from nlft.page.terminal import row_view, token_view, visible
from nlft.records import write_records


def printed(renderable, **options) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120, markup=False, emoji=False, highlight=False, **options).print(renderable)
    return stream.getvalue()


def test_the_response_is_there_and_coloured(make_scored):
    row = make_scored(4, correct=True, n=30)
    view = token_view(row)
    assert view.plain == "".join(row.scores.pieces)
    styles = {str(span.style) for span in view.spans}
    assert any("underline" in style for style in styles)
    assert len({span.style.bgcolor for span in view.spans if span.style.bgcolor}) > 2


def test_data_cannot_move_the_cursor_or_be_markup(make_scored):
    row = make_scored(4, correct=False, n=3)
    hostile = "\x1b[2J\x07[red]x[/red] :smile: \u202e"
    scores = row.scores.model_copy(update={"pieces": [hostile, "b", "c"]})
    row = row.model_copy(update={"scores": scores, "question": hostile, "judgment": hostile, "id": hostile})
    text = printed(row_view(row, token_facts(scores), excluded=False), force_terminal=False)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "‹001B›[2J‹0007›[red]x[/red] :smile: ‹202E›" in text


def test_visible_keeps_line_breaks_and_marks_lone_surrogates():
    assert visible("a\r\nb\tc\ud800") == "a\nb\tc‹D800›"


def test_the_command(make_scored, tmp_path):
    rows = [make_scored(seed, correct=seed % 2 == 0, n=12) for seed in range(3)]
    path = tmp_path / "scored.jsonl"
    write_records(path, rows)
    run = CliRunner()
    by_number, by_id = (run.invoke(app, ["show", str(path), row]) for row in ("2", "row-1"))
    assert by_number.exit_code == 0
    assert by_number.stdout == by_id.stdout
    assert "✗ wrong" in by_number.stdout
    assert "similar" in by_number.stdout
    lines = [line.split() for line in by_number.stdout.splitlines()]
    facts = token_facts(rows[1].scores)
    assert len([line for line in lines if line and line[0].isdigit() and line[-1].endswith("%")]) == len(facts)


def test_other_settings(make_scored, tmp_path):
    path = tmp_path / "scored.jsonl"
    write_records(path, [make_scored(1, correct=False, n=12)])
    own, other = (CliRunner().invoke(app, ["show", str(path), "1", *more]) for more in ([], ["--preset", "authors"]))
    assert own.stdout != other.stdout


@pytest.mark.parametrize(("row", "words"), [("9", "from 1 to 1"), ("row-2", "row-1")])
def test_a_row_that_is_not_there(row, words, make_scored, tmp_path):
    from nlft.errors import ConfigError

    path = tmp_path / "scored.jsonl"
    write_records(path, [make_scored(1, correct=True, n=3)])
    result = CliRunner().invoke(app, ["show", str(path), row])
    assert isinstance(result.exception, ConfigError)
    assert words in str(result.exception)


def test_shares_follow_the_loss(make_scored):
    """Under unlikelihood, a confident error is the larger part."""
    row = make_scored(3, correct=False, n=40)
    settings = SaliencySettings.from_mapping({"filter": "off", "incorrect_term": "unlikelihood"})
    facts = token_facts(row.scores, settings)
    errors = [fact for fact in facts if fact.role == "error"]
    assert all(fact.share == 0 for fact in facts if fact.role != "error")
    assert len(errors) > 1
    assert sum(fact.share for fact in errors) == pytest.approx(1)
