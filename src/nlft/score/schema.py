"""The form of stored scores, its version, and the recomputation from them.

`Scores` (in `nlft.records`) is one response's scores as `nlft score` stores them, form 1:

    version        1
    model          the model's name, as given
    token_ids      n ids, ending with the stop token if the response ended by itself
    pieces         n strings; joined, the response as the model sees it (see `token_pieces`)
    logp_base      n log P(y_t | X_base, y_<t), natural logarithm, float32's shortest decimals
    logp_standard  the same under X_standard
    logp_judge     the same under X_judge; null for a correct response
    sketch         the inner products of the base path's hidden states, {rank, steps, codes, band,
                   corrections}: <h_t, h_u> = sum over k of x_tk x_uk + e_tu, where
                   x_tk = codes[t * rank + k] * steps[k] (codes: int8 in base64) and
                   e_tu = corrections[min(t, u) * (band + 1) + |t - u|] up to |t - u| = band, else 0
                   (corrections: little-endian float32 in base64). The walk of the clustering, for
                   any threshold and either measure, runs on these in float64, so that every reader
                   gets the same phrases; `nlft.score.sketch` says how close they are to the model's.
    settings       the `SaliencySettings` in force, as a mapping
    marks, weights the tokens that a person marked, and each token's factor; null without the row's columns
    salient, cluster, scale, excluded
                   the allocation under these settings, computed only from the numbers
                   above: a page that opens the file recomputes exactly these.

A token takes about 165 bytes, 91 of them for the sketch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nlft.core import Allocation, SaliencySettings, allocate_by_products
from nlft.errors import DataError, ModelError
from nlft.records import SCORES_VERSION, Scored, Scores
from nlft.score.sketch import decode_sketch, encode_sketch
from nlft.spans import column_spans, marked_tokens, piece_places, token_weights

# exp of this is 0 in float64: a probability of zero, in a form JSON can hold.
LOWEST_LOGP = -1e4


def make_scores(
    *,
    model: str,
    token_ids: Sequence[int],
    pieces: Sequence[str],
    logp_base: Tensor,
    logp_standard: Tensor,
    logp_judge: Tensor | None,
    hidden_states: Tensor,
    settings: SaliencySettings,
    marks: Sequence[bool] | None = None,
    weights: Sequence[float] | None = None,
) -> Scores:
    """Store one response's scores, with the allocation that follows from them.

    Args:
        model: The model's name.
        token_ids: The n response tokens.
        pieces: Their n texts (`nlft.score.token_pieces`).
        logp_base: (n,) log-probabilities, any float dtype and device.
        logp_standard: (n,) the same.
        logp_judge: (n,) the same; None for a correct response.
        hidden_states: (n, d) last hidden states of the base path at the positions that predict the tokens.
        settings: The constants for roles and scales.
        marks: The tokens that a person marked as errors.
        weights: The n factors of the column `weights`.

    Raises:
        ModelError: for log-probabilities that are NaN or above zero.
    """
    n = len(token_ids)
    if not len(pieces) == len(logp_base) == len(logp_standard) == len(hidden_states) == n:
        raise ValueError("token_ids, pieces, log-probabilities and hidden_states must have the same length")
    bare = Scores(
        version=SCORES_VERSION,
        model=model,
        token_ids=list(token_ids),
        pieces=list(pieces),
        logp_base=_decimals(logp_base, "base"),
        logp_standard=_decimals(logp_standard, "standard"),
        logp_judge=None if logp_judge is None else _decimals(logp_judge, "judge"),
        sketch=encode_sketch(hidden_states),
        salient=[False] * n,
        cluster=[False] * n,
        scale=[0.0] * n,
        marks=None if marks is None else list(marks),
        weights=None if weights is None else list(weights),
        excluded=False,
        settings=settings.to_mapping(),
    )
    return _allocated(bare, settings)


def with_marks(row: Scored) -> Scored:
    """A row whose scores know what was marked and weighed since they were computed; see `nlft.spans`."""
    columns = row.model_extra or {}
    places = piece_places(row.scores.pieces, row.response)
    try:
        spans = [] if row.verdict.correct else column_spans(columns, "marks", row.response)
        weights = column_spans(columns, "weights", row.response)
    except DataError as error:
        raise DataError(f"row {row.id!r}: {error.message}", remedy=error.remedy) from None
    marks = marked_tokens(spans, places, row.response) if spans else None
    factors = token_weights(weights, places, row.response) if weights else None
    if (marks, factors) == (row.scores.marks, row.scores.weights):
        return row
    scores = row.scores.model_copy(update={"marks": marks, "weights": factors})
    return row.model_copy(update={"scores": _allocated(scores, settings_of(scores))})


def _allocated(bare: Scores, settings: SaliencySettings) -> Scores:
    allocation = allocate_scores(bare, settings)
    return bare.model_copy(
        update={
            "salient": allocation.salient.tolist(),
            "cluster": allocation.cluster.tolist(),
            "scale": allocation.scale.tolist(),
            "excluded": bool(allocation.excluded),
        }
    )


def settings_of(scores: Scores) -> SaliencySettings:
    """The settings the stored roles and scales were computed with."""
    return SaliencySettings.from_mapping(scores.settings)


def allocate_scores(scores: Scores, settings: SaliencySettings | None = None) -> Allocation:
    """Roles and scales from stored scores, in float64; by default under the file's own settings.

    The page computes exactly the same numbers in the browser.
    """
    judge = scores.logp_judge
    return allocate_by_products(
        torch.tensor(scores.logp_base, dtype=torch.float64),
        torch.tensor(scores.logp_standard, dtype=torch.float64),
        None if judge is None else torch.tensor(judge, dtype=torch.float64),
        decode_sketch(scores.sketch, len(scores.token_ids)),
        settings or settings_of(scores),
        None if scores.marks is None else torch.tensor(scores.marks),
    )


def _decimals(logp: Tensor, path: str) -> list[float]:
    """Log-probabilities as short floats that lose nothing of a float32, or of a float64."""
    values = logp.detach().to("cpu")
    numbers = values.tolist() if values.dtype == torch.float64 else [float(f"{x:.9g}") for x in values.float().tolist()]
    if any(math.isnan(x) or x > 1e-3 for x in numbers):
        raise ModelError(
            f"the model returned invalid log-probabilities (NaN or above zero) on the {path} path",
            remedy="its numbers overflow; load the model in float32",
        )
    return [min(max(x, LOWEST_LOGP), 0.0) for x in numbers]
