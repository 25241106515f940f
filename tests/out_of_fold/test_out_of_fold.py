"""Out-of-fold answers: no model answers what it was trained on, and nothing finished is done twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nlft.answer import Journal, Reply, Request, answer
from nlft.answer.types import OnReply
from nlft.cli.app import run
from nlft.config import parse_config
from nlft.data.folds import fold_numbers
from nlft.errors import ConfigError, DataError
from nlft.out_of_fold import FoldTrainer, OutOfFold, OutOfFoldSettings
from nlft.out_of_fold.step import run as run_stage
from nlft.prompts import load_prompts
from nlft.records import Attempt, Judged, Problem, Verdict, read_records, write_records
from tiny import tiny_rows

SHORT = load_prompts("short")


def problems(count: int, different: int | None = None) -> list[Problem]:
    different = different or count
    return [Problem(id=f"p{i}", question=f"{i % different}?", reference=f"#### {i % different}") for i in range(count)]


class Trained:
    """Remembers what each fold's model was trained on; a model answers with its fold's number."""

    def __init__(self) -> None:
        self.rest: dict[int, list[str]] = {}

    def __call__(self, number: int, rest: Sequence[Problem]) -> Any:
        assert number not in self.rest, "a fold is trained once"
        self.rest[number] = [row.question for row in rest]
        return self.Model(number)

    class Model:
        def __init__(self, number: int) -> None:
            self.number = number

        def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
            for request in requests:
                on_reply(request, Reply(f"{self.number}/{request.sample}", "stop"))


def test_no_model_answers_a_question_it_was_trained_on() -> None:
    rows, trained = problems(14, different=7), Trained()
    who = OutOfFold(rows, trained, folds=3)
    answers = answer(rows, who, prompts=SHORT, samples=2)
    assert [a.id for a in answers.attempts] == [f"p{i}#{k}" for i in range(14) for k in range(2)]
    assert trained.rest.keys() == {0, 1, 2}
    for attempt in answers.attempts:
        number, sample = attempt.response.split("/")
        assert attempt.question not in trained.rest[int(number)]
        assert attempt.id.endswith(f"#{sample}")
    for number, rest in trained.rest.items():
        answered = {a.question for a in answers.attempts if a.response.startswith(f"{number}/")}
        assert set(rest) | answered == {row.question for row in rows}, "it is trained on all that it does not answer"


def test_only_folds_with_a_missing_reply_are_trained() -> None:
    rows, journal = problems(6), Journal()
    first = Trained()
    answer(rows, OutOfFold(rows, first, folds=3), prompts=SHORT, journal=journal)
    again = Trained()
    answers = answer(rows, OutOfFold(rows, again, folds=3), prompts=SHORT, journal=journal)
    assert (again.rest, len(answers.attempts), answers.usage.resumed) == ({}, 6, 6)
    changed = [*rows[:5], Problem(id="p5", question="5?", reference="#### 6")]
    other = Trained()
    answer(changed, OutOfFold(changed, other, folds=3), prompts=SHORT, journal=journal)
    assert other.rest.keys() == {0, 1, 2}, "answers of models trained on another standard answer are others"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train": {"epochs": 1}}, "no effect without `out_of_fold`"),
        ({"out_of_fold": 1}, "greater than or equal to 2"),
        ({"out_of_fold": 2, "adapter": "a"}, "`adapter` has no effect"),
        ({"out_of_fold": 2, "answerer": "replay:x"}, 'trains the model that answers, which "replay:x" does not allow'),
        ({"out_of_fold": 2, "base_url": "http://x/v1"}, 'which "openai" does not allow'),
        ({"out_of_fold": 2, "train": {"epoch": 1}}, 'unknown key "epoch"'),
        ({"out_of_fold": 2, "train": {"epochs": -1}}, "greater than 0"),
        ({"out_of_fold": 2, "train": {"model": "m"}}, "`model` cannot be set for a fold"),
        ({"out_of_fold": 2, "train": {"full": True}}, "`full` cannot be set for a fold"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(settings if "answerer" in settings else {"model": "m", **settings}, OutOfFoldSettings)
    assert message in str(refused.value)


def test_training_has_the_answers_model_prompts_and_seed() -> None:
    settings = OutOfFoldSettings(
        model="m", out_of_fold=2, seed=5, prompts="short", dtype="float32", train={"epochs": 2}
    )
    training = settings.fold_training()
    assert (training.model, training.seed, training.prompts, training.dtype) == ("m", 5, "short", "float32")
    assert (training.epochs, training.objective, training.target) == (2, "sft", "reference")
    own = OutOfFoldSettings(model="m", out_of_fold=2, train={"objective": "cut", "target": "response", "seed": 1})
    assert (own.fold_training().objective, own.fold_training().target, own.fold_training().seed) == (
        "cut",
        "response",
        1,
    )


def test_responses_to_train_on_must_be_graded(tmp_path: Path) -> None:
    settings = OutOfFoldSettings(model="m", out_of_fold=2, train={"target": "response"})
    with pytest.raises(DataError, match="no graded response to train on"):
        FoldTrainer(settings, tmp_path)(0, problems(2))


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="made in one process, but a launcher started 2"):
        run_stage(OutOfFoldSettings(model="m", out_of_fold=2), tmp_path / "p.jsonl", tmp_path / "a.jsonl")


def test_the_command_answers_as_training_and_answering_by_hand_do(folder: Path, tmp_path: Path) -> None:
    source, output = tiny_rows(tmp_path / "p.jsonl", 4, answered=False), tmp_path / "own.jsonl"
    ask = ["-m", str(folder), "--prompts", "short", "--dtype", "float32", "--device", "cpu", "--samples", "2"]
    ask += ["--temperature", "1", "--max-new-tokens", "6"]
    train = ["--train", "epochs=4", "--train", "lora.r=2", "--train", "learning_rate=0.1"]
    command = ["answer", str(source), "-o", str(output), *ask, "--out-of-fold", "2", *train]
    assert run(command) == 0
    rows = list(read_records(source, Problem))
    fold = {row.question: number for row, number in zip(rows, fold_numbers(rows, 2), strict=True)}
    right = Verdict(correct=True, reason="given")
    rest = [Judged(**row.model_dump(), response=row.reference, verdict=right) for row in rows if fold[row.question]]
    write_records(tmp_path / "rest.jsonl", rest)
    write_records(tmp_path / "left.jsonl", [row for row in rows if not fold[row.question]])
    byhand = ["train", str(tmp_path / "rest.jsonl"), "-m", str(folder), "-o", str(tmp_path / "adapter")]
    byhand += ["--objective", "sft", "--target", "reference", "--prompts", "short", "--seed", "0", "--epochs", "4"]
    byhand += ["--lora", "r=2", "--lr", "0.1", "--dtype", "float32", "--device", "cpu"]
    assert run(byhand) == 0
    left = ["answer", str(tmp_path / "left.jsonl"), "-o", str(tmp_path / "a.jsonl"), "--adapter"]
    assert run([*left, str(tmp_path / "adapter"), *ask]) == 0
    answers = {row.id: row.response for row in read_records(output, Attempt)}
    expected = {row.id: row.response for row in read_records(tmp_path / "a.jsonl", Attempt)}
    assert {name: answers[name] for name in expected} == expected
    assert len(answers) == 8
    assert run([*left[:3], str(tmp_path / "b.jsonl"), *ask]) == 0
    assert {r.id: r.response for r in read_records(tmp_path / "b.jsonl", Attempt)} != expected, "training changed it"

    before, adapters = output.read_bytes(), sorted((tmp_path / "own.folds").glob("*/adapter_model.safetensors"))
    times = [adapter.stat().st_mtime_ns for adapter in adapters]
    output.unlink()
    lines = (tmp_path / "own.journal.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "own.journal.jsonl").write_text("".join(lines[:3]))  # as if killed while answering
    assert run(command) == 0
    assert output.read_bytes() == before
    assert [adapter.stat().st_mtime_ns for adapter in adapters] == times, "a finished fold is not trained again"
    (tmp_path / "own.folds" / "fold-1" / "train.json").unlink()  # as if killed while training
    (tmp_path / "own.journal.jsonl").write_text("".join(lines[:3]))
    assert run(command) == 0
    assert output.read_bytes() == before
    assert [a.stat().st_mtime_ns == t for a, t in zip(adapters, times, strict=True)] == [True, False]
