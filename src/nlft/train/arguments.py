"""The trainer's arguments."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from transformers import TrainingArguments

from nlft.core import SaliencySettings
from nlft.errors import ConfigError
from nlft.objectives import Objective, get_objective
from nlft.train.config import choices, setting

T = TypeVar("T", bound=type[Any])


def accept_renamed(**renamed: str) -> Callable[[T], T]:
    """A class decorator: the constructor also accepts old keywords, given as `old="new"`, with a warning."""

    def decorate(kind: T) -> T:
        init = kind.__init__

        @functools.wraps(init)
        def accepting(self: Any, *args: Any, **kwargs: Any) -> None:
            for old, new in renamed.items():
                if old in kwargs:
                    warnings.warn(f"{old}= is now called {new}=", FutureWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            init(self, *args, **kwargs)

        kind.__init__ = accepting
        return kind

    return decorate


@accept_renamed(weights="scale_schedule", on="target")
@dataclass
class NLFTConfig(TrainingArguments):  # type: ignore[misc]
    """transformers' `TrainingArguments`, with the paper's defaults and NLFT's own fields.

    Its own fields are those of `nlft.train.config.TrainSettings`, with their defaults and help.

    Args:
        objective: A choice of `nlft train --objective`, or one that you registered.
        objective_options: The objective's own fields, such as `{"threshold": 1.2}` for "cut".
        settings: The constants, as `SaliencySettings`, a mapping of its fields, or such a mapping as JSON.
        scale_schedule: "step" uses the current weights, like the authors; "once" uses the base model's.
        loss_average: "example" is algorithm 1's mean over rows of each row's mean.
    """

    objective: str = setting("objective")
    # transformers' HfArgumentParser can only read the types in this order; on a command line, text is JSON.
    objective_options: dict[str, Any] | str | None = setting("objective_option")  # noqa: RUF009 - it makes a field
    preset: str = setting("preset")
    settings: SaliencySettings | str | dict[str, Any] | None = field(
        default=None, metadata={"help": "constants that override the preset"}
    )
    scale_schedule: Literal["step", "epoch", "once"] = setting("scale_schedule")
    target: Literal["response", "reference"] = setting("target")
    marks: Literal["use", "ignore"] = setting("marks")
    partial_tokens: Literal["share", "refuse"] = setting("partial_tokens")
    prompts: str = setting("prompts")
    system: str | None = setting("system")
    loss_average: Literal["example", "token"] = setting("loss_average")
    anchor: float = setting("anchor")
    max_length: int | None = setting("max_length")
    score_cache: str | None = setting("score_cache")

    # The paper's §4.2 and appendix B.
    learning_rate: float = field(default=5e-5, metadata={"help": "paper 4.2"})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "paper 4.2"})
    warmup_steps: float = field(default=0.1, metadata={"help": "as a share of all steps, or a number of steps"})
    per_device_train_batch_size: int = field(default=4, metadata={"help": "paper 4.2"})
    num_train_epochs: float = setting("epochs")
    logging_steps: float = field(default=1, metadata={"help": "steps between log lines"})
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "leave losses that are not finite out of the log; waits for each step"}
    )
    # What HfArgumentParser can read, in this order.
    report_to: None | str | list[str] = setting("report_to")  # noqa: RUF009, RUF036
    # A batch holds token ids, not tensors, so there is nothing to drop or pin.
    remove_unused_columns: bool = field(default=False, metadata={"help": "always off here"})
    dataloader_pin_memory: bool = field(default=False, metadata={"help": "always off here"})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "search each pass for weights it left out; there are none here"}
    )

    def __post_init__(self) -> None:
        for name in ("scale_schedule", "target", "marks", "partial_tokens", "loss_average"):
            if getattr(self, name) not in choices(name):
                remedy = "one of " + ", ".join(choices(name))
                raise ConfigError(f'{name} cannot be "{getattr(self, name)}"', remedy=remedy)
        self.settings = _mapping("settings", self.settings)
        self.objective_options = _mapping("objective_options", self.objective_options)
        self.make_objective()  # rejects a wrong constant or objective before a model is loaded
        super().__post_init__()
        as_dealt(self)
        one_device(self)

    def make_objective(self) -> Objective:
        """The objective under these settings."""
        return get_objective(self.objective, self.saliency(), **_mapping("objective_options", self.objective_options))

    def saliency(self) -> SaliencySettings:
        """The constants in force: the preset, changed by `settings`."""
        if isinstance(self.settings, SaliencySettings):
            return self.settings
        return SaliencySettings.from_mapping({"preset": self.preset, **_mapping("settings", self.settings)})

    def to_dict(self) -> dict[str, Any]:
        """The form that transformers logs and stores, with the constants as a mapping."""
        row: dict[str, Any] = super().to_dict()
        row["settings"] = self.saliency().to_mapping()
        return row


def _mapping(name: str, value: Any) -> Any:
    """A field's value; JSON from a command line, or nothing, becomes a mapping."""
    if not isinstance(value, str):
        return value if value is not None else {}
    try:
        read = json.loads(value)
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ConfigError(f"{name} is not a JSON object: {value!r}", remedy='write it as {"name": value}')
    return read


def as_dealt(args: Any) -> None:
    """Refuse other ways to deal rows to processes than the one the loss's divisor knows.

    Raises:
        ConfigError: naming the setting.
    """
    for name, only in {"split_batches": False, "even_batches": True, "dispatch_batches": False}.items():
        if bool(getattr(args.accelerator_config, name)) is not only:
            raise ConfigError(f"accelerator_config: {name} is always {only} here", remedy="remove it")


def one_device(args: Any) -> None:
    """Keep transformers from spreading each batch over all visible GPUs, which would multiply the batch size."""
    args._n_gpu = min(args.n_gpu, 1)
