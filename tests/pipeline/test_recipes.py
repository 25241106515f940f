"""Every recipe that ships: it loads, its commands exist, and it runs on a tiny model through the real command."""

import functools
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from nlft.cli.app import run
from nlft.lm.config import ChatSettings
from nlft.pipeline.experiment import Split, cells, load_experiment
from nlft.pipeline.plan import plan, plan_cells
from nlft.pipeline.recipe import load_recipe
from nlft.pipeline.results import read_result

RECIPES = Path(__file__).parents[2] / "recipes"
LAUNCHERS = sorted(RECIPES.glob("accelerate/*.yaml"))
TASKS_OF_OTHERS = sorted(RECIPES.glob("lm-eval/*.yaml"))  # tests/grade/test_lm_eval.py
ALL = sorted(set(RECIPES.glob("*/*.yaml")) - {*LAUNCHERS, *TASKS_OF_OTHERS})
EXPERIMENTS = [
    path for path in ALL if path.parent.name not in ("fig10-tokens", "gsm8k-50", "own-data", "self-study", "tuned")
]
FIGURES = {"fig1-fig6-50-examples", "fig4-fractions", "fig5-sizes", "fig7-memory", "fig8-time", "fig9-800"}


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_every_figure_has_both_sizes() -> None:
    folders = FIGURES | {"fig10-tokens", "readme-same-responses", "ablations", "incorrect-share", "self-study"}
    assert {f"{folder}/{size}" for folder in folders for size in ("small", "paper")} <= {name(path) for path in ALL}
    assert all((path.parent / "README.md").exists() for path in ALL)


