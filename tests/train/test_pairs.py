"""Training on pairs: the trainer's loss against single passes."""

from pathlib import Path

import pytest
import torch
from tests.train.test_trainer import same, trainer_for
from tests.train.tiny_train import ROWS

from nlft.errors import DataError
from nlft.lm import encode_example
from nlft.lm.logprobs import _plain
from nlft.prompts import load_prompts
from nlft.revise import pairs


def test_the_loss_is_that_of_the_two_responses_alone(folder: Path, tmp_path: Path) -> None:
    rows = pairs(ROWS)
    made = trainer_for(folder, tmp_path, rows, objective="pairs", objective_options={"beta": 3.0, "likelihood": 0.5})
    made.model.train()
    loss = made.compute_loss(made.model, made.data_collator(made.train_dataset.examples))
    loss.backward()
    found = float(loss.detach())
    gradient = {n: p.grad.clone() for n, p in made.model.named_parameters() if p.grad is not None}
    made.model.zero_grad()
    total = torch.zeros(())
    for row in rows:
        example = encode_example(made.processing_class, row, load_prompts("short"))
        p = _plain(made.model, [example.base], 0)[0].logp
        if row.verdict.correct:
            total = total - p.mean() / len(rows)
            continue
        assert example.preferred is not None
        q = _plain(made.model, [example.preferred], 0)[0].logp
        one, other = example.response, example.preferred.response
        fork = next(place for place in range(len(one)) if one[place] != other[place])
        margin = q[fork:].mean() - p[fork:].mean()
        total = total + (-torch.sigmoid(3.0 * margin).log() - 0.5 * q.mean()) / len(rows)
    total.backward()
    assert found == pytest.approx(float(total.detach()), rel=1e-5)
    same(gradient, {n: p.grad for n, p in made.model.named_parameters() if p.grad is not None})


def test_a_wrong_row_without_a_right_response_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 'b' is wrong and has no right response") as refused:
        trainer_for(folder, tmp_path, ROWS, objective="pairs")
    assert "nlft.revise.pairs" in str(refused.value)
    bad = [row.model_copy(update={"preferred": 3}) for row in ROWS]
    with pytest.raises(DataError, match="preferred must be a response"):
        trainer_for(folder, tmp_path, bad, objective="pairs")


@pytest.mark.parametrize("column", ["weights", "marks"])
def test_words_of_a_wrong_response_have_no_meaning_in_a_pair(column: str, folder: Path, tmp_path: Path) -> None:
    span = {"text": "5", **({"weight": -1.0} if column == "weights" else {})}
    rows = pairs([ROWS[1].model_copy(update={column: [span]})])
    with pytest.raises(DataError, match=f"row 'b' has {column}, but pairs compares a wrong response as a whole"):
        trainer_for(folder, tmp_path, rows, objective="pairs")
    if column == "marks":
        trainer_for(folder, tmp_path, rows, objective="pairs", marks="ignore")
    right = [ROWS[0].model_copy(update={"weights": [{"text": "4", "weight": 0.5}]})]
    trainer_for(folder, tmp_path, right, objective="pairs")  # a right one is trained by likelihood
