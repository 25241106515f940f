"""The results files in the repository give the tables and figures that stand beside them."""

import shutil
from pathlib import Path

import pytest

from nlft.cli.app import run
from nlft.pipeline.estimate import cell_cost
from nlft.pipeline.experiment import cells, load_experiment
from nlft.pipeline.results import read_results

RECIPES = Path(__file__).parents[2] / "recipes"


def recipe_of(home: Path) -> Path:
    """FIGURE/recorded/SPLIT is of FIGURE/small.yaml, FIGURE/recorded/NAME/SPLIT of FIGURE/NAME.yaml."""
    folder = home.parents[1] if home.parent.name == "recorded" else home.parents[2]
    return folder / ("small.yaml" if home.parent.name == "recorded" else f"{home.parent.name}.yaml")


HOMES = [
    home
    for part in ("recorded", "recorded/*")
    for split in ("dev", "test")
    for home in RECIPES.glob(f"*/{part}/{split}")
]
RECORDED = sorted(home for home in HOMES if recipe_of(home).exists())


def name(home: Path) -> str:
    return home.relative_to(RECIPES).as_posix()


@pytest.mark.parametrize("home", RECORDED, ids=name)
def test_the_recorded_results_give_the_tables_beside_them(home: Path, tmp_path: Path) -> None:
    split = home.name
    (tmp_path / split).mkdir()
    for file in home.glob("*.json"):
        shutil.copy(file, tmp_path / split)
    words = ["--results", str(tmp_path), "--split", split, "--tables"]
    assert run(["experiment", str(recipe_of(home)), *words]) == 0
    made = {file.name for file in (tmp_path / split).iterdir()}
    assert made == {file.name for file in home.iterdir()}
    for file_name in made:
        if file_name.endswith((".md", ".csv", ".svg")):
            assert (tmp_path / split / file_name).read_text("utf-8") == (home / file_name).read_text("utf-8"), file_name


@pytest.mark.parametrize("home", RECORDED, ids=name)
def test_no_recorded_result_names_a_place_on_a_machine(home: Path) -> None:
    for file in home.glob("*.json"):
        text = file.read_text("utf-8")
        assert "/root" not in text
        assert "/home" not in text
        assert '"/' not in text


def test_the_estimated_memory_is_near_the_measured() -> None:
    """Of the runs that figure 8 records: the dry run's arithmetic may be off by a third, not by a factor."""
    experiment = load_experiment(RECIPES / "fig8-time" / "small.yaml")
    assert experiment.estimate is not None
    results = read_results(RECIPES / "fig8-time" / "recorded", "test", cells(experiment))
    assert len(results) == len(experiment.methods)
    for cell, result in results.items():
        assert result.training is not None
        assert result.training.peak_memory_mb is not None
        estimate = cell_cost(experiment, cell, experiment.estimate).gigabytes
        assert estimate == pytest.approx(result.training.peak_memory_mb * 2**20 / 1e9, rel=0.33), cell
