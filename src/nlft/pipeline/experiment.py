"""An experiment: methods x sizes x epochs x seeds, with shared preparation and problems."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from nlft.config import Config, did_you_mean, parse_config, refused
from nlft.data.config import DataSettings
from nlft.errors import ConfigError
from nlft.evaluate.config import EvaluateSettings
from nlft.files.yaml import line_of, override, read_yaml
from nlft.judge.config import JudgeSettings
from nlft.pipeline.recipe import Preparation, Revision, evaluated_as, graded_as, refuse_elsewhere, with_shared
from nlft.pipeline.select import ROWS_HELP, Rows
from nlft.pipeline.shares import MIX_HELP, SHARE_HELP, Mix
from nlft.train.config import TrainSettings

Split = Literal["dev", "test"]
UNTRAINED = 0


@dataclass(frozen=True)
class Part:
    """A mapping with some keys of a settings model, shared by all methods."""

    kind: type[Config]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The model's own keys."""
        return handler.resolve_ref_schema(handler(self.kind.__pydantic_core_schema__))


class Method(Config):
    """One method: only what differs from the others; its sections are completed with the shared settings."""

    train: TrainSettings | None = Field(
        description="training settings that add to the experiment's; null: the untrained model"
    )
    rows: Rows = Field(default="all", description=ROWS_HELP)
    revise: Revision | None = Field(
        default=None, description="revise wrong responses among these rows first, as the section `revise` of a run does"
    )
    judge: JudgeSettings | None = Field(
        default=None, description="who judges for this method, if not the experiment's judge"
    )
    incorrect_share: float | None = Field(
        default=None, ge=0, le=1, description=f"{SHARE_HELP}, or as the experiment says"
    )
    mix: Mix | None = Field(
        default=None,
        exclude_if=lambda mix: mix is None,  # so that a run from before there was this has its fingerprint
        description=MIX_HELP,
    )
    evaluate: EvaluateSettings = Field(description="evaluation settings that add to the experiment's")
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None,
        min_length=1,
        description="seeds, if not the experiment's; one is enough for a deterministic method",
    )

    @model_validator(mode="after")
    def _adapter_answers(self) -> Self:
        if self.train is not None:
            refuse_elsewhere(self.evaluate, "evaluate")
        elif self.revise is not None:
            raise refused(ConfigError("nothing is trained on the revised rows", remedy="add train"), "revise")
        return self


class Estimate(Config):
    """What the dry run needs to estimate time and memory on another machine."""

    machine: str = Field(description="the machine and model these numbers describe")
    parameters: float = Field(gt=0, description="number of parameters of the model")
    tokens_per_row: float = Field(gt=0, description="tokens in prompt and response")
    new_tokens: float = Field(gt=0, description="tokens generated per evaluated problem")
    problems: int = Field(gt=0, description="problems evaluated per cell")
    flops: float = Field(gt=0, description="floating-point operations per second reached in training")
    generated_per_second: float = Field(gt=0, description="tokens per second in batched generation")


