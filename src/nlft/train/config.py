"""The settings of training, defined once for the command line, recipes and `NLFTConfig`."""

from __future__ import annotations

from dataclasses import MISSING, field
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from nlft.config import Flags, Idle, NamesFile, Renamed, refused
from nlft.errors import ConfigError
from nlft.grade.config import GraderName
from nlft.lm.config import ChatSettings, LoadSettings
from nlft.score.config import Constants

REFT = "reft"
# Only ReFT reads these: they have no effect with any other objective.
REFT_ONLY = frozenset([
    "warm_up_epochs", "warm_up_learning_rate", "warm_up_batch_size", "warm_up_schedule", "ppo_epochs",
    "kl_coefficient", "max_new_tokens", "grader",
])  # fmt: skip
# Only the other objectives' trainer reads these.
NOT_REFT = frozenset([
    "objective_option", "scale_schedule", "loss_average", "full", "score_cache", "partial_tokens", "dev", "dev_folds",
    "anchor", "average",
])  # fmt: skip
FOR_DEV = frozenset({"max_new_tokens", "grader"})  # also where problems are solved while training
ObjectiveName = Literal[
    "nlft", "sft", "cut", "dft", "sdft", "token-weights", "first-error", "clipped-ratio", "pairs", "reft"
]
# Those that look for errors, in whose place the words that a person marked may stand; the others have no use for them.
FINDS_ERRORS = ("nlft", "cut", "first-error", "clipped-ratio")
FINDS_NO_ERRORS = frozenset(get_args(ObjectiveName)) - frozenset(FINDS_ERRORS)


def _checked_lora(fields: dict[str, Any]) -> dict[str, Any]:
    """The adapter's fields with PEFT's types; PEFT is loaded only if there are any."""
    if not fields:
        return fields
    from nlft.train.lora import check_lora

    try:
        return check_lora(fields)
    except ConfigError as error:
        raise refused(error) from None