def splits(path: Path) -> list[Split]:
    """The splits an experiment has problems for."""
    experiment = load_experiment(path)
    return [split for split in get_args(Split) if getattr(experiment, split) is not None]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_every_cell_of_an_experiment_has_commands(path: Path) -> None:
    experiment = load_experiment(path)
    for split in splits(path):
        _, runs = plan_cells(experiment, split, file=path)
        planned = [cell for each in runs for cell in each.evaluations]
        assert sorted(planned, key=str) == sorted(cells(experiment, split), key=str)
    assert experiment.estimate is not None
    assert len({cell.id for cell in planned}) == len(planned)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_the_dry_run_lists_the_cells_and_what_they_cost(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiment", str(path), "--dry-run", "--results", "nowhere", "--split", splits(path)[-1]]) == 0
    out = capsys.readouterr().out
    wanted = cells(load_experiment(path))
    assert all(cell.id in out for cell in wanted)
    assert f"{len(wanted)} cells, {len(wanted)} missing" in out
    assert "estimate for" in out


@pytest.mark.parametrize("path", [path for path in ALL if path not in EXPERIMENTS], ids=name)
def test_every_run_has_commands(path: Path) -> None:
    verbs = [step.verb for step in plan(load_recipe(path))]
    assert len(verbs) >= 5
    assert {"data", "grade", "judge"} <= set(verbs)
    assert {"score", "train"} & set(verbs)


@pytest.mark.parametrize("path", LAUNCHERS, ids=name)
def test_accelerate_takes_each_configuration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its launcher fills its own arguments from the file; for FSDP, its plugin then reads what that puts in place."""
    from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import FullyShardedDataParallelPlugin, prepare_multi_gpu_env

    loaded = load_config_from_file(str(path))
    assert isinstance(loaded, ClusterConfig)
    known = launch_command_parser()
    args = known.parse_args(["--config_file", str(path), "-m", "nlft", "train", "rows.jsonl"])
    # What a file may hold is an argument of the launcher; an unknown one is refused here.
    written = {**(loaded.fsdp_config or {}), **(loaded.deepspeed_config or {})}
    assert {key: value for key, value in written.items() if not hasattr(args, key)} == {}
    args, *_ = _validate_launch_command(args)
    wanted = {"ddp": "multi_gpu", "fsdp2": "use_fsdp", "zero2": "use_deepspeed", "zero3": "use_deepspeed"}[path.stem]
    assert getattr(args, wanted)
    assert (args.num_processes, args.mixed_precision) == (2, "no")
    if wanted == "use_deepspeed":
        assert args.zero_stage == int(path.stem[-1])
        return
    for key, value in prepare_multi_gpu_env(args).items():
        monkeypatch.setenv(key, value)
    if wanted == "use_fsdp":
        plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2
        assert plugin.reshard_after_forward is True
        assert "FULL_STATE_DICT" in str(plugin.state_dict_type)
        assert not plugin.cpu_ram_efficient_loading


def test_the_commands_for_two_gpus_are_commands() -> None:
    from nlft.cli.app import load_verb

    lines = (RECIPES / "accelerate" / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.split() for line in lines if line.startswith("accelerate launch")]
    assert len(commands) == 2
    for words in commands:
        assert (RECIPES / "accelerate" / words[words.index("--config_file") + 1]).exists()
        verb, *arguments = words[words.index("nlft") + 1 :]
        load_verb(verb).make_context(verb, arguments)


# One trained method of each recipe: the whole of an experiment is in test_experiment.py, every objective here.
CHOSEN = {
    "ablations": "log-ratio",
    "classification": "sft",
    "code": "sft-responses",
    "extraction": "nlft",
    "fig1-fig6-50-examples": "sft-correct",
    "fig4-fractions": "sft-reference",
    "fig5-sizes": "nlft-paper",
    "fig7-memory": "cut",
    "fig8-time": "dft",
    "fig9-800": "reft",
    "incorrect-share": "nlft-50",  # of four rows, two are wrong
    "judgments": "nlft-rule",
    "learning-rates": "cut-1e-3",
    "readme-same-responses": "sft-correct",
}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=name)
def test_an_experiment_takes_two_steps(path: Path, world: Path, tmp_path: Path) -> None:
    method = CHOSEN[path.parent.name]
    words = {
        "output": tmp_path / "run",
        "model": world / "model",
        "data": f"{{source: {world / 'train.jsonl'}}}",
        "answer": "null",
        "task": "null",  # the rows are sums
        "judge": "{judge: rule}",
        "grade": "{}",
        "chat_template": "null",
        "incorrect_share": "null",
        f"{splits(path)[-1]}": f"{{source: {world / 'test.jsonl'}}}",
        "evaluate": "{max_new_tokens: 3, dtype: float32, device: cpu}",
        "train.dtype": "float32",
        "train.device": "cpu",
        "train.max_steps": 2,
        f"methods.{method}.train.max_steps": 2,
        **({"methods.reft.train.max_new_tokens": 4} if method == "reft" else {}),  # which samples while it trains
        "sizes": "[4]",
        "epochs": "null",
        "seeds": "[0]",
    }
    assigned = [word for key, value in words.items() for word in ("--set", f"{key}={value}")]
    results = tmp_path / "results"
    split = splits(path)[-1]
    assert (
        run(["experiment", str(path), *assigned, "--results", str(results), "--method", method, "--split", split]) == 0
    )
    (found,) = (results / split).glob("*.json")
    result = read_result(found)
    assert result.training is not None
    assert result.training.steps == 2
    assert result.evaluation.n == 3
    assert (results / split / "figure.png").stat().st_size > 5000


def test_figure_10_scores_and_shows(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = {
        "output": tmp_path / "run",
        "model": world / "model",
        "data": f"{{source: {world / 'train.jsonl'}}}",
        "answer": "null",
        "score.dtype": "float32",
    }
    assigned = [word for key, value in words.items() for word in ("--set", f"{key}={value}")]
    assert run(["run", str(RECIPES / "fig10-tokens" / "small.yaml"), *assigned]) == 0
    assert (tmp_path / "run" / "map.html").exists()
    assert run(["show", str(tmp_path / "run" / "scored.jsonl"), "1"]) == 0
    assert "4" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["run", "experiment"])
def test_the_schemas_beside_the_recipes_are_those_of_the_settings(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["schema", kind]) == 0
    assert (RECIPES / f"{kind}.schema.json").read_text("utf-8") == capsys.readouterr().out


@functools.cache
def validator_of(kind: str) -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads((RECIPES / f"{kind}.schema.json").read_text("utf-8")))


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_recipe_fits_the_schema_it_names(path: Path) -> None:
    """As an editor checks it: the JSON Schema, not our own reader."""
    from nlft.files.yaml import read_yaml

    first = path.read_text("utf-8").splitlines()[0]
    kind = "experiment" if path in EXPERIMENTS else "run"
    assert first == f"# yaml-language-server: $schema=../{kind}.schema.json"
    validator = validator_of(kind)
    data = read_yaml(path)
    assert not list(validator.iter_errors(data))
    assert list(validator.iter_errors(data | {"trian": {}})), "a key that does not exist is no part of it"
    assert list(validator.iter_errors(data | {"evaluate": {"max_new_token": 3}}))


def test_recipes_are_listed_and_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(path.parent.name in listed for path in ALL)
    assert run(["recipes", "copy", "fig10-tokens"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "DATA.md", "fig10-tokens", "gsm8k-100.jsonl", "run.schema.json"
    }  # fmt: skip
    assert run(["run", "fig10-tokens/small.yaml", "--dry-run"]) == 0
    assert run(["recipes", "copy", "fig10-tokens"]) == 2, "what is there is not overwritten"
    assert run(["recipes", "copy", "fig10-token"]) == 2
    assert 'did you mean "fig10-tokens"?' in capsys.readouterr().err


def test_how_the_model_is_spoken_to_is_said_once(tmp_path: Path) -> None:
    """Every section that asks or trains the student takes it; a teacher, who is another model, does not."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: r\nmodel: m\nchat_template: sibling\nthinking: 'on'\ntemplate_date: '2026-02-01'\nsystem: replace\n"
        "data: {source: gsm_symbolic}\nanswer: {model: teacher, base_url: 'http://localhost:1/v1'}\n"
        "judge: {judge: self}\nscore: {}\nrounds: {k: 1, dev: {source: gsm_symbolic}, answer: {}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(path)
    assert recipe.train is not None
    assert recipe.score is not None
    assert recipe.answer is not None
    assert recipe.rounds is not None
    assert recipe.judge is not None
    spoken = {"chat_template": "sibling", "thinking": "on", "template_date": "2026-02-01"}
    for section in (recipe.train, recipe.score, recipe.evaluate, recipe.rounds.answer):
        assert ChatSettings.of(section).model_dump(exclude_defaults=True) == {**spoken, "system": "replace"}
    assert recipe.judge.model_dump(include=set(spoken)) == spoken
    assert ChatSettings.of(recipe.answer).model_dump(exclude_defaults=True) == {"system": "replace"}
