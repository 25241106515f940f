"""Scales computed once, or once an epoch, and cached on disk so that a second run need not compute them.

A set of scales is keyed by everything it depends on: the model's weights, the adapter's, the prompts,
the objective with its constants, and the rows. Each set is a safetensors file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from nlft.core.allocation import Allocation
from nlft.lm.encode import EncodedExample
from nlft.lm.logprobs import base_model
from nlft.lm.resolve import cache_folder
from nlft.lm.score import score_batch
from nlft.objectives import Objective
from nlft.progress import progress
from nlft.prompts import PromptSet
from nlft.train.arguments import NLFTConfig
from nlft.train.dataset import EncodedDataset

logger = logging.getLogger("nlft")

# Rows scored in one pass; rows of similar length go together, to make a pass's memory predictable.
ROWS_PER_PASS = 8


class ScaleCache:
    """The scales of a training set, by row, as of the time that `scale_schedule` names."""

    def __init__(
        self, objective: Objective, args: NLFTConfig, dataset: EncodedDataset | None, prompts: PromptSet
    ) -> None:
        self.objective, self.args, self.prompts = objective, args, prompts
        self.examples = dataset.examples if dataset is not None else []
        self.folder = Path(args.score_cache) if args.score_cache else cache_folder() / "scores"
        self.moment: int | None = None
        self.known: dict[str, Allocation | None] = {}
        self.passes = 0

    def lookup(self, model: nn.Module, examples: Sequence[EncodedExample], *, epoch: int) -> list[Allocation | None]:
        """The cached scales of these rows, computed on the first call in the run or epoch."""
        moment = 0 if self.args.scale_schedule == "once" else epoch
        if moment != self.moment:
            self.known = self._load_or_compute(model)
            self.moment = moment
        return [self.known[example.id] for example in examples]

    def _load_or_compute(self, model: nn.Module) -> dict[str, Allocation | None]:
        if not any(self.objective.needs(correct=e.correct).weigh for e in self.examples):
            return {example.id: None for example in self.examples}
        device = next(model.parameters()).device
        training = model.training
        model.eval()
        try:
            # `once` means the base model, even if a resumed run has a trained adapter on it.
            with base_model(model) if self.args.scale_schedule == "once" else nullcontext(), torch.no_grad():
                path = self.folder / f"{self._key(model)}.safetensors"
                if path.exists() and (stored := _read(path, self.examples, device)) is not None:
                    return stored
                known = self._compute(model)
        finally:
            model.train(training)
        _write(path, known)
        return known

    def _compute(self, model: nn.Module) -> dict[str, Allocation | None]:
        ordered = sorted(self.examples, key=lambda example: -example.longest)
        known: dict[str, Allocation | None] = {}
        with progress("scoring", len(ordered)) as bar:
            for start in range(0, len(ordered), ROWS_PER_PASS):
                rows = ordered[start : start + ROWS_PER_PASS]
                for row, scored in zip(rows, score_batch(model, rows, self.objective), strict=True):
                    known[row.id] = self.objective.weigh(scored)
                bar.advance(len(rows))
        self.passes += 1
        return known

    def _key(self, model: nn.Module) -> str:
        digest = hashlib.sha256(b"scales 1")
        described = {
            "objective": self.objective.name,
            "options": repr(self.objective),
            "prompts": self.prompts.model_dump(mode="json"),
            "base_model": self.args.scale_schedule == "once",
        }
        digest.update(json.dumps(described, sort_keys=True).encode())
        for example in self.examples:
            digest.update(repr(example).encode())
        adapters_off = self.args.scale_schedule == "once" and hasattr(model, "disable_adapter")
        for name, parameter in model.named_parameters():
            if adapters_off and "lora_" in name:
                continue
            # Two sums distinguish sets of weights without copying every byte to the host.
            values = parameter.detach().flatten()[: 1 << 22]
            values = (values.cpu() if values.device.type == "mps" else values).double()  # MPS has no float64
            places = torch.arange(1, len(values) + 1, device=values.device, dtype=torch.float64)
            sums = torch.stack([values.sum(), (values * places).sum(), values.square().sum()]).tolist()
            digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype} {sums!r}".encode())
        return digest.hexdigest()[:32]


def _write(path: Path, known: dict[str, Allocation | None]) -> None:
    tensors: dict[str, torch.Tensor] = {}
    for number, allocation in enumerate(known.values()):
        if allocation is None:
            continue
        tensors[f"{number}.scale"] = allocation.scale.cpu().contiguous()
        tensors[f"{number}.salient"] = allocation.salient.cpu().contiguous()
        tensors[f"{number}.cluster"] = allocation.cluster.cpu().contiguous()
        tensors[f"{number}.flags"] = torch.tensor([allocation.excluded, allocation.correct])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.part")  # two runs may score the same rows at once
    save_file(tensors, temporary, metadata={"ids": json.dumps(list(known))})
    temporary.replace(path)


def _read(path: Path, examples: Sequence[EncodedExample], device: torch.device) -> dict[str, Allocation | None] | None:
    """The contents of a cache file; None if it is damaged and must be recomputed."""
    try:
        tensors = load_file(path, device=str(device))
        with safe_open(path, framework="pt") as stream:
            ids = json.loads(stream.metadata()["ids"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        logger.warning("%s: cannot read the cached scales; recomputing them (%s)", path, error)
        return None
    found: dict[str, Allocation | None] = {example.id: None for example in examples}
    for number, identity in enumerate(ids):
        if f"{number}.scale" in tensors:
            excluded, correct = tensors[f"{number}.flags"].tolist()
            found[identity] = Allocation(
                tensors[f"{number}.salient"],
                tensors[f"{number}.cluster"],
                tensors[f"{number}.scale"],
                bool(excluded),
                bool(correct),
            )
    return found
