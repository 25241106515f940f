"""The recipes of the paper's size against the paper, its authors' code and ReFT's; and the rows that ship with them."""

from pathlib import Path

import pytest

from nlft.core import SaliencySettings
from nlft.data.duplicates import normalised
from nlft.data.load import load_problems
from nlft.errors import DataError
from nlft.files.yaml import read_yaml
from nlft.grade import grade
from nlft.objectives import get_objective
from nlft.pipeline.experiment import Experiment, load_experiment
from nlft.pipeline.plan import plan_cells
from nlft.pipeline.recipe import Preparation, load_recipe
from nlft.pipeline.select import RowsSettings, rows_file
from nlft.records import Attempt, Judged, Problem, Verdict, read_records, write_records
from nlft.train.reft import ReFTConfig

RECIPES = Path(__file__).parents[2] / "recipes"
PAPER = sorted(RECIPES.glob("*/paper.yaml"))
RUNS = ("fig10-tokens", "self-study")
# What each figure has: the training sizes, the epochs, and the rows asked for, which are a few more than the largest size.
FIGURES = {
    "ablations": ([50], [5], 60),
    "fig1-fig6-50-examples": ([50], [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16], 60),
    "fig4-fractions": ([1868, 3737, 5605, 7473], [3], 7473),
    "fig5-sizes": ([50, 75, 100, 150, 200, 250, 300, 350, 400], [1, 2, "end"], 410),
    "fig7-memory": ([800], None, 810),
    "fig8-time": ([800], None, 810),
    "fig9-800": ([800], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30], 810),
    "incorrect-share": ([50], [5], 400),
    "readme-same-responses": ([25, 50, 400, 600, 800], [3, 5, 10], 810),
}


def experiment(name: str, size: str = "paper") -> Experiment:
    return load_experiment(RECIPES / name / f"{size}.yaml")


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.parent.name)
def test_teacher_judge_and_student_are_the_sources(path: Path) -> None:
    recipe: Preparation = load_recipe(path) if path.parent.name in RUNS else load_experiment(path)
    judge, answer = recipe.judge, recipe.answer
    assert judge is not None
    assert (judge.judge, judge.model, judge.prompt, judge.max_new_tokens) == ("openai", "gpt-4o", "a1", 512)
    assert answer is not None
    assert (answer.model, answer.temperature, answer.max_new_tokens) == (
        "meta-llama/Meta-Llama-3-8B-Instruct",
        0.3,
        512,
    )
    assert recipe.grade.grader == "authors"
    if path.parent.name != "self-study":
        assert (recipe.model, recipe.chat_template) == ("meta-llama/Meta-Llama-3-8B", answer.model)


@pytest.mark.parametrize(("name", "wanted"), FIGURES.items())
def test_each_figure_has_the_papers_sizes_epochs_and_settings(
    name: str, wanted: tuple[list[int], list[int], int]
) -> None:
    recipe = experiment(name)
    assert (recipe.sizes, recipe.epochs, recipe.data.n) == wanted
    for method in recipe.methods.values():
        assert (method.evaluate.temperature, method.evaluate.max_new_tokens) == (0.6, 512)
        assert method.evaluate.grader == "authors"
        if method.train is None or method.train.objective == "reft":
            continue
        assert method.train.learning_rate == 5e-5
        assert method.train.batch_size == (2 if name == "fig7-memory" else 4)
        if method.train.preset == "authors":
            assert (method.train.prompts, method.evaluate.prompts) == ("authors", "authors")


def test_figure_4_takes_the_whole_training_set_and_chooses_nothing() -> None:
    recipe = experiment("fig4-fractions")
    assert recipe.dev is None
    assert max(recipe.sizes) == recipe.data.n == 7473


@pytest.mark.parametrize("size", ["paper", "small"])
def test_figure_5s_intermediate_states_are_checkpoints_of_one_run(size: str) -> None:
    recipe = experiment("fig5-sizes", size)
    _, runs = plan_cells(recipe, "test")
    for run in runs:
        if run.train:
            settings = run.train[-1].settings.model_dump()
            assert (settings["max_steps"], [cell.epoch for cell in run.evaluations]) == (200, [1, 2, None])
            assert settings["keep_checkpoints"] > 200, "no checkpoint that is evaluated may be removed"
    assert len(runs) == 1 + len(recipe.seeds) * len(recipe.sizes) * (len(recipe.methods) - 1)


@pytest.mark.parametrize("name", ["fig7-memory", "fig8-time", "fig9-800"])
def test_reft_is_its_source_but_for_the_adapters_rates(name: str) -> None:
    method = experiment(name).methods["reft"]
    train = method.train
    assert train is not None
    assert (train.warm_up_batch_size, train.warm_up_epochs, train.warm_up_schedule) == (48, 2, "linear")
    assert (train.max_length, train.ppo_epochs, train.kl_coefficient, train.warmup) == (700, 2, 0.05, None)
    assert ReFTConfig.warmup_steps == 0, "PPO's learning rate does not warm up"
    assert (train.prompts, method.evaluate.prompts) == ("short", "short")
    assert (train.learning_rate, train.warm_up_learning_rate) == (2e-5, 2e-4)
    text = (RECIPES / "fig9-800" / "README.md").read_text("utf-8")
    assert "ReFT trains the whole model at 3e-7" in " ".join(text.split())


