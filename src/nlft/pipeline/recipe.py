"""A recipe: one section per stage, each the stage's own settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from nlft.answer.config import AnswerSettings, AskSettings
from nlft.config import Config, parse_config, refused
from nlft.data.config import DataSettings
from nlft.errors import ConfigError
from nlft.evaluate.config import EvaluateSettings
from nlft.files.yaml import line_of, override, read_yaml
from nlft.grade.config import GradeSettings
from nlft.judge.config import JudgeSettings
from nlft.pipeline.select import Mixture
from nlft.score.config import ScoreSettings
from nlft.train.config import TrainSettings

__all__ = ["Preparation", "Recipe", "Rounds", "load_recipe", "refuse_elsewhere", "with_shared"]

# What a section takes from the recipe's top where it does not say itself.
SHARED: dict[str, tuple[str, ...]] = {
    "answer": ("model", "prompts", "seed"),
    "judge": ("prompts",),
    "score": ("model", "prompts"),
    "train": ("model", "prompts", "seed"),
    "evaluate": ("model", "prompts", "seed"),
}


def with_shared(top: dict[str, Any], verb: str, section: Any) -> Any:
    """A section with the recipe's own model, prompts and seed where it has none and takes them."""
    if not isinstance(section, dict):
        return section
    keys: tuple[str, ...] = SHARED.get(verb, ())
    elsewhere = section.get("answerer") not in (None, "local") or section.get("base_url") is not None
    if (verb == "answer" and elsewhere) or (verb == "evaluate" and "replay:" in str(section.get("answerer"))):
        keys = keys[1:]  # a teacher does not have the student's name, a recording has none
    if verb == "judge" and section.get("judge") == "self":
        keys = (*keys, "model")
    return {**{key: top[key] for key in keys if top.get(key) is not None}, **section}


def refuse_elsewhere(settings: AskSettings, *section: str) -> None:
    """Refuse a server or a recording where the adapter that was just trained must answer.

    Raises:
        PydanticCustomError: for use in a validator.
    """
    if settings.kind != "local":
        told = f"must ask the trained adapter, which {settings.kind} does not have"
        raise refused(ConfigError(told, remedy="leave answerer and base_url out"), *section)


class Preparation(Config):
    """What a run and an experiment share: the student, and the steps that make its judged training rows."""

    name: str = Field(pattern=r"^[\w.-]+$", description="name of the run, and of its folder if `output` is not given")
    output: str | None = Field(default=None, description="the run's folder; runs/NAME if not given")
    model: str = Field(description="the student: folder, hub id or GGUF file")
    prompts: str = Field(default="paper", description="prompt set of every section that does not name its own")
    seed: int = Field(default=0, ge=0, description="seed of every section that does not name its own")
    data: DataSettings = Field(
        description="the training problems: `source` (gsm8k, gsm_symbolic or a file) and options"
    )
    answer: AnswerSettings | None = Field(
        default=None, description="who answers them; left out where the problems come with responses"
    )
    grade: GradeSettings = Field(default_factory=GradeSettings, description="who grades the answers")
    judge: JudgeSettings | None = Field(
        description="who judges incorrect answers; null where they have judgments or need none"
    )
    test: DataSettings | None = Field(default=None, description="the held-out problems, as in `data`")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Sections get the recipe's model, prompts and seed; those that no run can do without are there."""
        if not isinstance(data, dict):
            return data
        top = {"prompts": "paper", "seed": 0, **{key: data[key] for key in ("model", "prompts", "seed") if key in data}}
        kept = {key: value for key, value in data.items() if key != "grid"}
        return {**kept, **cls._sections(data, top)}

    @classmethod
    def _sections(cls, data: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        sections = {"judge": {}, **data}
        return {verb: with_shared(top, verb, sections[verb]) for verb in ("answer", "judge") if verb in sections}

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return Path(self.output) if self.output is not None else Path("runs") / self.name


class Rounds(Mixture):
    """Self-study (paper 4.1): the current adapter answers, its answers are graded and judged, and train the next."""

    k: int = Field(ge=1, description="how many rounds")
    dev: DataSettings = Field(description="problems the best round is chosen on, as in `data`; never the test set")
    answer: AnswerSettings = Field(description="how the student answers, such as samples")


class Recipe(Preparation):
    """All of the pipeline, from problems to the two accuracies; `nlft schema` and `nlft VERB --help` tell the keys."""

    rounds: Rounds | None = Field(default=None, description="self-study after the first training; left out, none")
    score: ScoreSettings | None = Field(
        default=None, description="score the rows and draw their saliency map; left out, nothing is scored"
    )
    train: TrainSettings | None = Field(description="training; null, nothing is trained")
    evaluate: EvaluateSettings = Field(description="evaluation, before and after training")

    @model_validator(mode="after")
    def _adapters_answer(self) -> Self:
        if self.test is not None and self.train is not None:
            refuse_elsewhere(self.evaluate, "evaluate")
        if self.rounds is not None:
            refuse_elsewhere(self.rounds.answer, "rounds", "answer")
        return self

    @classmethod
    def _sections(cls, data: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        sections = {"judge": {}, "train": {}, "evaluate": {}, **data}
        filled = {verb: with_shared(top, verb, sections[verb]) for verb in SHARED if verb in sections}
        if isinstance(rounds := data.get("rounds"), dict):
            own = {key: value for key, value in top.items() if key != "seed"}
            filled["rounds"] = {**rounds, "answer": with_shared(own, "answer", rounds.get("answer", {}))}
        return filled


def load_recipe(path: str | Path, assignments: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; `assignments` as of `nlft.config.override`.

    Raises:
        ConfigError: naming file, line and key, with the nearest key there is.
    """
    data = override(read_yaml(path), assignments)
    for key in ("methods", "grid"):
        if key in data:
            remedy = f"run it with `nlft experiment {path}`"
            raise ConfigError("this recipe compares methods", file=path, line=line_of(path, (key,)), remedy=remedy)
    recipe = parse_config(data, Recipe, file=path)
    if recipe.rounds is not None and recipe.train is None:
        raise ConfigError("`rounds` need a section `train`", file=path, line=line_of(path, ("rounds",)))
    if recipe.test is None and data.get("evaluate"):
        raise ConfigError(
            "the section `evaluate` has nothing to evaluate on",
            file=path,
            line=line_of(path, ("evaluate",)),
            remedy="add the section `test`, or leave `evaluate` out",
        )
    return recipe
