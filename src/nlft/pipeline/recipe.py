"""A recipe: one section per stage, each the stage's own settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from nlft.answer.config import AnswerSettings, AskSettings
from nlft.config import parse_config, refused
from nlft.data.config import DataSettings, FileSettings
from nlft.errors import ConfigError
from nlft.evaluate.config import EvaluateSettings
from nlft.files.yaml import line_of, override, read_yaml
from nlft.grade.config import GradeSettings
from nlft.judge.config import JudgeSettings
from nlft.lm.config import ChatSettings, TemplateSettings
from nlft.out_of_fold.config import OutOfFoldSettings
from nlft.pipeline.select import ROWS_HELP, Mixture, Rows
from nlft.pipeline.shares import MIX_HELP, Mix
from nlft.prompts import PromptSetName
from nlft.revise.config import ReviseSettings
from nlft.score.config import ScoreSettings
from nlft.tasks import TASKS
from nlft.train.config import TrainSettings

# The top-level keys that a section inherits unless it sets its own.
TEMPLATE, CHAT = tuple(TemplateSettings.model_fields), tuple(ChatSettings.model_fields)
SHARED: dict[str, tuple[str, ...]] = {
    "answer": ("model", *CHAT, "seed"),
    "grade": ("task",),
    "judge": ("task", "prompts"),
    "revise": ("model", *CHAT, "seed"),
    "score": ("model", *CHAT),
    "train": ("model", *CHAT, "seed"),
    "evaluate": ("model", *CHAT, "seed"),
}


def with_shared(top: dict[str, Any], verb: str, section: Any) -> Any:
    """A section, completed with the recipe's model, seed and how it is spoken to, where it takes them and sets none."""
    if not isinstance(section, dict):
        return section
    keys: tuple[str, ...] = SHARED.get(verb, ())
    elsewhere = section.get("answerer") not in (None, "local") or section.get("base_url") is not None
    if (verb == "answer" and elsewhere) or (verb == "evaluate" and "replay:" in str(section.get("answerer"))):
        keys = tuple(
            key for key in keys if key not in ("model", *TEMPLATE)
        )  # a teacher is another model, a recording none
    elif elsewhere and section.get("api", "chat") == "chat":
        keys = tuple(key for key in keys if key != "template_date")  # a server writes its own
    if "task" in section:  # of its own, with its own prompts
        keys = tuple(key for key in keys if key != "prompts")
    if verb == "judge" and section.get("judge") == "self":
        keys = (*keys, "model", *TEMPLATE)
    return {**{key: top[key] for key in keys if top.get(key) is not None}, **section}


def graded_as(data: dict[str, Any]) -> dict[str, Any]:
    """The grader of the section `grade`, which also grades what is revised."""
    grade = data.get("grade")
    return {key: grade[key] for key in ("grader", "threshold") if key in grade} if isinstance(grade, dict) else {}


def evaluated_as(data: dict[str, Any]) -> dict[str, Any]:
    """The grader of the section `grade` for the evaluation too, in a recipe that names its task."""
    return graded_as(data) if data.get("task") not in (None, "math") else {}


def refuse_elsewhere(settings: AskSettings, *section: str) -> None:
    """Refuse a recording, and OpenAI's own API, where the adapter that was just trained must answer.

    Raises:
        PydanticCustomError: for use in a validator.
    """
    if settings.kind != "local" and settings.base_url is None:
        told = f"must ask the trained adapter, which {settings.kind} does not have"
        raise refused(ConfigError(told, remedy="leave answerer out, or give the base_url of a server"), *section)


