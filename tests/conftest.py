"""One tiny world for all tests, their tiers, and shapes that are checked while they run."""

import signal
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import install_import_hook

# Shapes in the signatures of core and objectives are checked while the tests run, and only then. Not `settings`: it
# checks its own values, and says what is wrong in words a user can act on.
CHECKED = [
    *(f"nlft.core.{module}" for module in ("saliency", "cluster", "scales", "allocation", "loss")),
    *(f"nlft.objectives.{module}" for module in ("interface", "nlft", "likelihood", "cut", "sdft", "pairs")),
    "nlft.train.reft.ppo",
]
install_import_hook(CHECKED, "beartype.beartype")

# Started in the background by a shell script, the tests, and every command they start, would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What takes its time; `make quick` leaves these out. By folder or file, and by name where only some of a file do.
STORM = ("answer/test_storm.py",)
TRAINING = ("train/", "demo/", "pipeline/test_experiment.py", "pipeline/test_rounds.py")
TRAINING_BY_NAME = {
    "lm/test_attention.py": ("compiled_flex_attention_is",),
    "pipeline/test_recipes.py": ("takes_two_steps", "scores_and_shows"),
    "pipeline/test_init.py": ("runs_as_it_is",),
    "pipeline/test_run.py": ("whole_run", "failing_stage", "ended_run", "crashes", "out_of_fold"),
    "cli/test_json.py": ("choose", "is_counted"),
    "evaluate/test_evaluate.py": ("interrupted",),
    "export/test_export.py": ("lm_eval",),
    "export/test_push.py": ("uploaded", "rows_go", "refuses"),
    "out_of_fold/test_out_of_fold.py": ("by_hand",),
}
QUICK = ("train/test_config.py",)
# Pages with a test of their own, which `make test-docs` runs with the others.
DOCS_BY_NAME = {"pipeline/test_your_own_task.py": "commands_of_the_page", "export/test_docs.py": "commands"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make quick` leaves out."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        if place in DOCS_BY_NAME and DOCS_BY_NAME[place] in item.name:
            item.add_marker(pytest.mark.docs)
        if place.startswith(STORM):
            item.add_marker(pytest.mark.storm)
        slow = place.startswith(TRAINING) or any(part in item.name for part in TRAINING_BY_NAME.get(place, ()))
        if slow and not place.startswith(QUICK):
            item.add_marker(pytest.mark.training)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, four answered rows to train on and three problems to test on; only ever read."""
    from tiny import tiny_model, tiny_rows

    folder = tmp_path_factory.mktemp("world")
    tiny_model(folder / "model")
    tiny_rows(folder / "train.jsonl", 4, answered=True)
    tiny_rows(folder / "test.jsonl", 3, answered=False)
    return folder


@pytest.fixture(scope="session")
def folder(world: Path) -> Path:
    """The folder of the tiny model."""
    return world / "model"


@pytest.fixture(scope="module")
def lm(folder: Path) -> Any:
    """The tiny model, loaded once a module."""
    from nlft.lm import load_model

    return load_model(str(folder), dtype="float32", device="cpu")
