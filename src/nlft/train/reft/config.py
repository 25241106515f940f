"""ReFT's settings: TRL's `GRPOConfig` with the paper's values, and the additional settings of PPO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nlft import processes
from nlft.errors import ConfigError
from nlft.grade import get_grader
from nlft.prompts import load_prompts
from nlft.train.arguments import accept_renamed, as_dealt, one_device
from nlft.train.config import setting
from nlft.train.reft.trl_names import GRPOConfig

# TRL fields that would change the method, with their only value here.
FIXED: dict[str, tuple[Any, str]] = {
    "beta": (0.0, "the KL penalty is part of the reward here: set kl_coefficient"),
    "num_generations": (1, "each question is answered once a rollout; the value head is the baseline, not a group"),
    "temperature": (1.0, "the policy that samples must be the one being trained, neither sharper nor flatter"),
    "mask_truncated_completions": (False, "ReFT learns from truncated answers like any other"),
    "use_vllm": (False, "the model being trained samples the responses"),
    "disable_dropout": (True, "a ratio must compare two policies, not two dropout masks"),
    "loss_type": ("grpo", "both losses are means over rows of each row's mean"),
}


@accept_renamed(on="target")
@dataclass
class ReFTConfig(GRPOConfig):  # type: ignore[misc]
    """TRL's `GRPOConfig`, with ReFT's defaults and its own fields.

    "ReFT" below is arXiv 2401.08967, "its code" the authors' release, "NLFT" appendix B of arXiv 2412.20382.
    The batch (`per_device_train_batch_size` x processes x `gradient_accumulation_steps`) is one rollout: that many
    questions are answered, and then trained on `num_iterations` times. `save_steps` is rounded up to whole
    rollouts.
    """

    kl_coefficient: float = setting("kl_coefficient")  # ReFT: 0.05 for chains of thought in words
    gamma: float = field(default=1.0, metadata={"help": "discount (ReFT: 1)"})
    gae_lambda: float = field(default=0.95, metadata={"help": "lambda of the advantage estimates (ReFT: 0.95)"})
    value_clip: float = field(
        default=0.2, metadata={"help": "how far a value may go before its loss is clipped (ReFT: 0.2)"}
    )
    value_coefficient: float = field(default=5.0, metadata={"help": "weight of the value loss (its code: 5)"})
    partial_reward: float = field(
        default=0.1, metadata={"help": "reward of an answer that has a number, but a wrong one (ReFT: 0.1)"}
    )
    grader: str = setting("grader")
    prompts: str = setting("prompts")
    system: str | None = setting("system")
    target: Literal["response", "reference"] = setting("target")  # of the warm-up
    warm_up_epochs: float = setting("warm_up_epochs")  # NLFT: 2
    warm_up_learning_rate: float = setting("warm_up_learning_rate")  # ReFT, NLFT: 1e-5
    warm_up_batch_size: int | None = setting("warm_up_batch_size")  # NLFT: 48
    warm_up_schedule: str = setting("warm_up_schedule")  # its code: linear
    warm_up_warmup: float = field(
        default=0.1, metadata={"help": "the warm-up's own `warmup_steps` (its code: 10 % of its steps)"}
    )
    max_length: int | None = setting("max_length")  # its code: 700

    # ReFT, section 4; the batch and the lengths are NLFT's, appendix B.
    num_iterations: int = setting("ppo_epochs")  # ReFT: 2
    learning_rate: float = field(default=3e-7, metadata={"help": "PPO's learning rate"})
    lr_scheduler_type: str = field(default="constant_with_warmup", metadata={"help": "its code"})
    warmup_steps: float = field(
        default=0.0, metadata={"help": "PPO's, as a share of all steps, or a number of steps (its code: none)"}
    )
    per_device_train_batch_size: int = field(default=16, metadata={"help": "questions answered together"})
    max_completion_length: int | None = setting("max_new_tokens")
    num_train_epochs: float = setting("epochs")  # NLFT, figure 9; ReFT itself: 300
    num_generations: int | None = field(default=1, metadata={"help": "always 1"})
    temperature: float = field(default=1.0, metadata={"help": "sampling temperature; always 1, as in ReFT"})
    loss_type: str = field(default="grpo", metadata={"help": "always averaged row by row, as in its code"})
    disable_dropout: bool = field(default=True, metadata={"help": "always on, as in its code"})
    save_steps: float = field(default=500, metadata={"help": "rounded up to whole rollouts"})
    # The same as in `NLFTConfig`, so that only the method differs; TRL's defaults are different.
    bf16: bool | None = field(
        default=False, metadata={"help": "use autocast; otherwise the type of the weights decides"}
    )
    activation_checkpointing: bool | None = field(default=False, metadata={"help": "use less memory but more time"})
    logging_steps: float = field(default=1, metadata={"help": "steps between log lines"})
    report_to: Any = setting("report_to")  # noqa: RUF009 - it makes a field
    dataloader_pin_memory: bool = field(default=False, metadata={"help": "a batch holds text"})
    ddp_find_unused_parameters: bool | None = field(default=False, metadata={"help": "every pass uses all weights"})

    def __post_init__(self) -> None:
        self._check()
        # TRL insists on groups of at least two answers to a question, whose mean is GRPO's baseline. One group
        # as large as the rollout passes that check; here each answer counts on its own.
        self.num_generations = self.rollout_size
        super().__post_init__()
        as_dealt(self)
        one_device(self)
        self.num_generations = 1
        # Steps on one rollout belong together: a run resumed between them would lose its place among the questions.
        whole = max(1, self.num_iterations * self.steps_per_generation // self.gradient_accumulation_steps)
        if self.save_steps >= 1:
            self.save_steps = -(-int(self.save_steps) // whole) * whole

    @property
    def rollout_size(self) -> int:
        """The number of questions answered together."""
        if self.generation_batch_size is not None:
            return int(self.generation_batch_size)
        steps = self.steps_per_generation or self.gradient_accumulation_steps
        return int(self.per_device_train_batch_size * processes.count() * steps)

    def _check(self) -> None:
        for name, (value, why) in FIXED.items():
            if getattr(self, name) != value:
                raise ConfigError(f"{name} cannot be {getattr(self, name)!r} with ReFT", remedy=why)
        if self.rollout_size < 2:
            raise ConfigError(
                "advantages need at least two answers per batch", remedy="use a batch of two rows or more"
            )
        ranges = {
            "kl_coefficient": (self.kl_coefficient >= 0, "0 or more"),
            "gamma": (0 <= self.gamma <= 1, "from 0 to 1"),
            "gae_lambda": (0 <= self.gae_lambda <= 1, "from 0 to 1"),
            "value_clip": (self.value_clip > 0, "more than 0"),
            "value_coefficient": (self.value_coefficient >= 0, "0 or more"),
            "partial_reward": (0 <= self.partial_reward < 1, "from 0 to less than 1, which a correct answer earns"),
            "warm_up_epochs": (self.warm_up_epochs > 0, "more than 0"),
            "target": (self.target in ("response", "reference"), "one of response, reference"),
        }
        for name, (fits, remedy) in ranges.items():
            if not fits:
                raise ConfigError(f"{name} cannot be {getattr(self, name)!r}", remedy=remedy)
        get_grader(self.grader)
        load_prompts(self.prompts, system=self.system)
