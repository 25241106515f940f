"""The experiment that compares the candidates, and the recipe of the one to take, as the user may read and change them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nlft.choose.candidates import CANDIDATES
from nlft.choose.config import ChooseSettings
from nlft.choose.verdict import Choice
from nlft.files.yaml import override
from nlft.lm.config import ChatSettings, LoadSettings
from nlft.pipeline.experiment import Experiment
from nlft.records import Judged

BATCH = 4  # rows per step
UNTRAINED = "untrained"


def experiment_lines(
    settings: ChooseSettings,
    names: Sequence[str],
    rows: Sequence[Judged],
    judged: Path,
    output: Path,
    assignments: Sequence[str] = (),
) -> list[str]:
    """The experiment as YAML: the candidates at equal cost, each with every learning rate, and the untrained model.

    Raises:
        ConfigError: for a malformed assignment.
    """
    longest = max(len(text) for row in rows for text in (row.response, row.reference))
    load = settings.model_dump(mode="json", include=set(LoadSettings.__annotations__), exclude_defaults=True)
    spoken = ChatSettings.of(settings).model_dump(exclude_defaults=True, exclude={"prompts"})
    if "chat_template" in spoken:
        spoken["chat_template"] = _place(spoken["chat_template"])
    answers = {"max_new_tokens": settings.max_new_tokens or longest, "batch_size": settings.batch_size}
    methods: dict[str, Any] = {}
    for name in names:
        for rate in settings.learning_rates:
            many = len(settings.learning_rates) > 1
            candidate = CANDIDATES[name]
            method = {**candidate, "train": {**candidate["train"], "learning_rate": rate}}
            if "revise" in candidate:
                method["revise"] = {**load, **answers, **candidate["revise"]}
            methods[f"{name}-{rate:g}" if many else name] = method
    methods[UNTRAINED] = {"train": None, "seeds": [settings.seed]}  # last: it takes another time than the others
    grader = {} if settings.grader is None else {"grader": settings.grader}
    remaining = len(rows) * (settings.folds - 1) / settings.folds
    steps = max(1, round(settings.epochs * math.ceil(remaining / BATCH)))
    experiment = {
        "name": "choose",
        "title": "Candidates on held-out folds",
        "output": str((output / "run").resolve()),
        "model": _place(settings.model),
        "prompts": _place(settings.prompts),
        **spoken,
        "seed": settings.seed,
        "data": {"source": str(judged.resolve())},
        **({"grade": grader} if grader else {}),
        "judge": None,
        "folds": settings.folds,
        "sizes": [len(rows)],
        "seeds": list(range(settings.seed, settings.seed + settings.repeats)),
        "baseline": UNTRAINED,
        "train": {**load, "batch_size": BATCH, "max_steps": steps},
        "evaluate": {
            **load,
            "greedy": True,
            **answers,
            **grader,
        },
        "methods": methods,
    }
    experiment = override(experiment, assignments)
    return _yaml(experiment, "The candidates that `nlft choose` compares, an experiment of the split dev.")


def recipe_lines(experiment: Experiment, choice: Choice, output: Path) -> list[str]:
    """The recipe that trains the candidate to take on all rows, for as many passes over them."""
    folds = experiment.folds or 2
    method = experiment.methods[choice.taken.method]
    assert method.train is not None  # noqa: S101 -- for the type checker: a candidate is trained
    shared = {"model", "seed", *ChatSettings.model_fields}
    train = method.train.model_dump(mode="json", exclude_defaults=True, exclude=shared)
    revise = method.revise and method.revise.model_dump(mode="json", exclude_defaults=True, exclude={*shared, "grader"})
    recipe = {
        "name": choice.taken.method,
        "output": str((output / choice.taken.method).resolve()),
        **experiment.model_dump(mode="json", include={"model", "prompts", "seed"}),
        **ChatSettings.of(experiment).model_dump(exclude_defaults=True, exclude={"prompts"}),
        "data": experiment.data.model_dump(mode="json", exclude_defaults=True),
        **({"grade": grade} if (grade := experiment.grade.model_dump(mode="json", exclude_defaults=True)) else {}),
        "judge": None,
        "rows": method.rows,
        **({"revise": revise} if revise is not None else {}),
        "train": {**train, "max_steps": math.ceil(method.train.max_steps * folds / (folds - 1))},
    }
    said = ["Written by `nlft choose`; run it with `nlft run`.", *choice.text().splitlines()]
    return _yaml(recipe, *said, "For accuracy before and after, add problems: test: {source: test.jsonl}")


def _place(name: str) -> str:
    """A file or folder by its full path, so that the recipe works from any folder; any other name as it is."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def _yaml(content: dict[str, Any], *comments: str) -> list[str]:
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    return [*(f"# {comment}" for comment in comments), *text.splitlines()]
