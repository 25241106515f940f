"""The constants of saliency, as several verbs take them: a preset, and a YAML file that overrides it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nlft.config import read_yaml
from nlft.errors import ConfigError

if TYPE_CHECKING:
    from nlft.core import SaliencySettings


def saliency_settings(preset: str, file: Path | None) -> SaliencySettings:
    """Read the constants; the file's own `preset` key wins over the option.

    Raises:
        ConfigError: naming file and key, before torch is loaded.
    """
    from nlft.core.settings import SaliencySettings

    mapping = {"preset": preset, **(read_yaml(file) if file is not None else {})}
    try:
        return SaliencySettings.from_mapping(mapping)
    except ConfigError as error:
        raise ConfigError(error.message, file=file, remedy=error.remedy) from None
