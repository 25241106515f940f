"""The settings of `nlft answer`, and their parts that the judge and the evaluation share."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from nlft.config import Config, Flags, Idle, NamesFile, did_you_mean, refused
from nlft.errors import ConfigError
from nlft.lm.config import ChatSettings, LoadSettings, SamplingSettings

__all__ = ["AnswerSettings", "AnswererSettings", "AskSettings", "ServerSettings", "check_kind"]


class ServerSettings(Config):
    """An OpenAI-compatible server, and what a run may ask of it. Nothing here changes a reply."""

    base_url: Annotated[str | None, Idle()] = Field(
        default=None, description="address of an OpenAI-compatible server, /v1 included"
    )
    api_key_file: Annotated[str | None, Idle()] = Field(
        default=None, description="file with the server's key; OPENAI_API_KEY if not given"
    )
    timeout: Annotated[float, Idle()] = Field(default=300.0, gt=0, description="seconds for one request")
    concurrency: Annotated[int, Idle()] = Field(
        default=32, ge=1, description="most requests at a time; adapts to what the server handles"
    )
    attempts: Annotated[int, Idle()] = Field(default=8, ge=1, description="requests for a row before it fails for good")
    retry_seconds: Annotated[float, Idle()] = Field(
        default=900.0, gt=0, description="longest time to retry a row, in seconds"
    )
    max_requests: Annotated[int | None, Idle()] = Field(
        default=None, ge=0, description="most requests in this run, retries included"
    )
    max_cost: Annotated[float | None, Idle()] = Field(
        default=None, ge=0, description="most this run may cost; needs the prices"
    )
    price_in: Annotated[float, Idle()] = Field(default=0.0, ge=0, description="price per million tokens read")
    price_out: Annotated[float, Idle()] = Field(default=0.0, ge=0, description="price per million tokens written")

    @property
    def priced(self) -> bool:
        """Whether prices are given."""
        return self.price_in > 0 or self.price_out > 0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise refused(
                ConfigError("the address must begin with http:// or https://", remedy="as in http://localhost:8000/v1")
            )
        return value

    @model_validator(mode="after")
    def _a_cost_needs_prices(self) -> Self:
        if self.max_cost is not None and not self.priced:
            raise refused(
                ConfigError(
                    "a limit on cost needs prices", remedy="give --price-in and --price-out, per million tokens"
                )
            )
        return self


# Settings of a model in this process, and those of any model.
LOCAL = ("batch_size", "adapter", "template_date", *LoadSettings.__annotations__)
ANY_MODEL = ("model", "chat_template", "thinking")


class AskSettings(SamplingSettings, LoadSettings, ServerSettings):
    """A model to ask, in this process or at a server."""

    model: Annotated[str | None, NamesFile(), Flags(("--model", "-m"))] = Field(
        default=None, description="folder, hub id or GGUF file; or the model's name at the server"
    )
    adapter: Annotated[str | None, NamesFile()] = Field(
        default=None, description="folder of a LoRA adapter, for a local model"
    )

    @property
    def kind(self) -> str:
        """Who is asked: "local", "openai", or as the subclasses say."""
        return "openai" if self.base_url is not None else "local"

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        """Refuse what has no effect for the kind that is asked; sampling settings are for all kinds."""
        server, local = self.kind == "openai", self.kind in ("local", "self")
        if server and self.adapter is not None:
            raise refused(
                ConfigError(
                    "a server answers with its own weights; `adapter` has no effect",
                    remedy="load the adapter at the server, or leave base_url out",
                )
            )
        idle = () if server else tuple(ServerSettings.model_fields)
        idle += () if local else LOCAL
        idle += () if local or server else ANY_MODEL
        for name in idle:
            if name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default:
                raise refused(ConfigError(f'`{name}` has no effect with "{self.kind}"', remedy=f"leave `{name}` out"))
        return self


class AnswererSettings(AskSettings):
    """Who answers."""

    answerer: Annotated[str | None, NamesFile(prefixes=("replay:",))] = Field(
        default=None, description="local, openai or replay:FILE; openai if base_url is given, else local"
    )

    @property
    def kind(self) -> str:
        """ "local", "openai" or "replay:FILE"."""
        return self.answerer if self.answerer is not None else super().kind

    @field_validator("answerer")
    @classmethod
    def _exists(cls, value: str | None) -> str | None:
        return value if value is None else check_kind("answerer", value, ("local", "openai"))


class AnswerSettings(AnswererSettings, ChatSettings):
    """Who answers, with which prompt, and how often."""

    samples: int = Field(default=1, ge=1, description="answers per problem; more than one need a temperature")
    retry_failed: Annotated[bool, Idle()] = Field(default=False, description="ask again what failed for good")


def check_kind(what: str, value: str, kinds: tuple[str, ...]) -> str:
    """The value, where it is one of the kinds or names a recording.

    Raises:
        PydanticCustomError: with "did you mean".
    """
    if value not in kinds and not value.startswith("replay:"):
        raise refused(ConfigError(f'there is no {what} "{value}"', remedy=did_you_mean(value, [*kinds, "replay:FILE"])))
    return value
