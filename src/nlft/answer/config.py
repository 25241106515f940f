"""The settings of `nlft answer`, and their parts that the judge and the evaluation share."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from nlft.config import Config, Flags, Idle, NamesFile, Several, by_comma, did_you_mean, refused
from nlft.errors import ConfigError
from nlft.lm.config import ChatSettings, LoadSettings, SamplingSettings

Addresses = Annotated[list[str], Field(min_length=1), BeforeValidator(by_comma, json_schema_input_type=str | list[str])]


class ServerSettings(Config):
    """OpenAI-compatible servers, and what a run may ask of them. Nothing here changes a reply."""

    base_url: Annotated[Addresses | None, Idle()] = Field(
        default=None,
        description="address of an OpenAI-compatible server, /v1 included; give several, and they share the work",
    )
    api_key_file: Annotated[str | None, Idle()] = Field(
        default=None, description="file with the server's key; OPENAI_API_KEY if not given"
    )
    timeout: Annotated[float, Idle()] = Field(default=300.0, gt=0, description="seconds for one request")
    concurrency: Annotated[int, Idle()] = Field(
        default=32, ge=1, description="most requests at a time at each server; adapts to what it handles"
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
    def _are_http(cls, value: list[str] | None) -> list[str] | None:
        addresses = value or []
        if not all(address.startswith(("http://", "https://")) for address in addresses):
            raise refused(
                ConfigError("the address must begin with http:// or https://", remedy="as in http://localhost:8000/v1")
            )
        if len({address.rstrip("/") for address in addresses}) < len(addresses):
            raise refused(ConfigError("an address is given twice", remedy="give each server once"))
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


# Settings of a model in this process, of a model at a server, and of any model.
LOCAL = ("batch_size", *LoadSettings.__annotations__)
SERVED = (*ServerSettings.model_fields, "api", "tokenizer", "extra_body")
ANY_MODEL = ("model", "adapter", "chat_template", "thinking")
# The fields of a request that other settings decide.
DECIDED = {
    "model": "model",
    "messages": "prompts",
    "prompt": "prompts",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "max_tokens": "max_new_tokens",
    "max_completion_tokens": "max_new_tokens",
}


class AskSettings(SamplingSettings, LoadSettings, ServerSettings):
    """A model to ask, in this process or at a server."""

    model: Annotated[str | None, NamesFile(), Flags(("--model", "-m"))] = Field(
        default=None, description="folder, hub id or GGUF file; or the model's name at the server"
    )
    adapter: Annotated[str | None, NamesFile()] = Field(
        default=None, description="folder of a LoRA adapter; a server is told to load it"
    )
    api: Literal["chat", "completions", "text"] = Field(
        default="chat",
        description="what a server is sent: messages, for its own chat template (chat); token ids by the template here "
        "(completions); or their text, for a server that takes no ids (text)",
    )
    tokenizer: Annotated[str | None, NamesFile()] = Field(
        default=None,
        description="model or adapter whose tokenizer and chat template write what a server is sent with completions "
        "and text; by default the adapter, else the model",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="a further field of what a server is sent, such as top_k=20; repeatable"
    )

    @property
    def kind(self) -> str:
        """Who is asked: "local", "openai", or as the subclasses say."""
        return "openai" if self.base_url is not None else "local"

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        """Refuse what has no effect for the kind that is asked; sampling settings are for all kinds."""
        server, local = self.kind == "openai", self.kind in ("local", "self")
        idle = () if server else SERVED
        idle += () if local or (server and self.api != "chat") else ("template_date",)
        idle += () if local else LOCAL
        idle += () if local or server else ANY_MODEL
        for name in idle:
            if name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default:
                raise refused(ConfigError(f'`{name}` has no effect with "{self.kind}"', remedy=f"leave `{name}` out"))
        if self.tokenizer is not None and self.api == "chat":
            told = (
                "`tokenizer` has no effect: with chat messages, the server's own tokenizer writes what its model reads"
            )
            raise refused(ConfigError(told, remedy="set `api` to completions, or leave `tokenizer` out"))
        for name in self.extra_body:
            if name in DECIDED:
                told = f"`{DECIDED[name]}` decides the field {name}; it cannot be given in `extra_body`"
                raise refused(ConfigError(told, remedy=f"set `{DECIDED[name]}`"))
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

    model: Annotated[str | None, NamesFile(), Flags(("--model", "-m")), Several("also")] = Field(
        default=None,
        description="folder, hub id or GGUF file; or the model's name at the server; give several, and each answers every problem",
    )
    also: Annotated[list[str], NamesFile()] = Field(
        default_factory=list,
        exclude_if=lambda also: not also,  # so that a run from before there was this has its fingerprint
        description="further models that answer the same problems; `answerer` says whose a row is",
    )
    samples: int = Field(default=1, ge=1, description="answers per problem; more than one need a temperature")
    retry_failed: Annotated[bool, Idle()] = Field(default=False, description="ask again what failed for good")

    @model_validator(mode="after")
    def _each_is_a_model(self) -> Self:
        if self.also and self.model is None:
            raise refused(ConfigError("`also` adds to `model`, which is missing", remedy="set model"), "also")
        if self.also and self.adapter is not None:
            told = "an adapter belongs to one model, and several are to answer"
            raise refused(ConfigError(told, remedy="answer with each, and put the files together: nlft data merge"))
        return self

    def each(self) -> list[Self]:
        """The settings of each model that answers."""
        if not self.also:
            return [self]
        return [self.model_copy(update={"model": model, "also": []}) for model in (self.model, *self.also)]


def check_kind(what: str, value: str, kinds: tuple[str, ...]) -> str:
    """The value, where it is one of the kinds or names a recording.

    Raises:
        PydanticCustomError: with "did you mean".
    """
    if value not in kinds and not value.startswith("replay:"):
        raise refused(ConfigError(f'there is no {what} "{value}"', remedy=did_you_mean(value, [*kinds, "replay:FILE"])))
    return value
