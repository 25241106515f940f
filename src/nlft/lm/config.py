"""How to load a model and how it samples: the settings shared by every stage with a model."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from nlft.config import Config, Flags, Idle, NamesFile
from nlft.prompts import PromptSet, PromptSetName, load_prompts

__all__ = ["ChatSettings", "LoadSettings", "ModelSettings", "SamplingSettings", "TemplateSettings"]

PLAIN = "plain"


def _is_date(value: str) -> str:
    datetime.date.fromisoformat(value)
    return value


class TemplateSettings(Config):
    """The chat template, and what it leaves open."""

    chat_template: Annotated[str | None, NamesFile()] = Field(
        default=None,
        description="chat template instead of the model's own: a Jinja file, a model to take it from, or plain (the "
        "texts, with blank lines between them)",
    )
    thinking: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="whether a model thinks before it answers, if its template leaves that open; auto: off",
    )
    template_date: Annotated[str, AfterValidator(_is_date)] = Field(
        default="2024-07-26", description="what a template that writes today's date writes instead"
    )


class ChatSettings(TemplateSettings):
    """How a model is spoken to: an adapter gives what it learnt only if it is spoken to in the same way."""

    prompts: PromptSetName = Field(default="paper", description="prompt set: a built-in name or a YAML file")
    system: Literal["join", "replace", "refuse"] | None = Field(
        default=None,
        description="a row's own system message: join it with the instruction, replace the instruction by it, or refuse "
        "the row; by default as the prompt set says (join)",
    )

    @classmethod
    def of(cls, settings: ChatSettings) -> Self:
        """The part of a stage's settings that says how the model is spoken to."""
        return cls.model_validate(settings.model_dump(include=set(cls.model_fields)))

    def prompt_set(self) -> PromptSet:
        """The prompt set, with `system` applied.

        Raises:
            ConfigError: for an unknown prompt set.
        """
        return load_prompts(self.prompts, system=self.system)


class LoadSettings(TemplateSettings):
    """How to load the weights."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="type of the weights; auto is bfloat16 if the device computes it fast"
    )
    device: Annotated[str, Idle()] = Field(default="auto", description="device: auto, cpu, cuda or mps")
    trust_remote_code: bool = Field(default=False, description="run Python code that ships with the model")


class ModelSettings(LoadSettings):
    """A model, and the adapter on it."""

    model: Annotated[str, NamesFile(), Flags(("--model", "-m"))] = Field(
        description="model folder, hub id or GGUF file"
    )
    adapter: Annotated[str | None, NamesFile()] = Field(default=None, description="folder of a LoRA adapter")


class SamplingSettings(Config):
    """How the next token is chosen; the defaults are the paper's evaluation (§4.2)."""

    temperature: float = Field(default=0.6, ge=0, description="sampling temperature; 0 is greedy")
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="nucleus sampling: keep the likeliest tokens up to this total probability"
    )
    max_new_tokens: int = Field(default=512, ge=1, description="maximum length of a response, in tokens")
    seed: int = Field(default=0, ge=0, description="sampling seed")
    batch_size: Annotated[int, Idle()] = Field(default=32, ge=1, description="batch size; affects speed, not results")
