"""How to load a model and how it samples: the settings shared by every stage with a model."""

from __future__ import annotations

import datetime
import logging
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from nlft.adapter.record import PROMPTS, trained_file
from nlft.config import Config, Flags, Idle, NamesFile
from nlft.prompts import PromptSet, PromptSetName, load_prompts
from nlft.tasks import TaskSettings

logger = logging.getLogger("nlft")

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


class ChatSettings(TemplateSettings, TaskSettings):
    """How a model is spoken to: an adapter gives what it learnt only if it is spoken to in the same way."""

    prompts: PromptSetName = Field(
        default="paper",
        description="prompt set: a built-in name or a YAML file; with an adapter, the one it was trained with by default",
    )
    system: Literal["join", "replace", "refuse"] | None = Field(
        default=None,
        description="a row's own system message: join it with the instruction, replace the instruction by it, or refuse "
        "the row; by default as the prompt set says (join)",
    )

    @classmethod
    def filled(cls, data: dict[str, Any]) -> list[str]:
        """A task leaves an adapter the prompts it was trained with."""
        return [name for name in super().filled(data) if name != "prompts" or data.get("adapter") is None]

    @classmethod
    def of(cls, settings: ChatSettings) -> Self:
        """The part of a stage's settings that says how the model is spoken to."""
        return cls.model_validate(settings.model_dump(include=set(cls.model_fields)))

    def prompt_set(self) -> PromptSet:
        """The prompt set, with `system` applied: by default the one that the stage's adapter was trained with.

        Raises:
            ConfigError: for an unknown prompt set.
        """
        adapter = getattr(self, "adapter", None)
        trained = trained_file(adapter, PROMPTS) if adapter is not None else None
        if trained is None:
            return load_prompts(self.prompts, system=self.system)
        learnt = load_prompts(str(trained))
        given = self.prompts if "prompts" in self.model_fields_set else str(trained)
        chosen = load_prompts(given, system=self.system)
        if chosen.model_copy(update={"name": learnt.name}) != learnt:
            logger.warning(
                "%s was trained with other prompts (%s) than it gets here (%s); leave out --prompts and --system to use "
                "its own", adapter, learnt.name, chosen.name,
            )  # fmt: skip
        return chosen


class LoadSettings(TemplateSettings):
    """How to load the weights."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="type of the weights; auto is bfloat16 if the device computes it fast"
    )
    device: Annotated[str, Idle()] = Field(default="auto", description="device: auto, cpu, cuda or mps")
    trust_remote_code: bool = Field(default=False, description="run Python code that ships with the model")
    quantization: Literal["4bit", "8bit"] | None = Field(
        default=None, description="load the model quantized to 4bit or 8bit; needs the extra quant"
    )


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
