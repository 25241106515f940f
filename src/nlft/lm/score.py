"""What an objective needs from a batch, in as few passes over the model as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from nlft import processes
from nlft.core.transfer import send
from nlft.lm.encode import EncodedExample
from nlft.lm.logprobs import PathLogprobs, Prefix, path_logprobs
from nlft.lm.pack import TokenPath
from nlft.lm.wrappers import base_model
from nlft.objectives import Example, Objective, TopTokens


def score_batch(
    model: nn.Module,
    examples: Sequence[EncodedExample],
    objective: Objective,
    *,
    stored: bool = False,
    anchored: bool = False,
) -> list[Example]:
    """Compute what `objective` needs of each row.

    Where an objective wants the standard path's likeliest tokens, first that path under the base
    model, without gradient; then the base paths, and the judge paths the loss trains on, with gradient
    where torch's mode has one; then, without gradient, the paths that only weigh, continuing from the
    second pass's keys and values. Among several processes each makes all the passes that any row might need, be it
    for its shortest path and for nothing: where weights are sharded, the processes must pass through them together.

    Args:
        model: Base model or PEFT model. Without an adapter, the base model is the model itself.
        examples: The rows.
        objective: Says which paths it reads.
        stored: The scales are known already, so skip the paths that only weigh.
        anchored: Also find each base path's divergence from the untouched model.
    """
    trained: list[tuple[int, str, TokenPath]] = []
    weighing: list[tuple[int, str, TokenPath]] = []
    teaching: list[tuple[int, str, TokenPath]] = []
    top_k = 0
    for place, example in enumerate(examples):
        needs = objective.needs(correct=example.correct)
        top_k = max(top_k, needs.top_k)
        trained.append((place, "base", example.base))
        trained += [(place, name, _path(example, name)) for name in sorted(needs.loss)]
        if not stored:
            weighing += [(place, name, _path(example, name)) for name in sorted(needs.weigh - needs.loss)]
        teaching += [(place, "teacher", _path(example, "standard"))] if needs.top_k else []
    if processes.count() > 1:
        shortest = min((path for *_, path in trained), key=lambda path: len(path.tokens))
        needs_of_all = [objective.needs(correct=correct) for correct in (True, False)]
        top_k = max(needs.top_k for needs in needs_of_all)
        if top_k and not teaching:
            teaching.append((-1, "idle", shortest))
        if not (weighing or stored) and any(needs.weigh - needs.loss for needs in needs_of_all):
            weighing.append((-1, "idle", shortest))
    found: dict[tuple[int, str], PathLogprobs] = {}

    def run(asked: list[tuple[int, str, TokenPath]], **options: Any) -> Prefix | None:
        results, prefix = path_logprobs(model, [path for *_, path in asked], **options)
        found.update({(place, name): result for (place, name, _), result in zip(asked, results, strict=True)})
        return prefix

    if teaching:
        with torch.no_grad(), base_model(model):
            run(teaching, top_k=top_k)
    taught = {place: found[place, name].top for place, name, _ in teaching}
    choose = [top[1] if name == "base" and (top := taught.get(place)) else None for place, name, _ in trained]
    bases = [name == "base" for _, name, _ in trained] if anchored else ()
    prefix = run(trained, choose=choose if teaching else None, anchored=bases, keep_prefix=bool(weighing))
    if weighing:
        with torch.no_grad():
            run(weighing, prefix=prefix)
    return [_scored(place, example, found) for place, example in enumerate(examples)]


def _path(example: EncodedExample, name: str) -> TokenPath:
    path: TokenPath | None = getattr(example, name)
    if path is None:  # encode_dataset skips or refuses such rows
        raise ValueError(f"row {example.id!r} has no {name} path")
    return path


def _scored(place: int, example: EncodedExample, found: dict[tuple[int, str], PathLogprobs]) -> Example:
    base = found[place, "base"]
    standard, judge, teacher = (found.get((place, name)) for name in ("standard", "judge", "teacher"))
    weights = None if example.span_weights is None else torch.tensor(example.span_weights, device=base.logp.device)
    row = Example(
        logp_base=_weighed(base.logp, weights),
        correct=example.correct,
        logp_standard=standard.logp if standard is not None else None,
        logp_judge=_weighed(judge.logp, weights) if judge is not None else None,
        hidden_states=base.hidden_states,
        divergence=base.divergence,
    )
    if (preferred := found.get((place, "preferred"))) is not None:
        row = replace(row, logp_preferred=preferred.logp, fork=example.fork)
    if example.marks is not None:
        row = replace(row, marks=torch.tensor(example.marks, device=base.logp.device))
    if example.token_weights is not None:
        row = replace(row, token_weights=send([torch.tensor(example.token_weights)], base.logp.device)[0])
    if teacher is not None and teacher.top is not None and base.chosen is not None:
        row = replace(row, top_standard=TopTokens(teacher.top[0], _weighed(base.chosen, weights)))
    return row


def _weighed(logp: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """The same log-probabilities, (n,) or (n, k); the gradient of each token's is multiplied by its weight.

    So a weight is a factor of its token's term under any objective, including those that users write.
    """
    if weights is None or not logp.requires_grad:
        return logp
    factor = weights.to(logp).reshape(-1, *[1] * (logp.dim() - 1))
    logp = logp.clone()
    logp.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return logp
