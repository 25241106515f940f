"""The settings of `nlft answer`, out-of-fold answers included."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from nlft.answer.config import AnswerSettings
from nlft.config import parse_config, refused
from nlft.errors import ConfigError
from nlft.lm.config import ChatSettings, LoadSettings
from nlft.train.config import TrainSettings


class OutOfFoldSettings(AnswerSettings):
    """Who answers, with which prompt, and how often; and how the models of out-of-fold answers are trained."""

    out_of_fold: int | None = Field(
        default=None,
        ge=2,
        description="number of folds: answer each fold of the problems with a model trained on the others",
    )
    train: dict[str, Any] = Field(
        default_factory=dict,
        description="a setting of `nlft train` for --out-of-fold, such as epochs=3; by default SFT on the standard "
        "answers (objective=sft, target=reference)",
    )

    @model_validator(mode="after")
    def _folds_are_trained_here(self) -> Self:
        if self.out_of_fold is None:
            if self.train:
                raise refused(ConfigError("`train` has no effect without `out_of_fold`", remedy="give out_of_fold"))
            return self
        if self.kind != "local":
            told = f'`out_of_fold` trains the model that answers, which "{self.kind}" does not allow'
            raise refused(ConfigError(told, remedy="give a local model"))
        if self.also:
            told = "`out_of_fold` trains the model that answers, and several are given"
            raise refused(ConfigError(told, remedy="give one model"))
        if self.adapter is not None:
            told = "`out_of_fold` trains an adapter for each fold; `adapter` has no effect"
            raise refused(ConfigError(told, remedy="leave `adapter` out"))
        try:
            self.fold_training()
        except ConfigError as error:
            raise refused(error, "train") from None
        return self

    def fold_training(self) -> TrainSettings:
        """How the model of a fold is trained: as `train` says, with model, prompts, seed and dtype of the answers.

        Raises:
            ConfigError: for a setting that training does not have, or that the answers decide.
        """
        for name in ("model", "prompts", "full"):
            if name in self.train:
                remedy = "training ends in an adapter" if name == "full" else f"set `{name}` of the answers"
                raise ConfigError(f"`{name}` cannot be set for a fold", remedy=remedy)
        given = {name: getattr(self, name) for name in (*ChatSettings.model_fields, "seed", *LoadSettings.model_fields)}
        own = {"objective": "sft", "target": "reference", **given, **self.train}
        return parse_config({**own, "model": self.model or ""}, TrainSettings)