def test_constants_that_differ_between_paper_and_code() -> None:
    assert get_objective("cut", SaliencySettings.paper()).threshold == 1.1  # type: ignore[attr-defined]
    assert (SaliencySettings.paper().zero_probability, SaliencySettings.authors().zero_probability) == (0, 1e-5)


def test_a_recorded_judgment_names_its_judge_so_that_the_recipes_judge_replaces_it() -> None:
    for file in ("gsm8k-100.jsonl", "gsm8k-wrong-judged.jsonl"):
        rows = [dict(row) for row in load_problems(RECIPES / file)]
        assert all(bool(row.get("judge")) for row in rows if row.get("judgment"))


def shipped() -> list[Problem]:
    data = experiment("fig1-fig6-50-examples", "strong").data
    from nlft.data.step import make_problems

    return list(make_problems(data))


def test_every_file_of_the_data_decides_what_a_result_is_of() -> None:
    identity = experiment("fig1-fig6-50-examples", "strong").data.identity()
    assert all(each.startswith("sha256:") for each in [identity["source"], *identity["also"]])


def test_the_strong_rows_are_right_and_the_judged_ones_wrong_one_a_problem() -> None:
    rows = list(grade([Attempt.model_validate(dict(row)) for row in shipped()], "gsm8k-strict"))
    right, wrong = rows[:195], rows[195:]
    assert all(row.verdict.correct for row in right)
    assert len(wrong) == 59
    assert not any(row.grades["gsm8k-flexible"].correct for row in wrong)
    assert all((row.model_extra or {})["judgment"] for row in wrong)
    for part in (right, wrong):
        assert len({normalised(row.question) for row in part}) == len(part)
    assert not {"gsm8k-train-2867", "gsm8k-train-618"} & {row.id.removesuffix("-wrong") for row in rows}
    licence = (RECIPES / "DATA.md").read_text("utf-8")
    assert "Copyright (c) 2021 OpenAI" in licence
    assert all(path.name in licence for path in RECIPES.glob("*.jsonl"))


@pytest.mark.parametrize(("size", "share", "wrong"), [(50, 0.2, 10), (195, 0.2, 39), (50, 1.0, 50), (50, 0.0, 0)])
def test_rows_are_mixed_to_an_exact_share_one_a_problem(tmp_path: Path, size: int, share: float, wrong: int) -> None:
    judged, out = tmp_path / "graded.jsonl", tmp_path / "rows.jsonl"
    write_records(judged, grade([Attempt.model_validate(dict(row)) for row in shipped()]))
    rows_file(RowsSettings(rows="all", size=size, incorrect_share=share), judged, out)
    rows = list(read_records(out, Judged))
    assert (len(rows), sum(not row.verdict.correct for row in rows)) == (size, wrong)
    assert len({normalised(row.question) for row in rows}) == size
    assert all(row.judgment for row in rows if not row.verdict.correct)
    with pytest.raises(DataError, match="60 rows, 100% of them incorrect, are asked for, but there are 59"):
        rows_file(RowsSettings(rows="all", size=60, incorrect_share=1), judged, out)


def test_rows_lost_to_failed_judgments_shrink_the_largest_size(tmp_path: Path) -> None:
    verdict = Verdict(correct=True, reason="made up")
    rows = [Judged(id=f"r{i}", question=f"{i}?", reference="#### 1", response="1", verdict=verdict) for i in range(5)]
    judged, problems, out = (tmp_path / f"{name}.jsonl" for name in ("judged", "problems", "rows"))
    write_records(judged, rows[:3])
    write_records(problems, [Problem(id=row.id, question=row.question, reference=row.reference) for row in rows])
    told = rows_file(RowsSettings(rows="all", size=5), judged, problems, out).text
    assert "warning: 5 rows were asked for, but 2 of 5 got no answer or no judgment" in told
    assert len(list(read_records(out, Judged))) == 3
    assert "warning" not in rows_file(RowsSettings(rows="all", size=3), judged, problems, out).text
    with pytest.raises(DataError, match="asks for 6 training rows, but there are 3"):
        rows_file(RowsSettings(rows="all", size=6), judged, problems, out)


def test_the_methods_of_one_experiment_may_have_judges_of_their_own() -> None:
    recipe = experiment("judgments", "small")
    shared, runs = plan_cells(recipe, "test")
    assert "judge" not in [step.verb for step in shared], "the strong judgments stand in the data"
    own = {
        next(iter(run.evaluations)).method: [step.settings.model_dump()["judge"] for step in run.judge] for run in runs
    }
    replayed = f"replay:{RECIPES / 'gsm8k-100.jsonl'}"
    assert {name: [Path(each).name for each in judges] for name, judges in own.items() if judges} == {
        "nlft-1.5b": [Path(replayed).name], "nlft-rule": ["rule"], "cut-1.5b": [Path(replayed).name], "cut-rule": ["rule"],
    }  # fmt: skip
    for run in runs:
        if run.judge:
            assert run.train[0].inputs[0] == run.judge[-1].output


def test_the_small_recipes_of_the_figures_have_the_papers_conditions() -> None:
    for path in (*(RECIPES / f"{name}/small.yaml" for name in ("ablations", "fig4-fractions", "fig5-sizes", "fig9-800")),
                 RECIPES / "fig1-fig6-50-examples/strong.yaml"):  # fmt: skip
        assert read_yaml(path)["incorrect_share"] == 0.2, path
        assert load_experiment(path).judge is None
