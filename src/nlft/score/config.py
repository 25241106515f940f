"""The settings of scoring, and the method's constants for every stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nlft.config import Config, NamesFile, refused
from nlft.core import SaliencySettings
from nlft.errors import ConfigError
from nlft.files.yaml import read_yaml
from nlft.lm.config import ChatSettings, ModelSettings


class Constants(Config):
    """The constants of the method: a preset, and changes to it."""

    preset: Literal["paper", "authors"] = Field(
        default="paper", description="preset of the constants: paper or authors"
    )
    settings: Annotated[str | dict[str, Any] | None, NamesFile()] = Field(
        default=None, description="YAML file of constants that override the preset"
    )

    @model_validator(mode="after")
    def _exist(self) -> Self:
        try:
            self.saliency()
        except ConfigError as error:
            raise refused(error) from None
        return self

    def saliency(self) -> SaliencySettings:
        """The constants in force; a `preset` in the settings wins.

        Raises:
            ConfigError: for an unknown or invalid constant.
        """
        file = self.settings if isinstance(self.settings, str) else None
        changes = read_yaml(self.settings) if isinstance(self.settings, str) else dict(self.settings or {})
        try:
            return SaliencySettings.from_mapping({"preset": self.preset, **changes})
        except ConfigError as error:
            raise ConfigError(error.message, file=file, remedy=error.remedy) from None


class ScoreSettings(ModelSettings, ChatSettings, Constants):
    """The model whose probabilities count, and the constants for the stored roles and scales."""

    n: int | None = Field(default=None, ge=1, description="score only the first n rows")