class TrainSettings(LoadSettings, ChatSettings, Constants):
    """What to train, on which rows, and how."""

    model: Annotated[str, NamesFile(), Flags(("--model", "-m"))] = Field(description="folder, hub id or GGUF file")
    objective: ObjectiveName = Field(
        default="nlft", description="the objective, which decides what each token is worth"
    )
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
        description="words that a person marked: take them, and no others, as a response's errors (nlft, cut, first-error, "
        "clipped-ratio), or ignore them",
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
    anchor: float = Field(
        default=0.0,
        ge=0,
        description="coefficient of the KL divergence per token from the untouched model, which is added to the loss",
    )
    average: Literal["last-third"] | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="average the trained weights over the last-third of the steps, or exponentially with this decay, "
        "such as 0.99",
    )
    report_to: Annotated[Literal["none", "trackio", "wandb", "tensorboard", "mlflow"], Idle()] = Field(
        default="none", description="also report the metrics to this tracker, besides metrics.jsonl"
    )
    seed: int = Field(default=42, ge=0, description="seed for adapter weights, row order and dropout")

    lora: Annotated[
        dict[str, Any],
        AfterValidator(_checked_lora),
        Renamed("lora_r", "r"),
        Renamed("lora_alpha", "lora_alpha"),
        Renamed("lora_dropout", "lora_dropout"),
        Renamed("target_modules", "target_modules"),
    ] = Field(
        default_factory=dict,
        description="set a field of the adapter, PEFT's LoraConfig, such as r=8, use_rslora=true, use_dora=true, "
        "init_lora_weights=pissa or target_modules=all-linear; by default, r=16, lora_alpha=16 and lora_dropout=0.05 "
        "on the MLP projections",
    )
    full: bool = Field(
        default=False,
        description="train all weights, without an adapter: kept in float32, and computed in bfloat16 where that is fast",
    )
    gradient_checkpointing: Annotated[
        bool | None, Idle(), Flags(("--gradient-checkpointing/--no-gradient-checkpointing",))
    ] = Field(
        default=None,
        description="use less memory but more time; by default if one GPU would not do without (reft: off)",
    )
    dev: Annotated[str | None, NamesFile()] = Field(
        default=None, description="JSONL of problems to solve while training; the checkpoint that solves most is kept"
    )
    dev_every: Literal["epoch"] | Annotated[int, Field(ge=1)] = Field(
        default="epoch", description="with dev: solve them after each epoch, or after so many steps"
    )
    patience: int | None = Field(
        default=None, ge=1, description="with dev: stop after so many evaluations without a better one"
    )
    dev_folds: int | None = Field(
        default=None,
        ge=2,
        description="for few rows: choose the number of epochs by cross-validation on so many folds of them, then train "
        "on all",
    )
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
    max_new_tokens: int = Field(default=700, ge=1, description="reft, dev: maximum length of an answer, in tokens")
    grader: GraderName = Field(default="gsm8k-flexible", description="reft, dev: the grader that decides on an answer")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.objective == REFT:
            idle = NOT_REFT & self.model_fields_set
            if self.full:
                raise refused(ConfigError("reft trains an adapter only", remedy="drop --full"))
        else:
            idle = self.for_reft() & self.model_fields_set
        if idle:
            raise ValueError(f"{sorted(idle)[0]} has no effect with the objective {self.objective}; remove it")
        if self.device.startswith("cuda:") and self.device != "cuda:0":
            remedy = f"CUDA_VISIBLE_DEVICES={self.device.removeprefix('cuda:')} nlft train ... --device cuda"
            raise refused(
                ConfigError(f'training always uses the first visible GPU, not "{self.device}"', remedy=remedy)
            )
        if self.objective in FINDS_NO_ERRORS and self.marks == "use" and "marks" in self.model_fields_set:
            told = f"{self.objective} looks for no errors, so `marks` has no effect"
            raise refused(ConfigError(told, remedy="set it to ignore, or choose " + ", ".join(FINDS_ERRORS)))
        self._dev_fits()
        if self.report_to != "none" and find_spec(self.report_to) is None:
            raise refused(ConfigError(f"{self.report_to} is not installed", remedy=f"pip install {self.report_to}"))
        if self.full and self.lora:
            raise ValueError("lora has no effect with full; remove it")
        if self.full and self.quantization:
            raise ValueError("quantized weights cannot be trained in full; remove full or quantization")
        if self.full and self.dtype in ("bfloat16", "float16"):
            from nlft.train.precision import refuse_half

            remedy = "drop --dtype: the weights are kept in float32, and computed in bfloat16 where that is fast"
            raise refused(refuse_half(self.dtype, self.learning_rate or 5e-5, remedy))
        if self.objective_option and self.objective != REFT:
            from nlft.objectives import get_objective

            try:
                get_objective(self.objective, self.saliency(), **self.objective_option)
            except ConfigError as error:
                raise refused(error) from None
        return self

    @classmethod
    def filled(cls, data: dict[str, Any]) -> list[str]:
        """A task sets the grader only where there is something to grade."""
        solves = data.get("objective") == REFT or data.get("dev") is not None or data.get("dev_folds") is not None
        return ["prompts", "grader"] if solves else ["prompts"]

    def for_reft(self) -> frozenset[str]:
        """The settings that only ReFT would read."""
        solves = self.dev is not None or self.dev_folds is not None
        return REFT_ONLY - FOR_DEV if solves else REFT_ONLY

    def _dev_fits(self) -> None:
        """Refuse what has no effect on, or together with, solving problems while training."""
        given = self.model_fields_set
        if self.dev is None and (idle := {"dev_every", "patience"} & given):
            raise ValueError(f"{sorted(idle)[0]} has no effect without dev; remove it")
        if self.dev is not None and "save_steps" in given:
            raise ValueError(
                "save_steps has no effect with dev, which saves a checkpoint whenever it evaluates; remove it"
            )
        if self.average is not None and (self.dev is not None or self.dev_folds is not None):
            raise ValueError("average keeps no single checkpoint, and excludes dev and dev_folds; remove one")
        if self.dev_folds is not None and (self.dev is not None or self.max_steps > 0):
            other = "dev" if self.dev is not None else "max_steps"
            raise ValueError(f"dev_folds chooses the number of epochs, and excludes {other}; remove one")


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
