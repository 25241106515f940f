"""The settings of training, defined once for the command line, recipes and `NLFTConfig`."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from nlft.config import Flags, Idle, NamesFile, Renamed, refused
from nlft.errors import ConfigError
from nlft.grade.config import GraderName
from nlft.lm.config import ChatSettings, LoadSettings
from nlft.score.config import Constants

__all__ = ["REFT", "TrainSettings", "choices", "default", "setting"]

REFT = "reft"
# Only ReFT reads these: they have no effect with any other objective.
REFT_ONLY = frozenset(
    {
        "warm_up_epochs",
        "warm_up_learning_rate",
        "warm_up_batch_size",
        "warm_up_schedule",
        "ppo_epochs",
        "kl_coefficient",
        "max_new_tokens",
        "grader",
    }
)
# Only the other objectives' trainer reads these.
NOT_REFT = frozenset({"objective_option", "scale_schedule", "loss_average", "full", "score_cache", "partial_tokens"})
# Those that look for errors, in whose place the words that a person marked may stand.
FINDS_ERRORS = ("nlft", "cut", "first-error", "clipped-ratio")


def _names(value: Any) -> Any:
    """Module names, also as comma-separated text; "all-linear" stays a word."""
    return value.split(",") if isinstance(value, str) and value != "all-linear" else value


class TrainSettings(LoadSettings, ChatSettings, Constants):
    """What to train, on which rows, and how."""

    model: Annotated[str, NamesFile(), Flags(("--model", "-m"))] = Field(description="folder, hub id or GGUF file")
    objective: Literal[
        "nlft", "sft", "cut", "dft", "sdft", "token-weights", "first-error", "clipped-ratio", "pairs", "reft"
    ] = Field(default="nlft", description="the objective, which decides what each token is worth")
    objective_option: dict[str, Any] = Field(
        default_factory=dict,
        description="set an option of the objective, such as threshold=1.1 (cut) or top_k=20 (sdft)",
    )
    scale_schedule: Annotated[Literal["step", "epoch", "once"], Renamed("weights")] = Field(
        default="step",
        description="when to compute the scales: at every step, every epoch, or once with the untrained model",
    )
    target: Annotated[Literal["response", "reference"], Renamed("on")] = Field(
        default="response", description="train on the response or on the standard answer"
    )
    marks: Literal["use", "ignore"] = Field(
        default="use",
        description="words that a person marked: take them, and no others, as a response's errors, or ignore them",
    )
    partial_tokens: Literal["share", "refuse"] = Field(
        default="share",
        description="a weight of the column `weights` that ends inside a token: share it by length, or refuse the row",
    )
    correct_only: bool = Field(default=False, description="train only on correct responses")
    n: int | None = Field(default=None, ge=1, description="train only on the first n rows")
    max_length: int | None = Field(
        default=None,
        ge=1,
        description="reject rows longer than this many tokens; the model's context length by default (reft: cut a "
        "sampled response where question and response together are longer)",
    )
    score_cache: Annotated[str | None, Idle()] = Field(
        default=None, description="folder for the scales of `once` and `epoch`; your cache folder by default"
    )

    epochs: float = Field(default=10.0, gt=0, description="epochs; the paper uses 10")
    max_steps: int = Field(default=-1, description="stop after this many steps; -1 means no limit")
    batch_size: int | None = Field(default=None, ge=1, description="rows per batch; by default 4 (reft: 16)")
    gradient_accumulation: int = Field(default=1, ge=1, description="batches per optimiser step")
    learning_rate: Annotated[float | None, Flags(("--learning-rate", "--lr"))] = Field(
        default=None, ge=0, description="peak learning rate; by default 5e-5 (reft: 3e-7)"
    )
    warmup: float | None = Field(
        default=None,
        ge=0,
        description="warm-up of the learning rate, as a share of all steps or a number of steps; by default 0.1 (reft: 0); "
        "reft's SFT has 0.1 whatever this says",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's weight decay")
    loss_average: Literal["example", "token"] = Field(
        default="example", description="average the loss per row first, or over all tokens of the batch"
    )
    seed: int = Field(default=42, ge=0, description="seed for adapter weights, row order and dropout")

    lora_r: int = Field(default=16, ge=1, description="LoRA rank")
    lora_alpha: int = Field(default=16, ge=1, description="LoRA alpha")
    lora_dropout: float = Field(default=0.05, ge=0, le=1, description="LoRA dropout")
    target_modules: Annotated[str | list[str] | None, BeforeValidator(_names)] = Field(
        default=None, description="LoRA target modules, comma-separated, or all-linear; the MLP projections by default"
    )
    full: bool = Field(default=False, description="train all weights, without an adapter")
    gradient_checkpointing: Annotated[
        bool | None, Idle(), Flags(("--gradient-checkpointing/--no-gradient-checkpointing",))
    ] = Field(default=None, description="use less memory but more time; by default if one GPU's memory would not do")
    save_steps: int | None = Field(default=None, ge=1, description="steps between checkpoints; one epoch by default")
    keep_checkpoints: int = Field(default=2, ge=1, description="number of most recent checkpoints to keep")

    warm_up_epochs: float = Field(default=2.0, gt=0, description="reft: epochs of the SFT warm-up")
    warm_up_learning_rate: float = Field(default=1e-5, ge=0, description="reft: learning rate of the SFT warm-up")
    warm_up_batch_size: int | None = Field(
        default=None, ge=1, description="reft: rows per batch of the SFT warm-up; by default batch_size"
    )
    warm_up_schedule: Literal["linear", "cosine"] = Field(
        default="linear", description="reft: learning-rate schedule of the SFT warm-up"
    )
    ppo_epochs: int = Field(default=2, ge=1, description="reft: passes over each rollout")
    kl_coefficient: float = Field(default=0.05, ge=0, description="reft: coefficient of the KL penalty in the reward")
    max_new_tokens: int = Field(default=700, ge=1, description="reft: maximum length of a sampled response, in tokens")
    grader: GraderName = Field(default="gsm8k-flexible", description="reft: the grader that decides an answer's reward")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.objective == REFT:
            idle = NOT_REFT & self.model_fields_set
            if self.full:
                raise refused(ConfigError("reft trains an adapter only", remedy="drop --full"))
        else:
            idle = REFT_ONLY & self.model_fields_set
        if idle:
            raise ValueError(f"{sorted(idle)[0]} has no effect with the objective {self.objective}; remove it")
        if self.device.startswith("cuda:") and self.device != "cuda:0":
            remedy = f"CUDA_VISIBLE_DEVICES={self.device.removeprefix('cuda:')} nlft train ... --device cuda"
            raise refused(
                ConfigError(f'training always uses the first visible GPU, not "{self.device}"', remedy=remedy)
            )
        if self.objective not in FINDS_ERRORS and "marks" in self.model_fields_set:
            told = f"{self.objective} looks for no errors, so `marks` has no effect"
            raise refused(ConfigError(told, remedy="remove it, or choose " + ", ".join(FINDS_ERRORS)))
        if self.objective_option and self.objective != REFT:
            from nlft.objectives import get_objective

            try:
                get_objective(self.objective, self.saliency(), **self.objective_option)
            except ConfigError as error:
                raise refused(error) from None
        return self

    @classmethod
    def filled(cls, data: dict[str, Any]) -> list[str]:
        """A task sets the grader of ReFT alone."""
        return ["prompts", "grader"] if data.get("objective") == REFT else ["prompts"]

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
    """The choices of a training setting."""
    return get_args(TrainSettings.model_fields[name].annotation)


def setting(name: str) -> Any:
    """A dataclass field with a training setting's default and help, for transformers' arguments."""
    info = TrainSettings.model_fields[name]
    factory: Any = info.default_factory if info.default_factory is not None else MISSING
    value = MISSING if info.default_factory is not None else info.default
    return field(default=value, default_factory=factory, metadata={"help": info.description or ""})
