"""Generation through transformers' own `generate`, for models that cannot share prefixes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from nlft.lm.config import SamplingSettings
from nlft.lm.load import LanguageModel
from nlft.lm.sampling import Completion, sample_token, uniforms


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Draw by our own random numbers and leave only the drawn token, so that greedy decoding takes it."""

    def __init__(self, settings: SamplingSettings, streams: Sequence[int], start: int) -> None:
        self.settings, self.start = settings, start
        self.numbers = np.stack([uniforms(settings, stream) for stream in streams])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = sample_token(scores, self.settings, self.numbers[:, input_ids.shape[1] - self.start])
        return torch.full_like(scores, float("-inf")).scatter(-1, drawn[:, None], 0.0)


def hf_generate(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], settings: SamplingSettings, streams: Sequence[int]
) -> Iterator[Completion]:
    """As `nlft.lm.generate.generate`, in left-padded batches of prompts of like length."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for first in range(0, len(order), settings.batch_size):
        yield from _batch(lm, prompts, order[first : first + settings.batch_size], settings, streams)


def _batch(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    indices: Sequence[int],
    settings: SamplingSettings,
    streams: Sequence[int],
) -> list[Completion]:
    width = max(len(prompts[index]) for index in indices)
    pad = lm.tokenizer.pad_token_id if lm.tokenizer.pad_token_id is not None else lm.tokenizer.eos_token_id
    ids = torch.full((len(indices), width), pad)
    mask = torch.zeros_like(ids)
    for row, index in enumerate(indices):
        ids[row, width - len(prompts[index]) :] = torch.tensor(list(prompts[index]))
        mask[row, width - len(prompts[index]) :] = 1
    limit = settings.max_new_tokens
    if lm.context_length is not None:
        limit = min(limit, lm.context_length - width)
    config: Any = GenerationConfig(
        do_sample=False, max_new_tokens=limit, eos_token_id=sorted(lm.stop_ids), pad_token_id=pad
    )
    with torch.inference_mode(), _without_habits(lm.model):
        output = lm.model.generate(
            input_ids=ids.to(lm.device),
            attention_mask=mask.to(lm.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Draw(settings, [streams[index] for index in indices], width)]),
        )
    return [
        _completion(lm, index, prompts[index], row[width:].tolist(), limit)
        for index, row in zip(indices, output, strict=True)
    ]


@contextmanager
def _without_habits(model: Any) -> Iterator[None]:
    """Inside, the model brings no generation config: its repetition penalty or beams would affect our settings."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _completion(lm: LanguageModel, index: int, prompt: Sequence[int], ids: list[int], limit: int) -> Completion:
    end = next((place for place, token in enumerate(ids) if token in lm.stop_ids), None)
    kept = ids[:limit] if end is None else ids[:end]
    thoughts, text = lm.read(kept, prompt)
    stop = None if end is None else ids[end]
    return Completion(index, text, tuple(kept), "length" if stop is None else "stop", stop, thoughts)
