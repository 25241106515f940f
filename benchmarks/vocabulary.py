"""Peak memory as the vocabulary grows: positions x vocabulary is never held."""

from __future__ import annotations

import sys

import torch

from benchmarks.measure import Result, peak, peak_above, reset_peak, result

POSITIONS, SMALL, LARGE = 2048, 8_192, 262_144


def run() -> list[Result]:
    """The growth of the peak, over what logits of all positions would take."""
    grown = peak_above("benchmarks.vocabulary", str(LARGE)) - peak_above("benchmarks.vocabulary", str(SMALL))
    full = POSITIONS * (LARGE - SMALL) * 4 / 2**20
    return [
        result(
            "peak memory above the model as the vocabulary grows 8k to 256k", "positions x vocabulary x 4 bytes",
            max(grown, 0.0), full, "<= 0.1", unit="MiB", note=f"{POSITIONS} response positions, tiny model, backward included",
        )
    ]  # fmt: skip


def _child(vocabulary: int) -> None:
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from nlft.lm import TokenPath, path_logprobs
    from nlft.lm.logprobs import unwrap
    from nlft.train import lora_config

    config = AutoConfig.for_model(
        "llama", vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    model = get_peft_model(base := AutoModelForCausalLM.from_config(config), lora_config(base))
    path_logprobs(model, [TokenPath((1, 2), (3, 4))])  # what the first call allocates for good
    assert unwrap(model) is base
    paths = [TokenPath((1, 2, row), tuple(range(5, 5 + POSITIONS // 4))) for row in range(3, 7)]
    before = reset_peak()
    sum(scored.logp.mean() for scored in path_logprobs(model, paths)[0]).backward()  # type: ignore[union-attr]
    print(peak() - before)


if __name__ == "__main__":
    torch.set_num_threads(2)
    _child(int(sys.argv[1]))
