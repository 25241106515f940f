"""How a model is loaded and how it samples: the settings that every stage with a model shares."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlft.config import Config, Flags, Idle, NamesFile

__all__ = ["LoadSettings", "ModelSettings", "SamplingSettings"]


class LoadSettings(Config):
    """How the weights are loaded."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="type of the weights; auto is bfloat16 where the device is fast at it"
    )
    device: Annotated[str, Idle()] = Field(default="auto", description="device: auto, cpu, cuda or mps")
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model")


class ModelSettings(LoadSettings):
    """A model, and the adapter on it."""

    model: Annotated[str, NamesFile(), Flags(("--model", "-m"))] = Field(description="folder, hub id or GGUF file")
    adapter: Annotated[str | None, NamesFile()] = Field(default=None, description="folder of a LoRA adapter")


class SamplingSettings(Config):
    """How the next token is chosen; the defaults are the paper's evaluation (§4.2)."""

    temperature: float = Field(default=0.6, ge=0, description="sampling temperature; 0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1, description="sample among the likeliest tokens of this total mass")
    max_new_tokens: int = Field(default=512, ge=1, description="longest response, in tokens")
    seed: int = Field(default=0, ge=0, description="sampling seed")
    batch_size: Annotated[int, Idle()] = Field(
        default=32, ge=1, description="sequences decoded side by side; changes speed, not results"
    )