class Preparation(ChatSettings):
    """The part that runs and experiments share: the student, and the steps that make judged training rows."""

    name: str = Field(pattern=r"^[\w.-]+$", description="the run's name; also its folder, unless `output` is set")
    output: str | None = Field(default=None, description="the run's folder; runs/NAME by default")
    model: str = Field(description="the student: folder, hub id or GGUF file")
    prompts: PromptSetName = Field(
        default="paper", description="prompt set for every section that does not set its own"
    )
    seed: int = Field(default=0, ge=0, description="seed for every section that does not set its own")
    data: DataSettings = Field(
        description="the training problems: `source` (gsm8k, gsm_symbolic, reasoning-gym or a file) and its options"
    )
    answer: OutOfFoldSettings | None = Field(
        default=None, description="who answers; omit it if the rows hold responses already"
    )
    grade: GradeSettings = Field(default_factory=GradeSettings, description="who grades the answers")
    judge: JudgeSettings | None = Field(
        description="who judges incorrect answers; null if they have judgments already or need none"
    )
    test: DataSettings | None = Field(default=None, description="the held-out problems, as in `data`")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        """Give sections the recipe's model, prompts and seed, and add the required sections."""
        if not isinstance(data, dict):
            return data
        prompts = TASKS[data["task"]].prompts if data.get("task") in TASKS else "paper"
        top = {"prompts": prompts, "seed": 0, **{key: data[key] for key in ("model", *CHAT, "seed") if key in data}}
        kept = {key: value for key, value in data.items() if key != "grid"}
        return {**kept, **cls._sections(data, top)}

    @classmethod
    def filled(cls, data: dict[str, Any]) -> list[str]:
        """The sections take the grader; an experiment's own `grader` is a column."""
        return ["prompts"]

    @classmethod
    def _sections(cls, data: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        sections = {"grade": {}, "judge": {}, **data}
        verbs = ("answer", "grade", "judge")
        return {verb: with_shared(top, verb, sections[verb]) for verb in verbs if verb in sections}

    @model_validator(mode="after")
    def _divided_alike(self) -> Self:
        parts = [each for each in (self.data, self.test) if isinstance(each, FileSettings) and each.part != "all"]
        if len(parts) == 2 and parts[0].source == parts[1].source and parts[0].division != parts[1].division:
            told = "`data` and `test` divide the same file differently, so they would share questions"
            raise refused(ConfigError(told, remedy="give both the same test_n, seed and map"))
        return self

    @property
    def folder(self) -> Path:
        """The folder for the run's files."""
        return Path(self.output) if self.output is not None else Path("runs") / self.name


class Revision(ReviseSettings):
    """Settings of `nlft revise`, and who revises."""

    first: Literal["correct", "all", "untouched"] = Field(
        default="correct",
        description="who revises: the model trained first, as `train` says, on the correct rows or on all of them; or "
        "the untouched model",
    )

    @model_validator(mode="after")
    def _one_adapter(self) -> Self:
        if self.adapter is not None and self.first != "untouched":
            told = "the student that revises is trained first, and an adapter is given as well"
            raise refused(ConfigError(told, remedy="remove adapter, or set first: untouched"))
        return self

    def stage(self, student: Path | None, seed: int | None = None) -> ReviseSettings:
        """The stage's own settings, with the student's adapter."""
        given = {name: getattr(self, name) for name in self.model_fields_set if name in ReviseSettings.model_fields}
        changes = {"adapter": str(student)} if student is not None else {}
        return ReviseSettings(**{**given, **changes, **({"seed": seed} if seed is not None else {})})


class Rounds(Mixture):
    """Self-study (paper 4.1): the current adapter answers; its graded and judged answers train the next one."""

    k: int = Field(ge=1, description="number of rounds")
    dev: DataSettings = Field(description="problems for choosing the best round, as in `data`; never the test set")
    answer: AnswerSettings = Field(description="how the student answers, such as samples")
    revise: ReviseSettings | None = Field(
        default=None, description="how the student revises its judged answers, as in `revise`; omit it to skip that"
    )


class Recipe(Preparation):
    """The whole pipeline, from problems to two accuracies; `nlft schema` and `nlft VERB --help` list the keys."""

    revise: Revision | None = Field(
        default=None, description="settings of `nlft revise`, whose rows are trained on; omit it to skip that"
    )
    rounds: Rounds | None = Field(
        default=None, description="self-study rounds after the first training; none by default"
    )
    score: ScoreSettings | None = Field(
        default=None, description="settings of `nlft score`, which also makes a saliency map; omit it to skip scoring"
    )
    rows: Rows = Field(default="all", description=ROWS_HELP)
    mix: Mix | None = Field(default=None, description=MIX_HELP)
    train: TrainSettings | None = Field(description="settings of `nlft train`; null skips training")
    evaluate: EvaluateSettings = Field(description="evaluation, before and after training")

    @model_validator(mode="after")
    def _adapters_answer(self) -> Self:
        if self.test is not None and self.train is not None:
            refuse_elsewhere(self.evaluate, "evaluate")
        if self.rounds is not None:
            refuse_elsewhere(self.rounds.answer, "rounds", "answer")
            if self.rounds.answer.also:
                raise refused(ConfigError("only the student answers", remedy="leave `also` out"), "rounds", "answer")
        return self

    @classmethod
    def _sections(cls, data: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        sections = {"grade": {}, "judge": {}, "train": {}, "evaluate": {}, **data}
        filled = {verb: with_shared(top, verb, sections[verb]) for verb in SHARED if verb in sections}
        graded = graded_as(data)
        if isinstance(filled.get("evaluate"), dict):
            filled["evaluate"] = {**evaluated_as(data), **filled["evaluate"]}
        if isinstance(filled.get("revise"), dict):
            filled["revise"] = {**graded, **filled["revise"]}
        if isinstance(rounds := data.get("rounds"), dict):
            own = {key: value for key, value in top.items() if key != "seed"}
            filled["rounds"] = {**rounds, "answer": with_shared(own, "evaluate", rounds.get("answer", {}))}
            if isinstance(rounds.get("revise"), dict):
                filled["rounds"]["revise"] = {**graded, **with_shared(own, "revise", rounds["revise"])}
        return filled


def load_recipe(path: str | Path, assignments: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; `assignments` as in `nlft.config.override`.

    Raises:
        ConfigError: naming file, line and key, with the nearest known key.
    """
    data = override(read_yaml(path), assignments)
    for key in ("methods", "grid"):
        if key in data:
            remedy = f"run it with `nlft experiment {path}`"
            raise ConfigError("this recipe compares methods", file=path, line=line_of(path, (key,)), remedy=remedy)
    recipe = parse_config(data, Recipe, file=path)
    for key in ("rounds", "rows", "mix"):
        if recipe.train is None and data.get(key) is not None:
            raise ConfigError(f"`{key}` needs a section `train`", file=path, line=line_of(path, (key,)))
    if recipe.train is None and recipe.revise is not None and recipe.revise.first != "untouched":
        raise ConfigError(
            "`revise` needs a section `train`: the student that revises is trained first",
            file=path,
            line=line_of(path, ("revise",)),
            remedy="add it, or set `first: untouched` in `revise`",
        )
    if recipe.test is None and data.get("evaluate"):
        raise ConfigError(
            "`evaluate` has no problems to evaluate on",
            file=path,
            line=line_of(path, ("evaluate",)),
            remedy="add a section `test`, or remove `evaluate`",
        )
    return recipe
