"""From settings to an answerer: the one home of what the command line and a recipe may say."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from nlft.answer.types import Answerer
from nlft.config import Config, did_you_mean
from nlft.errors import ConfigError

__all__ = ["AnswererSettings", "make_answerer"]

KINDS = ("local", "openai", "replay:FILE")


class AnswererSettings(Config):
    """Who answers, and how."""

    answerer: str | None = Field(
        default=None, description='"local", "openai" or "replay:FILE"; by default openai with a base_url, else local'
    )
    model: str | None = Field(
        default=None, description="folder, hub id or GGUF file; or the model's name at the server"
    )
    adapter: str | None = Field(default=None, description="folder of a LoRA adapter (local)")
    temperature: float = Field(default=0.6, ge=0, description="of the sampling; 0 is greedy; the paper's 0.6")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus of the sampling")
    max_new_tokens: int = Field(default=512, ge=1, description="most tokens of a reply; the paper's 512")
    seed: int = Field(default=0, ge=0, description="of the sampling")
    batch_size: int = Field(default=32, ge=1, description="replies at a time (local); changes speed, not results")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16 (local)")
    device: str = Field(default="auto", description="auto, cpu, cuda or mps (local)")
    trust_remote_code: bool = Field(default=False, description="run code that comes with the model (local)")
    base_url: str | None = Field(default=None, description="the server's address, /v1 included (openai)")
    api_key_file: str | None = Field(default=None, description="file with the key, else OPENAI_API_KEY (openai)")
    timeout: float = Field(default=300.0, gt=0, description="seconds for one request (openai)")
    concurrency: int = Field(default=32, ge=1, description="most requests at a time; adapts below that (openai)")
    attempts: int = Field(default=8, ge=1, description="requests for a row before it has failed for good (openai)")
    retry_seconds: float = Field(default=900.0, gt=0, description="how long a row is tried in all (openai)")
    max_requests: int | None = Field(default=None, ge=0, description="most requests of a run (openai)")
    max_cost: float | None = Field(default=None, ge=0, description="most a run may cost; needs the prices (openai)")
    price_in: float = Field(default=0.0, ge=0, description="price per million tokens read (openai)")
    price_out: float = Field(default=0.0, ge=0, description="price per million tokens written (openai)")

    @property
    def kind(self) -> str:
        """The answerer's kind, by what is set."""
        if self.answerer is not None:
            return self.answerer
        return "openai" if self.base_url is not None else "local"


def make_answerer(settings: AnswererSettings) -> Answerer:
    """The answerer that the settings describe. A local model is not loaded before it is needed.

    Raises:
        ConfigError: for an unknown kind, a missing model, or a missing key.
        DataError: for a recording that cannot be read.
    """
    kind = settings.kind
    if kind.startswith("replay:"):
        from nlft.answer.replay import ReplayAnswerer

        return ReplayAnswerer(kind.removeprefix("replay:"))
    if kind not in {"local", "openai"}:
        raise ConfigError(f'there is no answerer "{kind}"', remedy=did_you_mean(kind, KINDS))
    if settings.model is None:
        raise ConfigError(f"the {kind} answerer needs a model", remedy="name one with --model")
    return _local(settings, settings.model) if kind == "local" else _endpoint(settings, settings.model)


def _local(settings: AnswererSettings, model: str) -> Answerer:
    from nlft.answer.local import LocalAnswerer
    from nlft.lm import SamplingSettings

    sampling = SamplingSettings(
        temperature=settings.temperature,
        max_new_tokens=settings.max_new_tokens,
        top_p=settings.top_p,
        seed=settings.seed,
        batch_size=settings.batch_size,
    )
    if settings.adapter is not None and not Path(settings.adapter).is_dir():
        raise ConfigError("there is no such adapter folder", file=settings.adapter, remedy="check --adapter")
    return LocalAnswerer(
        model,
        sampling,
        adapter=settings.adapter,
        dtype=settings.dtype,
        device=settings.device,
        trust_remote_code=settings.trust_remote_code,
    )


def _endpoint(settings: AnswererSettings, model: str) -> Answerer:
    from nlft.answer.backoff import RetryPolicy
    from nlft.answer.endpoint import Endpoint, EndpointSettings
    from nlft.answer.limits import Limits, Prices
    from nlft.answer.secrets import read_key

    base_url = settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ConfigError("the address must begin with http:// or https://", remedy="as in http://localhost:8000/v1")
    return Endpoint(
        EndpointSettings(
            model=model,
            base_url=base_url,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_new_tokens=settings.max_new_tokens,
            seed=settings.seed,
            timeout=settings.timeout,
            concurrency=settings.concurrency,
            retry=RetryPolicy(attempts=settings.attempts, seconds=settings.retry_seconds),
            limits=Limits(settings.max_requests, settings.max_cost, Prices(settings.price_in, settings.price_out)),
        ),
        read_key(settings.api_key_file, needed=base_url is None),
    )
