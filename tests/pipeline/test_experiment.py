"""`nlft experiment`: missing cells only, one training run per curve, tables and figures from results files alone."""

import json
import shutil
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.errors import ConfigError, DataError
from nlft.evaluate import wilson_interval
from nlft.evaluate.evaluation import strip_computed
from nlft.pipeline.cells import missing_cells
from nlft.pipeline.experiment import Cell, Experiment, cells, load_experiment
from nlft.pipeline.report import accuracy_table, compare_points, points, write_report
from nlft.pipeline.results import read_result
from nlft.pipeline.select import select_rows
from nlft.records import Judged, Problem, Verdict, read_records

RECIPE = """\
name: tiny
title: A figure with a $ and a |
output: {folder}/run
model: {folder}/model
prompts: short
data: {{source: {folder}/train.jsonl}}
train: {{lora: {{r: 2}}, dtype: float32, device: cpu, batch_size: 2, learning_rate: 0.01}}
test: {{source: {folder}/test.jsonl}}
dev: {{source: {folder}/pool.jsonl}}
evaluate: {{max_new_tokens: 4, dtype: float32, device: cpu, greedy: true}}
methods:
  base: {{train: null}}
  sft-response: {{train: {{objective: sft}}}}
  nlft-c3: {{settings: {{c3: 0.5}}}}
sizes: [2]
epochs: [1, 3]
seeds: [0]
baseline: sft-response
chart: epochs
"""
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def ran(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of its own, in which the experiment has run."""
    folder = tmp_path_factory.mktemp("experiment")
    shutil.copytree(world, folder, dirs_exist_ok=True)
    pool = (folder / "train.jsonl").read_text() + (folder / "test.jsonl").read_text()
    (folder / "pool.jsonl").write_text(pool)
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    assert run(["experiment", str(folder / "recipe.yaml"), "--jobs", "2"]) == 0
    return folder


def test_every_cell_has_its_result(ran: Path) -> None:
    home = ran / "results" / "recipe" / "test"
    ids = ["base-s0", "sft-response-2-e1-s0", "sft-response-2-e3-s0", "nlft-c3-2-e1-s0", "nlft-c3-2-e3-s0"]
    assert sorted(path.stem for path in home.glob("*.json")) == sorted(ids)
    assert not any(str(ran) in (home / f"{each}.json").read_text() for each in ids)  # results are made to be shared
    early, late = (read_result(home / f"{each}.json") for each in ids[1:3])
    assert early.training is not None
    assert early.training == late.training, "one training run gives both"
    assert early.training.steps == 3
    assert early.evaluation.adapter_hash != late.evaluation.adapter_hash, "each epoch has its own checkpoint"
    assert early.evaluation.data_hash == late.evaluation.data_hash
    assert read_result(home / "base-s0.json").training is None
    text = (home / "base-s0.json").read_text()
    assert str(ran) not in text
    for field in ("commit", "versions", "device", "command", "data_hash", "seed", "interval"):
        assert f'"{field}"' in text
    assert not list((ran / "run" / "adapters").glob("*/checkpoint-*/optimizer.pt"))


def test_only_missing_cells_are_run(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ran / "results" / "recipe" / "test"
    before = {path.name: path.stat().st_mtime_ns for path in home.glob("*.json")}
    (home / "base-s0.json").unlink()
    assert run(["experiment", str(ran / "recipe.yaml"), "--dry-run"]) == 0
    assert "5 cells, 1 missing" in capsys.readouterr().out
    assert run(["experiment", str(ran / "recipe.yaml")]) == 0
    out = capsys.readouterr()
    assert "1 cells run, 0 missing" in out.out
    after = {path.name: path.stat().st_mtime_ns for path in home.glob("*.json")}
    assert [name for name in before if before[name] != after[name]] == ["base-s0.json"]


def test_results_of_other_settings_are_not_mixed_in(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for change in ("train.learning_rate=0.02", "judge.judge=self", "methods.nlft-c3.settings.c3=0.7"):
        assert run(["experiment", str(ran / "recipe.yaml"), "--set", change]) == 2
        assert "settings that differ" in capsys.readouterr().err
    assert run(["experiment", str(ran / "recipe.yaml"), "--set", "title=Another"]) == 0
    assert run(["experiment", str(ran / "recipe.yaml"), "--tables"]) == 0


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl"])
def test_results_of_other_data_are_not_mixed_in(ran: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = ran / name
    before = path.read_text()
    home = ran / "results" / "recipe" / "test"
    path.write_text(before.replace('"question": "', '"question": "Now: ', 1))
    try:
        assert run(["experiment", str(ran / "recipe.yaml")]) == 2
        assert "files that have changed since" in capsys.readouterr().err
        assert run(["experiment", str(ran / "recipe.yaml"), "--tables"]) == 0
    finally:
        path.write_text(before)
    one = home / "base-s0.json"
    recorded = one.read_text()
    one.write_text(json.dumps(json.loads(recorded) | {"version": 1}))  # its hashes are of another kind
    try:
        assert run(["experiment", str(ran / "recipe.yaml")]) == 2
        assert "nlft 0.1" in capsys.readouterr().err
        assert run(["experiment", str(ran / "recipe.yaml"), "--tables"]) == 0
    finally:
        one.write_text(recorded)


def test_where_one_stands_decides_nothing(
    ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same recipe and files from another working folder, and after the data has moved: its own results."""
    monkeypatch.chdir(tmp_path)
    assert run(["experiment", str(ran / "recipe.yaml")]) == 0
    assert "0 cells run, 0 missing" in capsys.readouterr().out
    shutil.copy(ran / "train.jsonl", tmp_path / "moved.jsonl")
    assert run(["experiment", str(ran / "recipe.yaml"), "--set", f"data.source={tmp_path / 'moved.jsonl'}"]) == 0
    assert "0 cells run, 0 missing" in capsys.readouterr().out


def test_one_job_gives_what_two_give(ran: Path, tmp_path: Path) -> None:
    """But for the rounding of sums over another number of threads."""
    words = ["--set", f"output={tmp_path / 'run'}", "--results", str(tmp_path / "results"), "--method", "nlft-c3"]
    assert run(["experiment", str(ran / "recipe.yaml"), *words]) == 0
    for cell in ("nlft-c3-2-e1-s0", "nlft-c3-2-e3-s0"):
        one = read_result(tmp_path / "results" / "test" / f"{cell}.json")
        two = read_result(ran / "results" / "recipe" / "test" / f"{cell}.json")
        assert one.training is not None
        assert two.training is not None
        assert one.training.model_copy(update={"seconds": 0, "peak_memory_mb": 0, "tokens_per_second": 0}) == (
            two.training.model_copy(update={"seconds": 0, "peak_memory_mb": 0, "tokens_per_second": 0})
        )
        assert (one.solved, one.settings_hash, one.sources_hash) == (two.solved, two.settings_hash, two.sources_hash)


def test_tables_need_the_results_alone(ran: Path, tmp_path: Path) -> None:
    """Copied elsewhere without the run's folder, the results give the same bytes again."""
    home = ran / "results" / "recipe" / "test"
    shutil.copytree(home, tmp_path / "r" / "test", ignore=shutil.ignore_patterns("table*", "compar*", "figure*"))
    words = ["--tables", "--results", str(tmp_path / "r"), "--set", f"output={tmp_path / 'nowhere'}"]
    assert run(["experiment", str(ran / "recipe.yaml"), *words]) == 0
    names = [f"{kind}.{form}" for kind in ("table", "comparison") for form in ("md", "csv")]
    for name in [*names, "figure.svg", "figure.png"]:
        assert (tmp_path / "r" / "test" / name).read_bytes() == (home / name).read_bytes(), name


def test_dev_leaves_out_what_is_trained_on(ran: Path) -> None:
    assert run(["experiment", str(ran / "recipe.yaml"), "--split", "dev", "--method", "base"]) == 0
    ids = [row.id for row in read_records(ran / "run" / "dev.jsonl", Problem)]
    assert ids == ["test-0", "test-1", "test-2"]
    assert (ran / "results" / "recipe" / "dev" / "base-s0.json").exists()
    assert len(missing_cells(load_experiment(ran / "recipe.yaml"), ran / "results" / "recipe", "dev")) == 4


METHODS = ("base", "sft-response", "nlft-c3")


def made_up(folder: Path) -> tuple[Experiment, Path]:
    """An experiment with results whose numbers can be worked out by hand."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=folder).replace("seeds: [0]", "seeds: [0, 1]").replace("[1, 3]", "[1]"))
    experiment = load_experiment(recipe)
    right = {"base": ("0000", "0001"), "sft-response": ("0011", "0011"), "nlft-c3": ("1111", "0111")}
    golden = json.loads((GOLDEN / "result.json").read_text())
    for cell in cells(experiment):
        digits = right[cell.method][cell.seed]
        accuracy = {"count": digits.count("1"), "n": 4}
        evaluation = golden["evaluation"] | {"n": 4, "strict": accuracy, "flexible": accuracy, "seed": cell.seed}
        place = {"method": cell.method, "size": cell.size, "epoch": cell.epoch, "seed": cell.seed, "split": "test"}
        row = golden | place | {"evaluation": strip_computed(evaluation)}
        row |= {"solved": {"strict": digits, "flexible": digits}}
        if cell.size == 0:
            row["training"] = None
        path = folder / "results" / "test" / f"{cell.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
    return experiment, folder / "results"


def test_the_numbers_of_the_tables(tmp_path: Path) -> None:
    experiment, results = made_up(tmp_path)
    found = points(experiment, results, "test")
    table = accuracy_table(found)
    # method, examples, epoch, seeds, n, strict: 1/8, 4/8, 7/8
    assert [row[:6] for row in table.rows] == [
        ("base", "-", "-", "2", "4", "12.5 %"),
        ("sft-response", "2", "1", "2", "4", "50.0 %"),
        ("nlft-c3", "2", "1", "2", "4", "87.5 %"),
    ]
    # Problems solved by 0, 0, 0, ½ of the seeds: variance 1/16, of the mean 1/64; 7/64 / (1/64) = 7 of 8 pairs count.
    assert [point.interval("strict") for point in found] == [
        pytest.approx(wilson_interval(n * share, n)) for n, share in ((7, 1 / 8), (4, 4 / 8), (7, 7 / 8))
    ]
    (strict, flexible) = compare_points(experiment, found)
    assert (strict.b, strict.only_a, strict.only_b, strict.difference) == ("nlft-c3, n 2, epoch 1", 0, 2, 0.375)
    assert strict.p_value == strict.p_holm == 0.5  # two problems, both nlft's: 2 / 2^2
    assert flexible.grader == "flexible"


def test_an_untrained_baseline_of_one_seed_stands_against_every_seed(tmp_path: Path) -> None:
    experiment, results = made_up(tmp_path)
    (results / "test" / "base-s1.json").unlink()
    found = points(experiment, results, "test")
    response, nlft, *_ = compare_points(experiment.model_copy(update={"baseline": "base"}), found)
    # Two seeds of 0011 and of 1111 and 0111, against 0000 twice.
    assert (response.difference, response.only_b) == (4 / 8, 2)
    assert (nlft.difference, nlft.only_b) == (7 / 8, 4)


def test_the_tables_are_these(tmp_path: Path) -> None:
    """Worked out by hand once, from the numbers above (see test_the_numbers_of_the_tables), and kept."""
    experiment, results = made_up(tmp_path)
    write_report(experiment, results, "test")
    for name in ("table.md", "table.csv", "comparison.md", "comparison.csv"):
        assert (results / "test" / name).read_text() == (GOLDEN / name).read_text(), name


@pytest.mark.parametrize("chart", ["epochs", "sizes", "bars", "memory", "time"])
def test_every_chart_is_drawn(tmp_path: Path, chart: str) -> None:
    experiment, results = made_up(tmp_path)
    write_report(experiment.model_copy(update={"chart": chart}), results, "test")
    svg = (results / "test" / "figure.svg").read_text()
    assert "A figure with a $ and a |" in svg
    assert "sft-response" in svg


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    experiment, results = made_up(tmp_path)
    (results / "test" / "base-s0.json").write_text('{"method": "base"')
    with pytest.raises(DataError, match=r"base-s0\.json.*not a results file"):
        points(experiment, results, "test")


def test_rows_of_a_method() -> None:
    def judged(name: str, correct: bool) -> Judged:
        verdict = Verdict(correct=correct, reason="made up")
        judgment = None if correct else "wrong"
        return Judged(id=name, question="q", reference="#### 1", response=name, verdict=verdict, judgment=judgment)

    rows = [judged("a", True), judged("b", False)]
    assert select_rows(rows, "all") == rows
    assert select_rows(rows, "correct") == rows[:1]
    mixed = select_rows(rows, "correct-or-reference")
    assert [(r.response, r.verdict.correct, r.judgment) for r in mixed] == [("a", True, None), ("#### 1", True, None)]


def test_more_rows_than_there_are_is_told(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "sizes=[9]", "--results", str(tmp_path), "--method", "sft-response"]
    assert run(["experiment", str(ran / "recipe.yaml"), *words]) == 1
    assert "asks for 9 training rows, but there are 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("baseline: sft-response", "baseline: sft-respons"), 'did you mean "sft-response"?'),
        (("c3: 0.5", "c33: 0.5"), "c33"),
        (("objective: sft", "objectiv: sft"), 'did you mean "objective"?'),
        (("sizes: [2]", "sizes: []"), '"sizes"'),
        (("sizes: [2]", "size: [2]"), 'did you mean "sizes"?'),
        (("  base:", "  Base/x:"), "methods"),
    ],
)
def test_mistakes_are_told_with_their_line(
    tmp_path: Path, change: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(folder=tmp_path).replace(*change))
    assert run(["experiment", str(path), "--dry-run"]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "r.yaml:" in errors


def test_a_method_may_have_seeds_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE.format(folder=tmp_path).replace("seeds: [0]", "seeds: [0, 1]"))
    words = ["methods.base.seeds=[0]", "methods.sft-response.seeds=[3, 4]"]
    seeds = {name: {c.seed for c in cells(load_experiment(path, words)) if c.method == name} for name in METHODS}
    assert seeds == {"base": {0}, "sft-response": {3, 4}, "nlft-c3": {0, 1}}


def test_a_source_is_found_beside_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(), elsewhere.mkdir()
    (home / "rows.jsonl").write_text("")
    (home / "r.yaml").write_text(RECIPE.format(folder=tmp_path))
    monkeypatch.chdir(elsewhere)
    found = load_experiment(home / "r.yaml", ["data.source=rows.jsonl", "test.source=gsm8k"])
    assert Path(str(found.data.source)).resolve() == home / "rows.jsonl"
    assert found.test is not None
    assert found.test.source == "gsm8k"
    (elsewhere / "rows.jsonl").write_text("")  # what is found from here comes first
    assert load_experiment(home / "r.yaml", ["data.source=rows.jsonl"]).data.source == "rows.jsonl"


def test_cells_have_one_name_each() -> None:
    assert Cell("base", 0, None, 1).id == "base-s1"
    assert Cell("nlft", 50, 4, 0).id == "nlft-50-e4-s0"
    with pytest.raises(ConfigError):
        load_experiment("nowhere.yaml")
