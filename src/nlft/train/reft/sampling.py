"""Responses of the policy as PPO wants them: every token that was chosen, the one that ends it included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlft.lm import SamplingSettings
from nlft.lm.generate import generate
from nlft.lm.load import LanguageModel


def sample_responses(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], settings: SamplingSettings, *, first_stream: int
) -> list[list[int]]:
    """One response a prompt, sampled as an evaluation samples.

    This is several times as fast as `model.generate`, and the random numbers depend on the seed and the
    stream alone, so that a resumed run draws what an unbroken one would have drawn.

    Args:
        model: The policy, in whatever mode; it is left in it.
        tokenizer: The policy's.
        prompts: Token ids.
        settings: How to sample.
        first_stream: The random stream of the first prompt; those of the others follow.

    Returns:
        The ids of each response, in the order of the prompts; without a stop token where it was cut short.
    """
    training = model.training
    streams = range(first_stream, first_stream + len(prompts))
    found = list(generate(LanguageModel(model, tokenizer, "policy"), prompts, settings, streams=streams))
    model.train(training)
    found.sort(key=lambda completion: completion.index)
    return [[*each.token_ids, *([] if each.stop_id is None else [each.stop_id])] for each in found]
