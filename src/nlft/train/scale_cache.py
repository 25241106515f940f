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
from torch.distributed.tensor import DTensor

from nlft import processes
from nlft.core.allocation import Allocation
from nlft.errors import ConfigError, DataError
from nlft.lm.encode import EncodedExample
from nlft.lm.resolve import cache_folder
from nlft.lm.score import score_batch
from nlft.lm.wrappers import base_model
from nlft.objectives import Objective
from nlft.progress import progress
from nlft.prompts import PromptSet
from nlft.train.arguments import NLFTConfig
from nlft.train.dataset import EncodedDataset

logger = logging.getLogger("nlft")

# Rows scored in one pass; rows of similar length go together, to make a pass's memory predictable.
ROWS_PER_PASS = 8

# Weights summed up together for the key.
WEIGHTS_PER_PART = 1 << 22


class ScaleCache:
    """The scales of a training set, by row, as of the time that `scale_schedule` names.

    Args:
        model: The model as it is before training, and before its weights are sharded.
        objective: What weighs the rows.
        args: The trainer's settings.
        dataset: The rows.
        prompts: The text around question, standard answer and judgment.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        args: NLFTConfig,
        dataset: EncodedDataset | None,
        prompts: PromptSet,
    ) -> None:
        self.objective, self.args, self.prompts = objective, args, prompts
        self.examples = dataset.examples if dataset is not None else []
        self.folder = Path(args.score_cache) if args.score_cache else cache_folder() / "scores"
        self.moment: int | None = None
        self.known: dict[str, Allocation | None] = {}
        self.passes = 0
        self.once = args.scale_schedule == "once"
        weighs = any(self.objective.needs(correct=e.correct).weigh for e in self.examples)
        self.digest = self._digest(model) if weighs and args.scale_schedule != "step" else None

    def lookup(self, model: nn.Module, examples: Sequence[EncodedExample], *, epoch: float) -> list[Allocation | None]:
        """The cached scales of these rows, computed on the first call in the run or epoch.

        Raises:
            DataError: for the scales of an untrained model that is gone: all its weights have been trained.
        """
        moment = 0 if self.once else int(epoch)
        if moment != self.moment:
            gone = self.once and epoch > 0 and not hasattr(model, "disable_adapter")
            self.known = self._load_or_compute(model, gone=gone)
            self.moment = moment
        return [self.known[example.id] for example in examples]

    def _load_or_compute(self, model: nn.Module, *, gone: bool) -> dict[str, Allocation | None]:
        if self.digest is None:
            return {example.id: None for example in self.examples}
        device = next(model.parameters()).device
        path = self.folder / f"{self._key(model)}.safetensors"
        stored = _read(path, self.examples, device) if path.exists() else None
        if all(processes.gather(stored is not None)) and stored is not None:
            return stored
        if gone:
            raise DataError(
                "the scales of the untrained model are not in the cache, and the checkpoint holds trained weights",
                file=path,
                remedy="name the run's own --score-cache, or start it again",
            )
        training = model.training
        model.eval()
        try:
            # `once` means the base model, even if a resumed run has a trained adapter on it.
            with base_model(model) if self.once else nullcontext(), torch.no_grad():
                known = self._compute(model)
        finally:
            model.train(training)
        if processes.leads():
            _write(path, known)
        return {identity: each.to(device) if each is not None else None for identity, each in known.items()}

    def _compute(self, model: nn.Module) -> dict[str, Allocation | None]:
        """The scales of all rows, on the CPU; each process computes its share."""
        ordered = sorted(self.examples, key=lambda example: -example.longest)
        batches = [ordered[start : start + ROWS_PER_PASS] for start in range(0, len(ordered), ROWS_PER_PASS)]

        def weigh(rows: list[EncodedExample]) -> list[Allocation | None]:
            found = self.objective.weigh_all(score_batch(model, rows, self.objective))
            return [each.to("cpu") if each is not None else None for each in found]

        known: dict[str, Allocation | None] = {}
        with progress("scoring", len(ordered)) as bar:
            for rows, found in zip(batches, processes.deal(batches, weigh), strict=True):
                known.update({row.id: each for row, each in zip(rows, found, strict=True)})
                bar.advance(len(rows))
        self.passes += 1
        return known

    def _digest(self, model: nn.Module) -> str:
        """A digest of everything the scales depend on, but for what training changes."""
        digest = hashlib.sha256(b"scales 2")
        described = {
            "objective": self.objective.name,
            "options": repr(self.objective),
            "prompts": self.prompts.model_dump(mode="json"),
            "base_model": self.once,
        }
        digest.update(json.dumps(described, sort_keys=True).encode())
        for example in self.examples:
            digest.update(repr(example).encode())
        digest.update(_weights_digest(model, trained=None if self.once else False))
        return digest.hexdigest()

    def _key(self, model: nn.Module) -> str:
        digest = hashlib.sha256(str(self.digest).encode())
        if not self.once:
            digest.update(_weights_digest(model, trained=True))
        return digest.hexdigest()[:32]


def _weights_digest(model: nn.Module, *, trained: bool | None) -> bytes:
    """A digest of the weights: those that are trained, those that are not, or those of the base model (None)."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if trained is None and "lora_" in name and hasattr(model, "disable_adapter"):
            continue
        if trained is not None and parameter.requires_grad is not trained:
            continue
        if hasattr(parameter, "ds_id"):
            raise ConfigError(
                "ZeRO-3 has spread the weights that the scales of an epoch are stored under",
                remedy='choose the scale schedule "step" or "once", or FSDP2',
            )
        # Three sums for each part distinguish sets of weights without copying every byte to the host.
        whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        sums = [_sums(part) for part in torch.split(whole.detach().flatten(), WEIGHTS_PER_PART)]
        digest.update(f"{name} {tuple(whole.shape)} {whole.dtype} {sums!r}".encode())
    return digest.digest()


def _sums(values: torch.Tensor) -> list[float]:
    values = (values.cpu() if values.device.type == "mps" else values).double()  # MPS has no float64
    places = torch.arange(1, len(values) + 1, device=values.device, dtype=torch.float64)
    return torch.stack([values.sum(), (values * places).sum(), values.square().sum()]).tolist()


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
