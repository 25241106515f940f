"""How often a token's role from the stored sketch differs from its role from the whole hidden states.

    python benchmarks/sketch_fidelity.py judged.jsonl --model M [--n 30]

For each rank and band: the share of tokens whose role differs, over several thresholds of both
measures, and the bytes a token takes. The rows are those of `nlft judge`; the hidden states the model's.
"""

from __future__ import annotations

import argparse

import torch

from nlft.core import SaliencySettings, allocate, allocate_by_products
from nlft.lm import encode_example, load_model
from nlft.lm.score import score_batch
from nlft.objectives import get_objective
from nlft.prompts import load_prompts
from nlft.records import Judged, read_records
from nlft.score.sketch import decode_sketch, encode_sketch

THRESHOLDS = [("similarity", t) for t in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)] + [("distance", t) for t in (0.2, 0.4, 0.6)]
SKETCHES = [(32, 0), (64, 0), (128, 0), (0, 8), (16, 8), (32, 4), (32, 8), (32, 12), (64, 8)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("judged")
    parser.add_argument("--model", required=True)
    parser.add_argument("--n", type=int, default=30)
    options = parser.parse_args()
    lm, prompts = load_model(options.model), load_prompts("paper")
    objective = get_objective("nlft", SaliencySettings.paper())
    differ = dict.fromkeys(SKETCHES, 0)
    size = dict.fromkeys(SKETCHES, 0)
    tokens = 0
    for row in list(read_records(options.judged, Judged))[: options.n]:
        encoded = encode_example(lm.tokenizer, row, prompts, context_length=lm.context_length)
        with torch.no_grad():
            [example] = score_batch(lm.model, [encoded], objective)
        assert example.hidden_states is not None
        assert example.logp_standard is not None
        logps = (example.logp_base, example.logp_standard, example.logp_judge)
        tokens += len(example.logp_base)
        kept = {}
        for rank, band in SKETCHES:
            sketch = encode_sketch(example.hidden_states, rank, band)
            size[rank, band] += len(sketch.codes) + len(sketch.corrections)
            kept[rank, band] = decode_sketch(sketch, len(example.logp_base))
        for measure, threshold in THRESHOLDS:
            settings = SaliencySettings.paper().replace(cluster=measure, cluster_threshold=threshold)
            whole = allocate(*logps, example.hidden_states.double(), settings).cluster
            for which, inner in kept.items():
                differ[which] += int((allocate_by_products(*logps, inner, settings).cluster != whole).sum())
    looks = tokens * len(THRESHOLDS)
    print(f"{options.model}: {tokens} tokens, {len(THRESHOLDS)} thresholds, {looks} comparisons")
    print("rank band   bytes a token   roles that differ")
    for (rank, band), count in differ.items():
        print(f"{rank:4} {band:4} {size[rank, band] / tokens:15.1f} {count:8}  ({count / looks:.4%})")


if __name__ == "__main__":
    main()
