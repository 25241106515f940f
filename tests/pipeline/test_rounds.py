"""Self-study in rounds: each round answers with the last adapter, and the dev split chooses."""

from pathlib import Path

import pytest
from tests.answer.conftest import Server

from nlft.cli.app import run
from nlft.config import Config
from nlft.errors import DataError
from nlft.pipeline.plan import plan
from nlft.pipeline.recipe import load_recipe
from nlft.pipeline.select import Mixture, best_round, leave_out_file, select_file
from nlft.provenance import adapter_hash
from nlft.records import Judged, Problem, Verdict, read_records, write_records
from tiny import tiny_rows

RECIPE = """\
name: tiny
output: {folder}/out
model: {folder}/model
prompts: short
data: {{source: {folder}/train.jsonl}}
train: {{epochs: 1, lora: {{r: 2}}, dtype: float32, device: cpu, objective: sft, prompts: short}}
rounds:
  k: 2
  dev: {{source: {folder}/pool.jsonl}}
  answer: {{samples: 2, temperature: 1, max_new_tokens: 4, dtype: float32, device: cpu}}
  incorrect_share: 1
  teacher_share: 0.5
test: {{source: {folder}/test.jsonl}}
evaluate: {{max_new_tokens: 4, dtype: float32, device: cpu}}
"""


def test_two_rounds(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").symlink_to(folder)
    tiny_rows(tmp_path / "train.jsonl", 4, answered=True)
    tiny_rows(tmp_path / "test.jsonl", 2, answered=False)
    tiny_rows(tmp_path / "dev.jsonl", 3, answered=False)
    pool = (tmp_path / "train.jsonl").read_text() + (tmp_path / "dev.jsonl").read_text()
    (tmp_path / "pool.jsonl").write_text(pool)
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    assert run(["run", str(tmp_path / "recipe.yaml")]) == 0
    shown = capfd.readouterr()
    assert "round 2" in shown.out
    out = tmp_path / "out"
    assert [row.id for row in read_records(out / "dev.jsonl", Problem)] == ["dev-0", "dev-1", "dev-2"]
    chosen = best_round([out / f"dev-{n}.json" for n in range(3)])
    home = [out / "adapter", out / "round-1" / "adapter", out / "round-2" / "adapter"][chosen]
    weights = "adapter_model.safetensors"
    assert (out / "best" / weights).read_bytes() == (home / weights).read_bytes()
    assert (out / "round-1" / "adapter" / weights).read_bytes() != (out / "adapter" / weights).read_bytes()
    rows = list(read_records(out / "round-1" / "rows.jsonl", Judged))
    assert any(row.response.startswith(("0 + 2", "1 + 2", "2 + 2", "3 + 2")) for row in rows), "the teacher's share"
    assert run(["run", str(tmp_path / "recipe.yaml")]) == 0
    again = capfd.readouterr().err
    assert again.count("already finished, skipped") == again.count("] nlft "), "a finished round is not paid for twice"


def test_a_student_that_judges_itself_has_its_model_and_the_adapter_so_far(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path) + "judge: {judge: self}\n")
    stages = {stage.name: stage for stage in plan(load_recipe(tmp_path / "recipe.yaml"))}
    first, second = (stages[name].settings.model_dump() for name in ("judge", "round-2-judge"))
    assert (first["model"], first["adapter"]) == (f"{tmp_path}/model", None)
    assert second["adapter"] == f"{tmp_path}/out/round-1/adapter"


def test_each_round_revises_with_the_adapter_so_far(tmp_path: Path) -> None:
    revise = "  revise: {samples: 2, ways: stitch}\ngrade: {grader: gsm8k-strict}\ntest:"
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path).replace("test:", revise, 1))
    steps = {step.name: step for step in plan(load_recipe(tmp_path / "recipe.yaml"))}
    assert "revise" not in steps, "the first training is on the rows as they are"
    out = tmp_path / "out"
    settings = steps["round-2-revise"].settings.model_dump()
    assert settings["adapter"] == str(out / "round-1" / "adapter")
    told = {name: settings[name] for name in ("model", "prompts", "seed", "grader", "ways", "samples")}
    expected = {"model": f"{tmp_path}/model", "prompts": "short", "seed": 2, "grader": "gsm8k-strict"}
    assert told == {**expected, "ways": ["stitch"], "samples": 2}
    assert steps["round-2-revise"].inputs == (out / "round-2" / "judged.jsonl",)
    assert steps["round-2-select"].inputs[0] == out / "round-2" / "revised.jsonl"


