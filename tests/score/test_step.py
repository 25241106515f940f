"""The score stage: the numbers it stores are the model's own, and every row comes out once, in order."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import tiny_model

from nlft.core import SaliencySettings
from nlft.errors import DataError
from nlft.lm import encode_example
from nlft.lm.logprobs import _plain
from nlft.prompts import load_prompts
from nlft.records import Judged, Verdict
from nlft.score import allocate_scores, score

SHORT = load_prompts("short")
RIGHT, WRONG = Verdict(correct=True, reason="equal"), Verdict(correct=False, reason="5 is not 4")


def rows(count: int) -> list[Judged]:
    made = []
    for i in range(count):
        wrong = i % 3 == 1
        made.append(
            Judged(
                id=str(i), question=f"What is {i} + 1?" * (1 + i % 2), reference=f"#### {i + 1}", response=f"é {i}\n#### {i}",
                verdict=WRONG if wrong else RIGHT, judgment=f"it is {i + 1} 🙂" if wrong else None,
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("preset", ["paper", "authors"])
def test_what_is_stored_is_what_each_path_says_alone(lm: Any, preset: str) -> None:
    given = rows(11)  # more than one pass, and a last one that is not full
    settings = SaliencySettings.preset(preset)
    found = list(score(given, lm, SHORT, settings))
    assert [row.id for row in found] == [row.id for row in given]
    for row, scored in zip(given, found, strict=True):
        example = encode_example(lm.tokenizer, row, SHORT)
        scores = scored.scores
        assert scores.token_ids == list(example.response)
        assert "".join(scores.pieces) == lm.tokenizer.decode(example.response)
        with torch.no_grad():
            for path, stored in (
                (example.base, scores.logp_base),
                (example.standard, scores.logp_standard),
                (example.judge, scores.logp_judge),
            ):
                assert (path is None) == (stored is None)
                if path is not None:
                    expected = _plain(lm.model, [path], 0)[0].logp
                    torch.testing.assert_close(torch.tensor(stored), expected, atol=2e-5, rtol=0)
        again = allocate_scores(scores)
        assert again.salient.tolist() == scores.salient
        assert again.scale.tolist() == scores.scale


def test_a_users_columns_travel_along_and_old_scores_do_not(lm: Any) -> None:
    row = Judged.model_validate({**rows(1)[0].model_dump(), "source": "mine"})
    (once,) = score([row], lm, SHORT, SaliencySettings.paper())
    (twice,) = score([once], lm, SHORT, SaliencySettings.paper(), model_name="again")
    assert (twice.model_extra or {}) == {"source": "mine"}
    assert twice.scores.model == "again"
    assert twice.scores.logp_base == once.scores.logp_base


def test_an_incorrect_row_needs_its_judgment(lm: Any) -> None:
    row = rows(2)[1].model_copy(update={"judgment": None})
    with pytest.raises(DataError, match="row '1' is incorrect and has no judgment"):
        list(score([row], lm, SHORT, SaliencySettings.paper()))


def test_from_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from nlft.cli.app import app
    from nlft.records import Scored, read_records, write_records

    model = tiny_model(tmp_path / "model")
    write_records(tmp_path / "judged.jsonl", rows(3))
    (tmp_path / "settings.yaml").write_text("p0_correct: 0.5\npreset: authors\n", encoding="utf-8")
    words = ["score", str(tmp_path / "judged.jsonl"), "-m", str(model), "-o", str(tmp_path / "scored.jsonl")]
    done = CliRunner().invoke(app, [*words, "--settings", str(tmp_path / "settings.yaml"), "--prompts", "short"])
    assert done.exit_code == 0, done.output
    assert "3 rows" in done.output
    found = list(read_records(tmp_path / "scored.jsonl", Scored))
    assert found[0].scores.settings["p0_correct"] == 0.5
    assert found[0].scores.settings["factor"] == 10.0
