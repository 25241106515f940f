"""`nlft run`: finished stages are not run again, changed ones are; killed, interrupted and failing runs keep their work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.errors import ConfigError, LockedError
from nlft.files import sole_writer
from nlft.pipeline.graph import Stage, StageError, fingerprint, read_stage, run_stage
from nlft.pipeline.recipe import load_recipe, plan
from nlft.pipeline.run import run_recipe
from tiny import tiny_model, tiny_rows

RECIPE = """\
name: tiny
output: {folder}/out
model: {folder}/model
prompts: short
data: {{source: {folder}/train.jsonl}}
train: {{epochs: 1, lora_r: 2, weights: once, dtype: float32, device: cpu}}
test: {{source: {folder}/test.jsonl}}
evaluate: {{max_new_tokens: 4, dtype: float32, device: cpu}}
"""
STAGES = ["data", "grade", "judge", "train", "test", "before", "after"]


@pytest.fixture(autouse=True)
def workshop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own: an older one tells its errors to an older test's stderr."""
    monkeypatch.setattr("nlft.pipeline.workshop._current", [])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tiny_model(tmp_path / "model")
    tiny_rows(tmp_path / "train.jsonl", 4, answered=True)
    tiny_rows(tmp_path / "test.jsonl", 2, answered=False)
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    return path


def ran(errors: str) -> list[str]:
    """The stages that were run, from what a run tells on stderr."""
    lines = errors.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("[")]
    numbers = [
        int(lines[i].partition("/")[0][1:]) for i in starts if "not run again" not in "".join(lines[i + 1 : i + 2])
    ]
    return [STAGES[number - 1] for number in numbers]


def test_a_whole_run_then_only_what_changed(recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["run", str(recipe)]) == 0
    first = capfd.readouterr()
    assert ran(first.err) == STAGES
    assert "after vs before" in first.out
    assert {"adapter", "before.json", "after.json", "report.md", "loss.png", "accuracy.png"} <= {
        path.name for path in out.iterdir()
    }
    report = (out / "report.md").read_text()
    adapter = (out / "adapter" / "adapter_model.safetensors").read_bytes()

    assert run(["run", str(recipe)]) == 0
    assert ran(capfd.readouterr().err) == []
    assert (out / "report.md").read_text() == report

    assert run(["run", str(recipe), "--set", "evaluate.max_new_tokens=3"]) == 0
    assert ran(capfd.readouterr().err) == ["before", "after"]
    assert (out / "adapter" / "adapter_model.safetensors").read_bytes() == adapter

    tiny_rows(tmp_path / "train.jsonl", 5, answered=True)
    assert run(["run", str(recipe), "--set", "evaluate.max_new_tokens=3"]) == 0
    assert ran(capfd.readouterr().err) == ["data", "grade", "judge", "train", "after"]

    (out / "judged.jsonl").write_text("".join((out / "judged.jsonl").read_text().splitlines(keepends=True)[:3]))
    assert run(["run", str(recipe), "--set", "evaluate.max_new_tokens=3"]) == 0
    assert ran(capfd.readouterr().err) == ["train", "after"], "rows a user takes out by hand stay out"


def test_a_failing_stage_names_itself_and_keeps_the_others(
    recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test.jsonl").write_text('{"id": "a", "question": "q"}\n')
    assert run(["run", str(recipe), "--set", "train=null"]) == 1
    errors = capfd.readouterr().err
    assert "test.jsonl:1" in errors
    assert "the stage test stopped" in errors
    assert "Traceback" not in errors
    assert read_stage(tmp_path / "out", "judge") is not None
    assert read_stage(tmp_path / "out", "test") is None


@pytest.mark.parametrize(("code", "done"), [(3, True), (4, False)], ids=["rows that failed for good", "a limit"])
def test_a_stage_stopped_at_a_limit_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, done: bool
) -> None:
    sent: list[tuple[str, ...]] = []

    def ended(words: tuple[str, ...]) -> tuple[int, None]:
        sent.append(words)
        return code, None

    monkeypatch.setattr("nlft.pipeline.graph.run_command", ended)
    stage = Stage("answer", ("answer", "in.jsonl"), (), (), again=("--resume",))
    if done:
        assert run_stage(stage, tmp_path)
        assert not run_stage(stage, tmp_path)
        return
    for _ in range(2):
        with pytest.raises(StageError) as caught:
            run_stage(stage, tmp_path)
        assert caught.value.exit_code == code
        assert read_stage(tmp_path, "answer") is None
    assert sent == [stage.words, (*stage.words, "--resume")]


