"""The settings of `nlft view`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nlft.config import Flags
from nlft.lm.config import ChatSettings, LoadSettings


class ViewSettings(LoadSettings, ChatSettings):
    """The model that scores new text while the page is served."""

    model: Annotated[str | None, Flags(("--model", "-m"))] = Field(
        default=None, description="model that scores new text (with --serve)"
    )
    adapter: str | None = Field(default=None, description="folder of a LoRA adapter")
