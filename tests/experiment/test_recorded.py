"""The results files in the repository give the tables and figures that stand beside them."""

import shutil
from pathlib import Path

import pytest

from nlft.cli.app import run

RECIPES = Path(__file__).parents[2] / "recipes"
RECORDED = sorted(RECIPES.glob("*/recorded/test"))


@pytest.mark.parametrize("home", RECORDED, ids=lambda home: home.parents[1].name)
def test_the_recorded_results_give_the_tables_beside_them(home: Path, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for file in home.glob("*.json"):
        shutil.copy(file, tmp_path / "test")
    recipe = home.parents[1] / "small.yaml"
    assert run(["experiment", str(recipe), "--results", str(tmp_path), "--tables"]) == 0
    made = {file.name for file in (tmp_path / "test").iterdir()}
    assert made == {file.name for file in home.iterdir()}
    for name in made:
        if name.endswith((".md", ".csv", ".svg")):
            assert (tmp_path / "test" / name).read_text("utf-8") == (home / name).read_text("utf-8"), name


@pytest.mark.parametrize("home", RECORDED, ids=lambda home: home.parents[1].name)
def test_no_recorded_result_names_a_place_on_a_machine(home: Path) -> None:
    for file in home.glob("*.json"):
        text = file.read_text("utf-8")
        assert "/root" not in text
        assert "/home" not in text
        assert '"/' not in text
