"""`nlft show`: the page's colours and numbers in the terminal."""

import io
import math

import pytest
from rich.console import Console
from typer.testing import CliRunner

from nlft.cli.app import app
from nlft.core import SaliencySettings
from nlft.records import write_records
from nlft.saliency_map.facts import token_facts
from nlft.saliency_map.terminal import row_view, token_view, totals_table, visible
from nlft.saliency_map.totals import totals
from nlft.score.schema import allocate_scores

STRICT = SaliencySettings.paper().replace(filter_threshold=1e-9)  # one error token is too many


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


@pytest.mark.parametrize(
    ("term", "loss_of"), [("unlikelihood", lambda p: -math.log(1 - p)), ("literal", lambda p: 1 - math.log(p))]
)
def test_shares_follow_the_loss(term, loss_of, make_scored):
    row = make_scored(3, correct=False, n=40)
    facts = token_facts(row.scores, SaliencySettings.from_mapping({"filter": "off", "incorrect_term": term}))
    own = [fact.scale * loss_of(fact.p_base) if fact.role == "error" else 0.0 for fact in facts]
    assert sum(loss > 0 for loss in own) > 1
    assert [fact.share for fact in facts] == pytest.approx([loss / sum(own) for loss in own])


def test_totals_are_the_sums_of_what_each_token_says(make_scored):
    rows = [make_scored(seed, correct=seed % 2 == 0, n=14) for seed in range(6)]
    keep = SaliencySettings.paper().replace(filter="off")
    facts = {True: [], False: []}
    for row in rows:
        facts[row.scores.logp_judge is None] += token_facts(row.scores, keep)
    for side, correct in zip(totals(rows, keep), (True, False), strict=True):
        assert (side.rows, side.excluded) == (3, 0)
        for role, line in side.roles.items():
            own = [fact for fact in facts[correct] if fact.role == role]
            assert line.tokens == len(own)
            assert line.surprise == pytest.approx(-sum(math.log(fact.p_base) for fact in own))
            assert line.scale == pytest.approx(sum(fact.scale for fact in own))
        assert sum(line.tokens for line in side.roles.values()) == 3 * 14


def test_the_loss_of_totals_is_eq_5(make_scored):
    row = make_scored(4, correct=True, n=14)
    (side, _) = totals([row])
    eq_5 = sum(fact.scale * -math.log(fact.p_base) for fact in token_facts(row.scores))
    assert sum(line.loss for line in side.roles.values()) == pytest.approx(eq_5)


def test_what_the_filter_excludes_is_counted_apart(make_scored):
    rows = [make_scored(seed, correct=False, n=14) for seed in range(12)]
    out = [row for row in rows if allocate_scores(row.scores, STRICT).excluded]
    assert 0 < len(out) < len(rows)
    (_, side) = totals(rows, STRICT)
    assert (side.rows, side.excluded) == (12, len(out))
    assert (side.left_out.tokens, side.left_out.scale, side.left_out.loss) == (14 * len(out), 0.0, 0.0)
    assert side.left_out.surprise == pytest.approx(-sum(sum(row.scores.logp_base) for row in out))
    assert f"{len(out)} excluded" in printed(totals_table(*totals(rows, STRICT)))


def test_the_command_without_a_row_shows_all_in_one_table(make_scored, tmp_path):
    path = tmp_path / "scored.jsonl"
    write_records(path, [make_scored(seed, correct=seed % 2 == 0, n=12) for seed in range(4)])
    run = CliRunner().invoke(app, ["show", str(path)])
    assert run.exit_code == 0
    assert "2 right" in run.stdout
    assert "2 wrong" in run.stdout
    assert max(map(len, run.stdout.splitlines())) <= 80
