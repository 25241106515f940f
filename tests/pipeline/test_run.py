"""`nlft run`: finished stages are not run again, changed ones are; killed, interrupted and failing runs keep their work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nlft.cli.app import run
from nlft.config import Config
from nlft.data.config import FileSettings
from nlft.errors import ConfigError, IncompleteError, LimitError, LockedError
from nlft.files import sole_writer
from nlft.grade.config import GradeSettings
from nlft.judge.config import JudgeSettings
from nlft.pipeline.graph import Step, StepError, fingerprint, read_record, run_step
from nlft.pipeline.plan import plan
from nlft.pipeline.recipe import load_recipe
from nlft.pipeline.run import run_recipe
from nlft.pipeline.verbs import RUNNERS, Runner
from nlft.progress import Outcome
from nlft.records import Judged, read_records
from tiny import tiny_rows

RECIPE = """\
name: tiny
output: {folder}/out
model: {folder}/model
prompts: short
data: {{source: {folder}/train.jsonl}}
train: {{epochs: 1, lora: {{r: 2}}, scale_schedule: once, dtype: float32, device: cpu}}
test: {{source: {folder}/test.jsonl}}
evaluate: {{max_new_tokens: 4, dtype: float32, device: cpu}}
"""
STEPS = ["data", "grade", "judge", "train", "test", "before", "after"]


@pytest.fixture
def recipe(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "model").symlink_to(folder)
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
        int(lines[i].partition("/")[0][1:])
        for i in starts
        if "already finished, skipped" not in "".join(lines[i + 1 : i + 2])
    ]
    return [STEPS[number - 1] for number in numbers]


def test_a_whole_run_then_only_what_changed(recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(["run", str(recipe)]) == 0
    first = capfd.readouterr()
    assert ran(first.err) == STEPS
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
    assert "the step test failed" in errors
    assert "Traceback" not in errors
    assert read_record(tmp_path / "out", "judge") is not None
    assert read_record(tmp_path / "out", "test") is None


@pytest.mark.parametrize(
    ("shortfall", "done"),
    [(IncompleteError("2 rows failed"), True), (LimitError("no money left"), False)],
    ids=["rows that failed for good", "a limit"],
)
def test_a_step_stopped_at_a_limit_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shortfall: IncompleteError | LimitError, done: bool
) -> None:
    resumed: list[bool] = []

    def ended(settings: Config, output: Path, *, resume: bool, overwrite: bool) -> Outcome:
        assert overwrite is not resume
        resumed.append(resume)
        output.write_text("{}\n")
        return Outcome("said", shortfall)

    monkeypatch.setattr("nlft.pipeline.select.rows_file", ended)
    # A light one, which runs in this process.
    monkeypatch.setitem(RUNNERS, "rows", Runner("nlft.pipeline.select:rows_file", light=True, resumes=True))
    step = Step("rows", "rows", Config(), (), tmp_path / "out.jsonl")
    if done:
        assert run_step(step, tmp_path)
        assert not run_step(step, tmp_path)
        record = read_record(tmp_path, "rows")
        assert record is not None
        assert not record.complete
        return
    for _ in range(2):
        with pytest.raises(StepError) as caught:
            run_step(step, tmp_path)
        assert caught.value.exit_code == LimitError.exit_code
        assert read_record(tmp_path, "rows") is None
    assert resumed == [False, True]


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
        while not (out / ".before.json.lock").exists():  # the evaluation holds its output
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        end(process.pid, number)  # all but Ctrl-C reach the run alone; a stage that went on would hold its stderr open
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), errors
    assert "Traceback" not in errors
    assert read_record(out, "test") is not None
    assert read_record(out, "before") is None
    assert not (out / "before.json").exists(), "no step goes on behind its run's back"
    with sole_writer(out / "before.json"):
        pass


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
        ("train: {epochs: many}\n", '"train.epochs": input should be a valid number'),
        (
            "test: {source: f}\nevaluate: {max_new_tokens: 0}\n",
            '"evaluate.max_new_tokens": input should be greater than',
        ),
        ("evaluate: {seed: 1}\n", "no problems to evaluate on"),
        ("data: {n: 5}\n", 'the key "data.source" is missing'),
        ("data: {source: gsm8k, kinds: [1]}\n", 'unknown key "data.kinds"'),
        ("prompts: papr\n", 'there is no prompt set "papr"\n  remedy: did you mean "paper"?'),
        ("grade: {grader: numbr}\n", 'there is no grader "numbr"\n  remedy: did you mean "number"?'),
        ("judge: {judge: rul}\n", 'there is no judge "rul"\n  remedy: did you mean "rule"?'),
        ("answer: {answerer: locl}\n", 'there is no answerer "locl"\n  remedy: did you mean "local"?'),
        ("train: {objective: cutt}\n", 'unknown value "cutt"\n  remedy: did you mean "cut"?'),
        ("train: {preset: papr}\n", 'unknown value "papr"\n  remedy: did you mean "paper"?'),
        ("train: {settings: {p0_corect: 0.9}}\n", 'did you mean "p0_correct"?'),
        ("train: {objective: sft, ppo_epochs: 3}\n", "no effect"),
        ("rounds: {k: 1, dev: {source: f}}\ntrain: null\n", "needs a section `train`"),
        ("test: {source: f}\nevaluate: {answerer: openai}\n", "must ask the trained adapter"),
        ("rounds: {k: 1, dev: {source: f}, answer: {answerer: 'replay:f'}}\n", "must ask the trained adapter"),
        ("methods: {}\n", "nlft experiment"),
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


def test_a_fingerprint_is_of_content_not_of_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "in.jsonl").write_text("{}\n")
        monkeypatch.chdir(folder)  # where one is does not count either
        prints.append(
            fingerprint(Step("grade", "grade", GradeSettings(), (folder / "in.jsonl",), folder / "o"), folder)
        )
    assert prints[0] == prints[1]
    (folder / "in.jsonl").write_text('{"a": 1}\n')
    assert (
        fingerprint(Step("grade", "grade", GradeSettings(), (folder / "in.jsonl",), folder / "o"), folder) != prints[1]
    )
    other = GradeSettings(grader="number")
    assert (
        fingerprint(Step("grade", "grade", other, (tmp_path / "here" / "in.jsonl",), folder / "o"), folder)
        not in prints
    )


def test_files_named_in_settings_count(tmp_path: Path) -> None:
    judgments = tmp_path / "judgments.jsonl"
    judgments.write_text("{}\n")
    step = Step("judge", "judge", JudgeSettings(judge=f"replay:{judgments}"), (), tmp_path / "run" / "o")
    before = fingerprint(step, tmp_path / "run")
    moved = judgments.rename(tmp_path / "moved.jsonl")
    again = Step("judge", "judge", JudgeSettings(judge=f"replay:{moved}"), (), tmp_path / "run" / "o")
    assert fingerprint(again, tmp_path / "run") == before, "its place does not"
    moved.write_text('{"a": 1}\n')
    assert fingerprint(again, tmp_path / "run") != before


def test_what_changes_no_result_does_not_count(tmp_path: Path) -> None:
    settings = [
        JudgeSettings(judge="local", model="m", batch_size=size, device=place)
        for size, place in ((1, "cpu"), (9, "cuda"))
    ]
    one, other = (Step("judge", "judge", each, (), tmp_path / "o") for each in settings)
    assert fingerprint(one, tmp_path) == fingerprint(other, tmp_path)


def test_a_prompt_sets_text_counts(tmp_path: Path) -> None:
    text = "solve: {}\nstandard_heading: a\njudge_heading: b\njudging: c\njudging_wrong: d\n"
    prompts = tmp_path / "own.yaml"
    prompts.write_text(text.format("one"))
    step = Step("judge", "judge", JudgeSettings(prompts=str(prompts)), (), tmp_path / "run" / "o")
    before = fingerprint(step, tmp_path / "run")
    prompts.write_text(text.format("two"))
    assert fingerprint(step, tmp_path / "run") != before


def test_the_teacher_is_not_given_the_students_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nmodel: student\ndata: {source: f}\nanswer: {answerer: 'replay:a.jsonl'}\ntrain: null\n")
    answer = plan(load_recipe(path))[1].settings.model_dump()
    assert answer["model"] is None
    path.write_text("name: x\nmodel: student\ndata: {source: f}\nanswer: {}\ntrain: null\n")
    assert plan(load_recipe(path))[1].settings.model_dump()["model"] == "student"


def test_an_untrained_run_may_evaluate_a_server_or_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    text = "name: x\nmodel: m\ndata: {{source: f}}\ntrain: null\ntest: {{source: g}}\nevaluate: {}\n"
    for section in ("{base_url: 'http://localhost:1/v1'}", "{answerer: 'replay:a.jsonl'}"):
        path.write_text(text.replace("{}", section).replace("{{", "{").replace("}}", "}"))
        assert plan(load_recipe(path))[-1].verb == "evaluate"


def test_judging_can_be_skipped(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nmodel: m\ndata: {source: f}\njudge: null\n")
    steps = plan(load_recipe(path))
    assert [step.verb for step in steps] == ["data", "grade", "train"]
    assert steps[-1].inputs == (steps[1].output,)


def test_a_folder_of_an_earlier_version_is_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "stages").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot continue"):
        run_recipe(recipe)


def test_a_step_that_crashes_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Killed from outside, as by a system that is out of memory: no result comes, and nobody waits for it."""
    step = Step("data", "data", FileSettings(source="gone"), (), tmp_path / "run" / "o.jsonl")
    from nlft.pipeline.process import CrashError, call

    with pytest.raises(CrashError, match="-9"):
        call(_die)
    with pytest.raises(StepError, match="no such file"):
        run_step(step, tmp_path / "run")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_out_of_fold_answers_are_revised_and_trained_on(folder: Path, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "model").symlink_to(folder)
    tiny_rows(tmp_path / "train.jsonl", 4, answered=False)
    own = "{samples: 2, temperature: 1, max_new_tokens: 4, dtype: float32, device: cpu"
    asked = f"answer: {own}, out_of_fold: 2, train: {{epochs: 1, lora: {{r: 2}}}}}}\nrevise: {own}, ways: [answer], first: untouched}}\n"
    train = "train: {epochs: 1, lora: {r: 2}, objective: sft, dtype: float32, device: cpu}\n"
    text = RECIPE.format(folder=tmp_path)
    (tmp_path / "recipe.yaml").write_text("".join(text.splitlines(keepends=True)[:5]) + asked + train)
    assert run(["run", str(tmp_path / "recipe.yaml")]) == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "answers.folds").iterdir()) == ["fold-0", "fold-1"]
    assert [row.id for row in read_records(out / "judged.jsonl", Judged)] == [
        f"train-{i}#{k}" for i in range(4) for k in range(2)
    ]
    rows = list(read_records(out / "revised.jsonl", Judged))
    assert all(row.verdict.correct for row in rows)
    assert "rows revised" in capfd.readouterr().err
    assert run(["run", str(tmp_path / "recipe.yaml")]) == 0
    again = capfd.readouterr().err
    assert again.count("already finished, skipped") == again.count("] nlft ") == 6
