"""The settings of training: the one home of what the command line, a recipe and `NLFTConfig` may say."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from nlft.config import Flags, Idle, NamesFile, Renamed, refused
from nlft.errors import ConfigError
from nlft.grade.config import GraderName
from nlft.lm.config import LoadSettings
from nlft.prompts import PromptSetName
from nlft.score.config import Constants

__all__ = ["REFT", "TrainSettings", "choices", "default", "setting"]

REFT = "reft"
# What only ReFT reads: with any other objective these would have no effect.
REFT_ONLY = frozenset(
    {"warm_up_epochs", "warm_up_learning_rate", "ppo_epochs", "kl_coefficient", "max_new_tokens", "grader"}
)
# What only the trainer of the other objectives reads.
NOT_REFT = frozenset({"objective_option", "scale_schedule", "loss_average", "full", "max_length", "score_cache"})


def _names(value: Any) -> Any:
    """Module names, also as text with commas; "all-linear" stays a word."""
    return value.split(",") if isinstance(value, str) and value != "all-linear" else value


class TrainSettings(LoadSettings, Constants):
    """What is trained, on what, and how."""

    model: Annotated[str, NamesFile(), Flags(("--model", "-m"))] = Field(description="folder, hub id or GGUF file")
    objective: Literal["nlft", "sft", "cut", "dft", "sdft", "token-weights", "reft"] = Field(
        default="nlft", description="what a token is worth"
    )
    objective_option: dict[str, Any] = Field(
        default_factory=dict, description="an option of the objective, such as threshold=1.1 (cut) or top_k=20 (sdft)"
    )
    scale_schedule: Annotated[Literal["step", "epoch", "once"], Renamed("weights")] = Field(
        default="step",
        description="when scales are computed: at each step, at each epoch, or once with the untrained model",
    )
    target: Annotated[Literal["response", "reference"], Renamed("on")] = Field(
        default="response", description="train on the response, or on the standard answer"
    )
    correct_only: bool = Field(default=False, description="leave incorrect responses out")
    n: int | None = Field(default=None, ge=1, description="train on the first n rows only")
    prompts: PromptSetName = Field(default="paper", description="prompt set: a shipped name, or a YAML file")
    max_length: int | None = Field(
        default=None, ge=1, description="refuse rows with more tokens than this; the model's context if not given"
    )
    score_cache: Annotated[str | None, Idle()] = Field(
        default=None, description="folder for the scores of `once` and `epoch`; the user's cache folder if not given"
    )

    epochs: float = Field(default=10.0, gt=0, description="passes over the data; the paper's 10")
    max_steps: int = Field(default=-1, description="stop after so many steps; -1 for no limit")
    batch_size: int | None = Field(default=None, ge=1, description="rows per batch; 4 (reft: 16) if not given")
    gradient_accumulation: int = Field(default=1, ge=1, description="batches per optimiser step")
    learning_rate: Annotated[float | None, Flags(("--learning-rate", "--lr"))] = Field(
        default=None, ge=0, description="peak learning rate; 5e-5 (reft: 3e-7) if not given"
    )
    warmup: float = Field(default=0.1, ge=0, description="warm-up, as a share of the steps or a number of them")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay")
    loss_average: Literal["example", "token"] = Field(
        default="example", description="mean over each row's mean, or over all tokens of the batch"
    )
    seed: int = Field(default=42, ge=0, description="seed of the adapter, the order of rows and dropout")

    lora_r: int = Field(default=16, ge=1, description="rank of the adapter")
    lora_alpha: int = Field(default=16, ge=1, description="scaling of the adapter")
    lora_dropout: float = Field(default=0.05, ge=0, le=1, description="dropout of the adapter")
    target_modules: Annotated[str | list[str] | None, BeforeValidator(_names)] = Field(
        default=None, description="layers to adapt, with commas, or all-linear; the MLP's if not given"
    )
    full: bool = Field(default=False, description="train the model itself, without an adapter")
    quantization: Literal["4bit", "8bit"] | None = Field(
        default=None, description="load the model quantized: 4bit or 8bit (CUDA)"
    )
    gradient_checkpointing: Annotated[bool, Idle()] = Field(default=False, description="use less memory, more time")
    save_steps: int | None = Field(default=None, ge=1, description="steps between checkpoints; an epoch if not given")
    keep_checkpoints: int = Field(default=2, ge=1, description="how many checkpoints to keep, the latest ones")

    warm_up_epochs: float = Field(default=2.0, gt=0, description="reft: epochs of SFT before PPO")
    warm_up_learning_rate: float = Field(default=1e-5, ge=0, description="reft: learning rate of SFT before PPO")
    ppo_epochs: int = Field(default=2, ge=1, description="reft: passes over each rollout")
    kl_coefficient: float = Field(default=0.05, ge=0, description="reft: weight of the KL penalty in the reward")
    max_new_tokens: int = Field(default=700, ge=1, description="reft: longest sampled response, in tokens")
    grader: GraderName = Field(default="gsm8k-flexible", description="reft: grader that gives the reward")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.objective == REFT:
            idle = NOT_REFT & self.model_fields_set
            if self.full:
                raise refused(ConfigError("reft trains an adapter", remedy="leave --full out"))
        else:
            idle = REFT_ONLY & self.model_fields_set
        if idle:
            raise ValueError(f"{sorted(idle)[0]} has no effect with the objective {self.objective}; leave it out")
        if self.device.startswith("cuda:") and self.device != "cuda:0":
            remedy = f"CUDA_VISIBLE_DEVICES={self.device.removeprefix('cuda:')} nlft train ... --device cuda"
            raise refused(ConfigError(f'training runs on the first GPU it sees, not on "{self.device}"', remedy=remedy))
        if self.objective_option and self.objective != REFT:
            from nlft.objectives import get_objective

            try:
                get_objective(self.objective, self.saliency(), **self.objective_option)
            except ConfigError as error:
                raise refused(error) from None
        return self

    @property
    def lora(self) -> dict[str, Any]:
        """The arguments of `nlft.train.lora_config`."""
        return {
            "r": self.lora_r,
            "alpha": self.lora_alpha,
            "dropout": self.lora_dropout,
            "target_modules": self.target_modules,
        }


def default(name: str) -> Any:
    """The default of a training setting."""
    return TrainSettings.model_fields[name].get_default(call_default_factory=True)


def choices(name: str) -> tuple[str, ...]:
    """The words that a training setting may be."""
    return get_args(TrainSettings.model_fields[name].annotation)


def setting(name: str) -> Any:
    """A dataclass field with the default and the help of a training setting, for transformers' arguments."""
    info = TrainSettings.model_fields[name]
    factory: Any = info.default_factory if info.default_factory is not None else MISSING
    value = MISSING if info.default_factory is not None else info.default
    return field(default=value, default_factory=factory, metadata={"help": info.description or ""})
