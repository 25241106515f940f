"""The settings of `nlft export` and `nlft push`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nlft.config import Config, Flags, NamesFile, refused
from nlft.errors import ConfigError
from nlft.lm.config import LoadSettings


class CardSettings(Config):
    """What a model card says besides what training left on record."""

    evaluation: Annotated[list[str], Flags(("--evaluation",))] = Field(
        default_factory=list, description="summary of `nlft evaluate`, whose scores go into the model card; repeatable"
    )
    license: str | None = Field(default=None, description="the licence's id on the hub, for the model card")


class ExportSettings(LoadSettings, CardSettings):
    """In which form an adapter leaves, and how that is checked."""

    merge: bool = Field(default=False, description="add the adapter to the base model's weights: one model, no adapter")
    adapter_only: bool = Field(default=False, description="copy the adapter with what a server needs beside it")
    model: Annotated[str | None, NamesFile(), Flags(("--model", "-m"))] = Field(
        default=None, description="the base model, if not the hub id in the adapter's record"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="type of the merged weights; auto is the base model's own"
    )
    dev: Annotated[str | None, NamesFile()] = Field(
        default=None, description="JSONL of dev problems, which both the adapter and the merged model answer"
    )
    check: int = Field(default=8, ge=0, description="how many of the dev problems to answer; 0 skips the check")
    max_new_tokens: int = Field(default=256, ge=1, description="maximum length of an answer in the check, in tokens")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.merge == self.adapter_only:
            told = "choose one of merge and adapter_only" if self.merge else "in which form is it to leave?"
            raise refused(ConfigError(told, remedy="give --merge for one model, or --adapter-only for a server's base"))
        idle = {"dtype", "dev", "check", "max_new_tokens", "quantization"} & self.model_fields_set
        if self.adapter_only and idle:
            told = f"`{sorted(idle)[0]}` has no effect with `adapter_only`: the weights stay as they are"
            raise refused(ConfigError(told, remedy="leave it out"))
        if self.merge and self.check and self.dev is None:
            remedy = "give problems with --dev FILE, or skip the check with --check 0"
            raise refused(ConfigError("the merged model is compared with the adapter on dev problems", remedy=remedy))
        return self


class PushSettings(CardSettings):
    """What goes to the hub, and whether it goes."""

    upload: bool = Field(default=False, description="upload; without it, only show the files and the card")
    public: bool = Field(default=False, description="make a new repository public; private by default")
    base_model: str | None = Field(
        default=None, description="hub id of the base model, if the record knows only the name of its folder"
    )
    data: str | None = Field(default=None, description="also upload this file of training rows")
