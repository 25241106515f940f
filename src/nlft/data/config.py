"""Where problems come from: a settings model for each source, told apart by `source`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from nlft.config import Config, Flags, NamesFile, refused
from nlft.errors import ConfigError
from nlft.lm.config import ChatSettings
from nlft.tasks import TaskName

Form = Literal["worked", "final"]

N_HELP = "take the first n rows of one seeded shuffle; without it, all rows in order"


class GSM8KSettings(Config):
    """GSM8K, from the Hugging Face hub or from the official files."""

    source: Literal["gsm8k"] = Field(default="gsm8k", description="gsm8k")
    split: Literal["train", "test"] = Field(default="train", description="split of the data set")
    n: int | None = Field(default=None, ge=1, description=N_HELP)
    seed: int = Field(default=42, description="shuffle seed; subsets of one seed are nested")
    path: Annotated[str | None, NamesFile()] = Field(
        default=None, description="folder of the official train.jsonl and test.jsonl, instead of the hub"
    )


def _kinds(value: Any) -> Any:
    """Numbers, also as text such as `3,17,42` (a command line's, or a recipe's)."""
    if not isinstance(value, str | int):
        return value
    try:
        return [int(kind) for kind in str(value).split(",")]
    except ValueError:
        raise ValueError(f'"{value}" is not a list of numbers such as 3,17,42') from None


class GSMSymbolicSettings(Config):
    """Word problems made on the spot, offline, with worked solutions."""

    source: Literal["gsm_symbolic"] = Field(default="gsm_symbolic", description="gsm_symbolic")
    n: int = Field(default=100, ge=1, description="how many problems to make")
    seed: int = Field(default=0, description="seed of names and numbers")
    kinds: Annotated[str | list[int] | None, BeforeValidator(_kinds)] = Field(
        default=None, description="only these kinds of problem, such as 3,17,42"
    )
    difficulty: float = Field(default=1.0, ge=1, description="scale of the numbers")


class ReasoningGymSettings(Config):
    """Problems of any reasoning-gym task, generated offline."""

    source: Literal["reasoning-gym"] = Field(default="reasoning-gym", description="reasoning-gym")
    task: str = Field(description="the task's name, such as base_conversion")
    n: int = Field(default=100, ge=1, description="how many problems to make")
    seed: int = Field(default=0, description="seed of the problems")
    config: dict[str, Any] = Field(default_factory=dict, description="a setting of the task, such as max_base=9")
    form: Form = Field(
        default="final", description="the standard answers: worked in a few lines (for some tasks), or the final answer"
    )


def _pairs(value: Any) -> Any:
    """A mapping, also as a list of `ours=theirs`."""
    if not isinstance(value, list):
        return value
    pairs = [str(each).partition("=") for each in value]
    for ours, sign, theirs in pairs:
        if not (ours and sign and theirs):
            error = ConfigError(f'--map "{ours}{sign}{theirs}" is not a pair', remedy="write --map question=problem")
            raise refused(error)
    return {ours: theirs for ours, _, theirs in pairs}


class ReadSettings(Config):
    """How to read a file of any format and schema."""

    format: str = Field(
        default="auto",
        description="auto; a file format (jsonl, json, csv, tsv, parquet), a log (lm-eval, inspect) or a schema (nlft, gsm8k, "
        "math, alpaca, prompt-completion, preference, messages, sharegpt, authors)",
    )
    map: Annotated[dict[str, str], BeforeValidator(_pairs)] = Field(
        default_factory=dict,
        description="our name for a column that has another: question=problem",
    )
    first_exchange: bool = Field(
        default=False,
        description="take the first two turns of a longer chat instead of its last exchange with all before it as context",
    )


class FileSettings(ReadSettings):
    """Any file of questions and answers, or a data set of the hub."""

    source: Annotated[str, NamesFile()] = Field(description="a file, or hub:NAME for a data set of the hub")
    also: Annotated[list[str], NamesFile()] = Field(
        default_factory=list, description="further files of the same kind, whose rows all follow"
    )
    n: int | None = Field(default=None, ge=1, description=N_HELP)
    seed: int = Field(default=42, description="shuffle seed; subsets of one seed are nested")
    part: Literal["all", "train", "test"] = Field(
        default="all",
        description="all rows, or the training or test part of a seeded division without a common question",
    )
    test_n: int | None = Field(
        default=None, ge=1, description="number of questions in the test part; a fifth by default"
    )
    split: str = Field(default="train", description="split of a hub data set")
    config: str | None = Field(default=None, description="configuration of a hub data set")

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.test_n is not None and self.part == "all":
            raise refused(ConfigError("`test_n` has no effect on all rows", remedy="set part to train or test"))
        return self

    @property
    def division(self) -> tuple[Any, ...]:
        """What decides which questions are in the test part."""
        return (
            self.source,
            self.also,
            self.map,
            self.format,
            self.split,
            self.config,
            self.first_exchange,
            self.test_n,
            self.seed,
        )


class CheckSettings(ChatSettings, ReadSettings):
    """How a file is read, and what its rows are asked with."""


class InitSettings(Config):
    """The file to look at, and what the user knows better than the guess."""

    source: str = Field(description="a file of questions and answers, as `nlft data` reads it")
    map: Annotated[dict[str, str], BeforeValidator(_pairs)] = Field(
        default_factory=dict, description="our name for a column that has another: question=problem"
    )
    task: TaskName | None = Field(
        default=None, description="kind of task, if not the one it looks like: math, label, json, code or text"
    )
    model: Annotated[str, Flags(("--model", "-m"))] = Field(
        default="HuggingFaceTB/SmolLM2-135M-Instruct", description="the student"
    )


SOURCES: dict[str, type[Config]] = {
    "gsm8k": GSM8KSettings,
    "gsm_symbolic": GSMSymbolicSettings,
    "reasoning-gym": ReasoningGymSettings,
    "file": FileSettings,
}


def _kind(value: Any) -> str:
    source = value.get("source") if isinstance(value, dict) else getattr(value, "source", None)
    return source if source in SOURCES else "file"


DataSettings = Annotated[
    Annotated[GSM8KSettings, Tag("gsm8k")]
    | Annotated[GSMSymbolicSettings, Tag("gsm_symbolic")]
    | Annotated[ReasoningGymSettings, Tag("reasoning-gym")]
    | Annotated[FileSettings, Tag("file")],
    Discriminator(_kind),
]
"""Any source; what is none of the names in `SOURCES` is a file or a hub data set."""