@pytest.mark.parametrize(
    ("end", "number"),
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGINT), (os.kill, signal.SIGTERM), (os.kill, signal.SIGKILL)],
    ids=["a terminal's Ctrl-C", "SIGINT", "SIGTERM", "SIGKILL"],
)
def test_an_ended_run_takes_its_stage_along_and_goes_on(
    recipe: Path, tmp_path: Path, end: Callable[[int, int], None], number: signal.Signals
) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-c", "from nlft.cli.app import main; main()", "run", str(recipe), "--set", "train=null"]
    words += ["--set", "evaluate.max_new_tokens=3000", "--set", "evaluate.temperature=1"]
    deadline = time.monotonic() + 120
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not (out / "before.jsonl").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        end(process.pid, number)  # all but Ctrl-C reach the run alone; a stage that went on would hold its stderr open
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), errors
    assert "Traceback" not in errors
    assert read_stage(out, "test") is not None
    assert read_stage(out, "before") is None
    with sole_writer(out / "before.json"):
        pass  # no stage goes on behind its run's back


def test_two_runs_in_one_folder_are_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with sole_writer(tmp_path / "out" / "recipe.yaml"), pytest.raises(LockedError):
        run_recipe(recipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trian: {}\n", 'unknown key "trian"\n  remedy: did you mean "train"?'),
        ("train: {epoch: 3}\n", 'unknown key "train.epoch"\n  remedy: did you mean "epochs"?'),
        ("judge: {jugde: rule}\n", 'did you mean "judge"?'),
        ("train: {epochs: many}\n", "train: invalid value for '--epochs'"),
        ("test: {source: f}\nevaluate: {max_new_tokens: 0}\n", "evaluate: invalid value for '--max-new-tokens'"),
        ("evaluate: {seed: 1}\n", "nothing to evaluate on"),
        ("data: {n: 5}\n", 'the key "data.source" is missing'),
        ("data: {source: gsm8k, kinds: [1]}\n", 'unknown key "data.kinds"'),
        ("name: a/b\n", '"name"'),
        ("seed: -1\n", '"seed"'),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path: Path, text: str, said: str) -> None:
    keys = {"name": "name: x\n", "model": "model: m\n", "data": "data: {source: f.jsonl}\n"}
    path = tmp_path / "r.yaml"
    path.write_text("".join(line for key, line in keys.items() if not text.startswith(key)) + text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert said in str(caught.value)
    assert caught.value.file == path
    assert caught.value.line is not None or "missing" in said


def test_a_fingerprint_is_of_content_not_of_place(tmp_path: Path) -> None:
    prints = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "in.jsonl").write_text("{}\n")
        words = ("grade", str(folder / "in.jsonl"), "--output", str(folder / "out.jsonl"))
        prints.append(fingerprint(Stage("grade", words, (folder / "in.jsonl",), (folder / "out.jsonl",)), folder))
    assert prints[0] == prints[1]
    (folder / "in.jsonl").write_text('{"a": 1}\n')
    assert fingerprint(Stage("grade", words, (folder / "in.jsonl",), ()), folder) != prints[1]


def test_files_named_in_settings_count(tmp_path: Path) -> None:
    judgments = tmp_path / "judgments.jsonl"
    judgments.write_text("{}\n")
    stage = Stage("judge", ("judge", "x", "--judge", f"replay:{judgments}"), (), ())
    before = fingerprint(stage, tmp_path / "run")
    judgments.write_text('{"a": 1}\n')
    assert fingerprint(stage, tmp_path / "run") != before


def test_the_teacher_is_not_given_the_students_name(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nmodel: student\ndata: {source: f}\nanswer: {answerer: 'replay:a.jsonl'}\ntrain: null\n")
    answer = plan(load_recipe(path))[1]
    assert "student" not in answer.words
    path.write_text("name: x\nmodel: student\ndata: {source: f}\nanswer: {}\ntrain: null\n")
    assert "student" in plan(load_recipe(path))[1].words
