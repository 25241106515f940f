"""All parts of TRL in use, including private names, with a check that the installed TRL has them.

`GRPOTrainer` provides the loop of rollouts and passes over them, and logging. Some of what must be
different under PPO is only reachable by names that TRL does not promise to keep; they are listed here
once, and checked when this module is loaded.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from nlft.errors import ConfigError

REMEDY = 'pip install "nlft[reft]"'
VERSION = "1.16"

# Overridden in `nlft.train.reft.trainer`, or called there.
PRIVATE_METHODS = (
    "_calculate_rewards",
    "_generate_and_score_completions",
    "_generate_single_turn",
    "_get_per_token_logps_and_entropies",
    "_get_train_sampler",
    "_load_from_checkpoint",
    "_send_telemetry",
    "_tokenize_prompts",
)

try:
    from trl import GRPOConfig, GRPOTrainer
except ImportError as error:
    raise ConfigError(f"ReFT needs TRL {VERSION}, which cannot be loaded ({error})", remedy=REMEDY) from error


def check_trl(version: str, trainer: type[Any]) -> None:
    """Reject a TRL version that this package does not support.

    Args:
        version: The installed version.
        trainer: Its `GRPOTrainer`.

    Raises:
        ConfigError: for another minor version, or a missing private name.
    """
    if version.split(".")[:2] != VERSION.split("."):
        raise ConfigError(f"ReFT needs TRL {VERSION}, but {version} is installed", remedy=REMEDY)
    gone = [name for name in PRIVATE_METHODS if not hasattr(trainer, name)]
    if gone:
        raise ConfigError(f"the installed TRL {version} lacks {', '.join(gone)}", remedy=REMEDY)


check_trl(metadata.version("trl"), GRPOTrainer)

__all__ = ["PRIVATE_METHODS", "GRPOConfig", "GRPOTrainer", "check_trl"]