def test_dev_problems_are_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path).replace(f"{tmp_path}/pool", "pool"))
    tiny_rows(tmp_path / "pool.jsonl", 2, answered=False)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert recipe.rounds is not None
    assert Path(str(recipe.rounds.dev.source)).resolve() == (tmp_path / "pool.jsonl").resolve()


def judged(name: str, correct: bool, response: str) -> Judged:
    verdict = Verdict(correct=correct, reason="made up")
    words = None if correct else "wrong"
    return Judged(id=name, question=f"q{name}", reference="#### 1", response=response, verdict=verdict, judgment=words)


def test_rows_are_selected(tmp_path: Path) -> None:
    own = [judged("a", True, "x"), judged("b", True, "y"), judged("c", False, "z"), judged("d", False, "w")]
    write_records(tmp_path / "own.jsonl", own)
    write_records(tmp_path / "teacher.jsonl", [judged("a", True, "t"), judged("e", True, "u"), judged("f", True, "v")])
    rounds = Mixture(incorrect_share=0.34, teacher_share=0.5)
    select_file(rounds, tmp_path / "own.jsonl", tmp_path / "teacher.jsonl", tmp_path / "rows.jsonl")
    rows = list(read_records(tmp_path / "rows.jsonl", Judged))
    assert sum(not row.verdict.correct for row in rows) == 1
    assert len(rows) == 6
    write_records(tmp_path / "own.jsonl", own[2:])
    rounds = Mixture(teacher_share=0.0)
    with pytest.raises(DataError, match="no answer is correct"):
        select_file(rounds, tmp_path / "own.jsonl", tmp_path / "teacher.jsonl", tmp_path / "rows.jsonl")


def test_a_dev_split_of_trained_problems_is_refused(tmp_path: Path) -> None:
    tiny_rows(tmp_path / "p.jsonl", 2, answered=False)
    with pytest.raises(DataError, match="also a training problem"):
        leave_out_file(Config(), tmp_path / "p.jsonl", tmp_path / "p.jsonl", tmp_path / "dev.jsonl")


def served(folder: Path, *addresses: str) -> str:
    """The recipe, with every answer from these servers."""
    text = RECIPE.format(folder=folder)
    where = f"base_url: [{', '.join(addresses)}], api: completions"
    for section in ("answer: {samples: 2, temperature: 1, max_new_tokens: 4", "evaluate: {max_new_tokens: 4"):
        text = text.replace(f"{section}, dtype: float32, device: cpu", f"{section}, {where}")
    return text


def test_rounds_and_evaluations_ask_servers_for_the_adapter_so_far(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(served(tmp_path, "http://a/v1", "http://b/v1"))
    steps = {step.name: step for step in plan(load_recipe(tmp_path / "recipe.yaml"))}
    settings = {name: step.settings.model_dump() for name, step in steps.items()}
    out, model = tmp_path / "out", f"{tmp_path}/model"
    answers, after = settings["round-2-answer"], settings["dev-1"]
    assert (answers["model"], answers["adapter"]) == (model, str(out / "round-1" / "adapter"))
    assert answers["base_url"] == ["http://a/v1", "http://b/v1"]
    assert (after["model"], after["adapter"]) == (model, str(out / "round-1" / "adapter"))
    assert (settings["before"]["adapter"], after["base_url"]) == (None, answers["base_url"])
    told = steps["round-2-answer"].describe(out)
    assert "--base-url http://a/v1,http://b/v1" in told, "the command line reads it so"


def test_a_round_with_a_server_loads_each_adapter_by_its_hash(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(folder)
    tiny_rows(tmp_path / "train.jsonl", 4, answered=True)
    tiny_rows(tmp_path / "test.jsonl", 2, answered=False)
    tiny_rows(tmp_path / "pool.jsonl", 3, answered=False)
    server = Server()
    server.models, server.says = [f"{tmp_path}/model"], lambda body: "0 + 2 = 2\n#### 2"
    (tmp_path / "recipe.yaml").write_text(served(tmp_path, server.url).replace("k: 2", "k: 1"))
    try:
        assert run(["run", str(tmp_path / "recipe.yaml")]) == 0
    finally:
        server.close()
    out = tmp_path / "out"
    first, second = (f"nlft-{adapter_hash(out / home)[:16]}" for home in ("adapter", "round-1/adapter"))
    names = [body["lora_name"] for verb, body in server.adapters or () if verb == "load_lora_adapter"]
    best = adapter_hash(out / "best")[:16]
    assert names == [first, first, second, f"nlft-{best}"], "the dev split, the round, the dev split, the test"
    assert server.models == [f"{tmp_path}/model"], "each is unloaded again"
    asked = {body["model"] for body in server.bodies}
    assert asked == {f"{tmp_path}/model", first, second}
