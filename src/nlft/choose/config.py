"""The settings of `nlft choose`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from nlft.choose.candidates import CANDIDATES
from nlft.config import Flags, Idle, NamesFile, did_you_mean, refused
from nlft.errors import ConfigError
from nlft.grade.config import OptionalGraderName
from nlft.lm.config import ChatSettings, LoadSettings


class ChooseSettings(LoadSettings, ChatSettings):
    """Which candidates to compare, on which folds, and at which cost."""

    model: Annotated[str, NamesFile(), Flags(("--model", "-m"))] = Field(description="folder, hub id or GGUF file")
    methods: Annotated[list[str] | None, Flags(("--method",))] = Field(
        default=None, description="compare only this candidate; repeatable. All that the rows allow by default"
    )
    folds: int = Field(default=5, ge=2, description="number of folds")
    repeats: int = Field(default=1, ge=1, description="training runs per candidate and fold, each with its own seed")
    epochs: float = Field(
        default=4.0, gt=0, description="passes over the rows of a fold; every candidate takes as many steps"
    )
    learning_rates: Annotated[list[float], Flags(("--learning-rate", "--lr"))] = Field(
        default=[5e-4], min_length=1, description="peak learning rate; repeatable, and then part of a candidate"
    )
    grader: OptionalGraderName = Field(
        default=None, description="the grader, if not GSM8K's strict and flexible; see `nlft evaluate`"
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        description="maximum length of an answer, in tokens; by default the characters of the longest one in the rows",
    )
    batch_size: Annotated[int, Idle()] = Field(default=32, ge=1, description="answers generated at a time")
    seed: int = Field(default=0, ge=0, description="seed of the folds, and of the first training runs")

    @field_validator("methods")
    @classmethod
    def _are_candidates(cls, value: list[str] | None) -> list[str] | None:
        for name in value or []:
            if name not in CANDIDATES:
                error = ConfigError(f'there is no candidate "{name}"', remedy=did_you_mean(name, CANDIDATES))
                raise refused(error)
        return value