class Experiment(Preparation):
    """A recipe with several methods; `nlft experiment` runs its missing cells."""

    title: str = Field(description="the figure's title")
    claim: str = Field(default="", description="the paper's claim")
    train: Annotated[dict[str, Any], Part(TrainSettings)] = Field(
        default_factory=dict, description="training settings that all methods share"
    )
    evaluate: Annotated[dict[str, Any], Part(EvaluateSettings)] = Field(
        default_factory=dict, description="evaluation settings that all methods share"
    )
    methods: dict[Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")], Method] = Field(
        min_length=1, description="methods by name, in the order of the tables"
    )
    sizes: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, description="training examples: the first k rows")
    epochs: list[Annotated[int, Field(ge=1)] | Literal["end"]] | None = Field(
        default=None,
        description="epochs of a training run after which to evaluate, the last of which is its length; with `end`, the "
        "section `train` sets the length, and its end is evaluated, too; null: only at its end",
    )
    incorrect_share: float | None = Field(default=None, ge=0, le=1, description=SHARE_HELP)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0], min_length=1, description="seeds for training and sampling"
    )
    dev: DataSettings | None = Field(
        default=None, description="problems for making choices, as in `data`; training problems are excluded"
    )
    folds: int | None = Field(
        default=None,
        ge=2,
        description="instead of `dev`: make choices by cross-validation within the training rows, in so many folds",
    )
    baseline: str | None = Field(default=None, description="the method to compare the others with")
    chart: Literal["epochs", "sizes", "bars", "memory", "time"] = Field(default="bars", description="the figure")
    grader: Literal["strict", "flexible"] = Field(
        default="flexible", description="the grader whose accuracy the figure shows"
    )
    estimate: Estimate | None = Field(default=None, description="numbers for the dry run's estimate")

    @model_validator(mode="after")
    def _one_dev(self) -> Self:
        if self.folds is not None and self.dev is not None:
            raise ValueError("`folds` and `dev` exclude each other; remove one")
        return self

    @model_validator(mode="after")
    def _one_choice_of_rows(self) -> Self:
        for name, method in self.methods.items():
            if method.mix is not None and (method.incorrect_share, self.incorrect_share) != (None, None):
                told = "`mix` and `incorrect_share` both choose one row a question"
                raise refused(ConfigError(told, remedy="remove one"), "methods", name, "mix")
        return self

    @classmethod
    def _sections(cls, data: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        """Unfold `grid`, and complete each method's sections with the shared settings."""
        filled = super()._sections(data, top)
        given = data.get("grid")
        grid: dict[str, Any] = given if isinstance(given, dict) else {}
        methods = grid.get("methods", data.get("methods"))
        if isinstance(methods, dict):
            grid = {**grid, "methods": {name: cls._method(data, top, each) for name, each in methods.items()}}
        return {**filled, **grid}

    @staticmethod
    def _method(data: dict[str, Any], top: dict[str, Any], method: Any) -> Any:
        if not isinstance(method, dict):
            return method
        own = {key: value for key, value in method.items() if key != "settings"}
        for verb in ("train", "evaluate"):
            section, shared = own.get(verb, {}), data.get(verb, {})
            if isinstance(section, dict) and isinstance(shared, dict):
                graded = evaluated_as(data) if verb == "evaluate" else {}
                own[verb] = with_shared(top, verb, {**graded, **shared, **section})
        if isinstance(own.get("judge"), dict):
            own["judge"] = with_shared(top, "judge", own["judge"])
        if isinstance(own.get("revise"), dict):
            own["revise"] = {**graded_as(data), **with_shared(top, "revise", own["revise"])}
        if isinstance(own.get("train"), dict) and method.get("settings"):
            own["train"]["settings"] = method["settings"]
        return own

    @property
    def between(self) -> list[int]:
        """The epochs after which a checkpoint is evaluated."""
        return sorted(epoch for epoch in self.epochs or [] if epoch != "end")

    @property
    def last_epoch(self) -> int | None:
        """How long each training run is, in epochs; None if the `train` section sets it."""
        return None if not self.epochs or "end" in self.epochs else self.between[-1]


@dataclass(frozen=True, order=True)
class Cell:
    """One result of the experiment."""

    method: str
    size: int  # 0: nothing was trained
    epoch: int | None  # None: the end of training
    seed: int
    fold: int | None = None  # the one left out of the training rows, on which it is evaluated

    @property
    def run(self) -> str:
        """The training run it belongs to."""
        fold = "" if self.fold is None else f"-f{self.fold}"
        return self.method + fold if self.size == UNTRAINED else f"{self.method}-{self.size}{fold}"

    @property
    def id(self) -> str:
        """Its name in files."""
        epoch = f"-e{self.epoch}" if self.epoch else ""
        return f"{self.run}{epoch}-s{self.seed}"


def cells(experiment: Experiment, split: Split = "test") -> list[Cell]:
    """Every cell: methods in their order, then seeds, folds, sizes and epochs; the untrained model has none of these."""
    found: list[Cell] = []
    for name, method in experiment.methods.items():
        for seed, fold in itertools.product(method.seeds or experiment.seeds, fold_list(experiment, split)):
            if method.train is None:
                found.append(Cell(name, UNTRAINED, None, seed, fold))
                continue
            for size in experiment.sizes:
                epochs: list[int | None] = [*experiment.between]
                epochs += [None] if experiment.last_epoch is None else []
                found += [Cell(name, size, epoch, seed, fold) for epoch in epochs]
    return found


def fold_list(experiment: Experiment, split: Split) -> list[int | None]:
    """The folds of a split; none in particular if it has problems of its own."""
    return list(range(experiment.folds)) if experiment.folds is not None and split == "dev" else [None]


def load_experiment(path: str | Path, assignments: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment; `assignments` as in `nlft.config.override`.

    Raises:
        ConfigError: naming file, line and key.
    """
    data = override(read_yaml(path), assignments)
    experiment = parse_config(data, Experiment, file=path)
    if experiment.baseline is not None and experiment.baseline not in experiment.methods:
        raise ConfigError(
            f'there is no method "{experiment.baseline}"',
            file=path,
            line=line_of(path, ("baseline",)),
            remedy=did_you_mean(experiment.baseline, experiment.methods),
        )
    return experiment
