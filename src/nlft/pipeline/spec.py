"""An experiment: methods x sizes x epochs x seeds, on one preparation and one set of problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from nlft.config import Config, did_you_mean, line_of, override, parse_config, read_yaml
from nlft.core.settings import SaliencySettings
from nlft.errors import ConfigError
from nlft.pipeline.recipe import Preparation, Section, beside

__all__ = ["Cell", "Experiment", "Method", "Split", "cells", "load_experiment"]

Split = Literal["dev", "test"]
Rows = Literal["all", "correct", "correct-or-reference"]
UNTRAINED = 0


class Method(Config):
    """One peer: what differs from the others, and nothing else."""

    train: Section | None = Field(
        default_factory=dict, description="options of `nlft train` beyond the experiment's; null: the untouched model"
    )
    settings: dict[str, bool | int | float | str | list[str] | None] = Field(
        default_factory=dict, description="saliency constants that differ from the preset's"
    )
    rows: Rows = Field(
        default="all",
        description="all; only the correct ones; or all, the standard answer in the place of incorrect ones",
    )
    evaluate: Section = Field(default_factory=dict, description="options of `nlft evaluate` beyond the experiment's")
    seeds: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, min_length=1, description="where not the experiment's: one is enough for what repeats itself"
    )


class Estimate(Config):
    """What the dry run's arithmetic needs to tell time and memory of a machine that is not here."""

    machine: str = Field(description="what the numbers are for, in words")
    parameters: float = Field(gt=0, description="of the model")
    tokens_per_row: float = Field(gt=0, description="prompt and response")
    new_tokens: float = Field(gt=0, description="generated per evaluated problem")
    problems: int = Field(gt=0, description="evaluated per cell")
    flops: float = Field(gt=0, description="floating-point operations a second that training reaches")
    generated_per_second: float = Field(gt=0, description="tokens a second in batched generation")


class Experiment(Preparation):
    """A recipe with several methods; `nlft experiment` runs its missing cells."""

    title: str = Field(description="the figure's title")
    claim: str = Field(default="", description="what the paper says here")
    train: Section = Field(default_factory=dict, description="options of `nlft train` that all methods share")
    methods: dict[Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")], Method] = Field(
        min_length=1, description="peers by name; the order is that of the tables"
    )
    sizes: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, description="training examples: the first k rows")
    epochs: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="after which epochs of one training run to evaluate; null: at its end only"
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1, description="of training and sampling")
    dev: Section | None = Field(
        default=None, description="problems to choose on, as in `data`; those that are trained on are left out"
    )
    baseline: str | None = Field(default=None, description="the method that the others are compared with")
    chart: Literal["epochs", "sizes", "bars", "memory", "time"] = Field(default="bars", description="the figure")
    grader: Literal["strict", "flexible"] = Field(default="flexible", description="whose accuracy the figure shows")
    estimate: Estimate | None = Field(default=None, description="for the dry run")

    @property
    def last_epoch(self) -> int | None:
        """How long each training run is, in epochs; None where the `train` section says."""
        return max(self.epochs) if self.epochs else None


@dataclass(frozen=True, order=True)
class Cell:
    """One number of the experiment."""

    method: str
    size: int  # 0: nothing was trained
    epoch: int | None  # None: the end of training
    seed: int

    @property
    def run(self) -> str:
        """The training run it belongs to."""
        return self.method if self.size == UNTRAINED else f"{self.method}-{self.size}"

    @property
    def id(self) -> str:
        """Its name in files."""
        epoch = f"-e{self.epoch}" if self.epoch else ""
        return f"{self.run}{epoch}-s{self.seed}"


def cells(experiment: Experiment) -> list[Cell]:
    """Every cell: methods in their order, then seeds, sizes and epochs; the untouched model stands once a seed."""
    found: list[Cell] = []
    for name, method in experiment.methods.items():
        for seed in method.seeds or experiment.seeds:
            if method.train is None:
                found.append(Cell(name, UNTRAINED, None, seed))
                continue
            for size in experiment.sizes:
                epochs: list[int | None] = [*sorted(experiment.epochs or [])] or [None]
                found += [Cell(name, size, epoch, seed) for epoch in epochs]
    return found


def load_experiment(path: str | Path, assignments: Sequence[str] = ()) -> Experiment:
    """Read an experiment and check what can be told without its commands (`cells.plan_cells` checks those).

    Raises:
        ConfigError: naming file, line and key.
    """
    experiment = beside(parse_config(override(read_yaml(path), assignments), Experiment, file=path), path)
    if experiment.baseline is not None and experiment.baseline not in experiment.methods:
        raise ConfigError(
            f'there is no method "{experiment.baseline}"',
            file=path,
            line=line_of(path, ("baseline",)),
            remedy=did_you_mean(experiment.baseline, experiment.methods),
        )
    for name, method in experiment.methods.items():
        preset = (method.train or {}).get("preset") or experiment.train.get("preset") or "paper"
        try:
            SaliencySettings.from_mapping({"preset": preset, **method.settings})
        except ConfigError as error:
            place = ("methods", name, "settings")
            raise ConfigError(
                f"methods.{name}: {error.message}", file=path, line=line_of(path, place), remedy=error.remedy
            ) from None
    return experiment
