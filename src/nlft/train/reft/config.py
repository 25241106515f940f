"""ReFT's settings: TRL's `GRPOConfig` with the paper's values, and what PPO has beyond it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from nlft.errors import ConfigError
from nlft.grade import get_grader
from nlft.prompts import load_prompts
from nlft.train.arguments import NLFTConfig, accept_renamed, one_device
from nlft.train.reft.trl_names import GRPOConfig

# Fields of TRL's that would change the method, with the one value they have here.
FIXED: dict[str, tuple[Any, str]] = {
    "beta": (0.0, "the KL penalty is part of the reward here: set kl_coefficient"),
    "num_generations": (1, "each question is answered once a rollout; the value head is the baseline, not a group"),
    "temperature": (1.0, "the policy that is trained must be the one that samples, and no sharper or flatter one"),
    "mask_truncated_completions": (False, "an answer cut short is learned from as any other"),
    "use_vllm": (False, "responses are sampled by the model being trained itself"),
    "disable_dropout": (True, "a ratio must tell two policies apart, not two dropout masks"),
    "loss_type": ("grpo", "both losses are means over rows of each row's mean"),
}


@accept_renamed(on="target")
@dataclass
class ReFTConfig(GRPOConfig):  # type: ignore[misc]
    """TRL's `GRPOConfig`, with ReFT's defaults and what is its own.

    "ReFT" below is arXiv 2401.08967, "its code" the authors' release, "NLFT" appendix B of arXiv 2412.20382.
    The batch (`per_device_train_batch_size` x `gradient_accumulation_steps`) is one rollout: as many
    questions are answered, and then trained on `num_iterations` times. `save_steps` is rounded up to whole
    rollouts.

    Args:
        kl_coefficient: β of the KL penalty in each token's reward (ReFT: 0.05 for chains in words).
        gamma: Discount (ReFT: 1).
        gae_lambda: λ of the advantage estimates (ReFT: 0.95).
        epsilon: How far a ratio may go before it is clipped; TRL's own field (ReFT: 0.2).
        value_clip: How far a value may go before its loss is clipped (ReFT: 0.2).
        value_coefficient: Weight of the value loss (its code: 5).
        num_iterations: Passes over a rollout; TRL's own field (ReFT: 2).
        partial_reward: For an answer that is found but wrong (ReFT: 0.1).
        grader: Decides what is found and correct; see `nlft.grade.get_grader`.
        prompts: A prompt set's name, or a YAML file.
        target: Warm up on the correct "response"s, or on the "reference"s.
        warm_up_epochs: Of SFT before PPO (NLFT: 2).
        warm_up_learning_rate: Of SFT (ReFT, NLFT: 1e-5).
    """

    kl_coefficient: float = field(default=0.05, metadata={"help": "of the KL penalty in the reward"})
    gamma: float = field(default=1.0, metadata={"help": "discount"})
    gae_lambda: float = field(default=0.95, metadata={"help": "of the advantage estimates"})
    value_clip: float = field(default=0.2, metadata={"help": "how far a value may go"})
    value_coefficient: float = field(default=5.0, metadata={"help": "weight of the value loss"})
    partial_reward: float = field(default=0.1, metadata={"help": "for an answer that is found but wrong"})
    grader: str = field(default="gsm8k-flexible", metadata={"help": "decides what is found and correct"})
    prompts: str = field(default="paper", metadata={"help": "a prompt set's name, or a YAML file"})
    target: Literal["response", "reference"] = field(
        default="response", metadata={"help": "what the warm-up trains on"}
    )
    warm_up_epochs: float = field(default=2.0, metadata={"help": "of SFT before PPO"})
    warm_up_learning_rate: float = field(default=1e-5, metadata={"help": "of SFT before PPO"})

    # ReFT, section 4; the batch and the lengths are NLFT's, appendix B.
    num_iterations: int = field(default=2, metadata={"help": "passes over a rollout"})
    learning_rate: float = field(default=3e-7, metadata={"help": "of PPO"})
    lr_scheduler_type: str = field(default="constant_with_warmup", metadata={"help": "its code"})
    warmup_steps: float = field(default=0.1, metadata={"help": "a share of all steps, or a number of them"})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "questions answered at a time"})
    max_completion_length: int | None = field(default=700, metadata={"help": "new tokens of a response"})
    num_train_epochs: float = field(default=10.0, metadata={"help": "NLFT, figure 9; ReFT itself: 300"})
    num_generations: int | None = field(default=1, metadata={"help": "always 1 here"})
    temperature: float = field(default=1.0, metadata={"help": "of sampling; always 1 here, as in ReFT"})
    loss_type: str = field(default="grpo", metadata={"help": "always row by row, as in its code"})
    disable_dropout: bool = field(default=True, metadata={"help": "always on here, as in its code"})
    save_steps: float = field(default=500, metadata={"help": "rounded up to whole rollouts"})
    # As `NLFTConfig` has them, so that the peers differ in method only; TRL's defaults are others.
    bf16: bool | None = field(default=False, metadata={"help": "autocast; the weights' own type decides without"})
    activation_checkpointing: bool | None = field(default=False, metadata={"help": "less memory, more time"})
    logging_steps: float = field(default=1, metadata={"help": "log every so many steps"})
    report_to: Any = field(default="none", metadata={"help": "where transformers also reports to"})
    dataloader_pin_memory: bool = field(default=False, metadata={"help": "a batch holds text"})

    def __post_init__(self) -> None:
        self._check()
        # TRL insists on groups of at least two answers to a question, whose mean is GRPO's baseline. One group
        # as large as the rollout passes that check; here every answer then stands for itself.
        self.num_generations = self.rollout_size
        super().__post_init__()
        one_device(self)
        self.num_generations = 1
        # Steps on one rollout belong together: a run resumed between them would lose its place among the questions.
        whole = max(1, self.num_iterations * self.steps_per_generation // self.gradient_accumulation_steps)
        if self.save_steps >= 1:
            self.save_steps = -(-int(self.save_steps) // whole) * whole

    @property
    def rollout_size(self) -> int:
        """How many questions are answered together."""
        if self.generation_batch_size is not None:
            return int(self.generation_batch_size)
        return int(self.per_device_train_batch_size * (self.steps_per_generation or self.gradient_accumulation_steps))

    def _check(self) -> None:
        for name, (value, why) in FIXED.items():
            if getattr(self, name) != value:
                raise ConfigError(f"{name} cannot be {getattr(self, name)!r} with ReFT", remedy=why)
        if self.rollout_size < 2:
            raise ConfigError("one answer has no others to be compared with", remedy="a batch of two rows or more")
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
        if NLFTConfig.world_size_of_environment() > 1:
            raise ConfigError("training runs in one process; several are started", remedy="start it without torchrun")
        get_grader(self.grader)
        load_prompts(self.prompts)
