"""How to load a model and how it samples: the settings shared by every stage with a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nlft.config import Config, Flags, Idle, NamesFile

__all__ = ["LoadSettings", "ModelSettings", "SamplingSettings"]


class LoadSettings(Config):
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
