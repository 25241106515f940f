"""From records to the examples the trainer batches."""

from __future__ import annotations

import logging
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset

from nlft.errors import DataError
from nlft.lm.encode import EncodedExample, encode_example
from nlft.objectives import Objective
from nlft.prompts import PromptSet
from nlft.records import Judged, Verdict, parse_record
from nlft.train.config import FINDS_NO_ERRORS

logger = logging.getLogger("nlft")


class EncodedDataset(Dataset[EncodedExample]):
    """Encoded examples in memory, since tens to thousands of rows of ids are small."""

    def __init__(self, examples: Sequence[EncodedExample]) -> None:
        self.examples = list(examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> EncodedExample:
        return self.examples[index]


def collate(examples: Sequence[EncodedExample]) -> dict[str, list[EncodedExample]]:
    """A batch is the list of its examples; the model code packs them, so none is padded."""
    return {"examples": list(examples)}


def encode_dataset(
    rows: Iterable[Judged | Mapping[str, Any]],
    tokenizer: Any,
    prompts: PromptSet,
    *,
    objective: Objective,
    context_length: int | None = None,
    target: str = "response",
    partial_tokens: str = "share",
    marks: bool = True,
) -> EncodedDataset:
    """Encode the rows that can be trained on under `objective`.

    If the objective needs judgments, incorrect rows without one are skipped, with a warning that
    counts them: the judge stage rejects such rows for a reason. Another counts the rows whose marks or weights are not
    read: marks where the objective looks for no errors, and both on the standard answers.

    Args:
        rows: `Judged` records, or mappings with their fields (such as a `datasets.Dataset`).
        tokenizer: The model's tokenizer.
        prompts: The text around question, standard answer and judgment.
        objective: Decides which paths a row needs.
        context_length: The longest path allowed, in tokens.
        target: "response" or "reference".
        partial_tokens: See `encode_example`.
        marks: Whether the words that a person marked are the errors.

    Raises:
        DataError: for a row that is invalid, cannot be encoded, or has no trained token; for a wrong one with marks or
            weights under `pairs`, which compares whole responses; for a
            repeated id, as scales are stored by id; and if no row is left.
    """
    examples: list[EncodedExample] = []
    left_out = 0
    unread: Counter[str] = Counter()
    lines: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        record = _as_judged(row, number, target)
        if (first := lines.setdefault(record.id, number)) != number:
            raise DataError(
                f"rows {first} and {number} have the same id {record.id!r}",
                file="train_dataset",
                line=number,
                remedy="give each row a unique id, such as id#0, id#1, ...",
            )
        if not marks:
            record = record.model_copy(update={"marks": None})
        unread.update(_unread(record, number, objective.name, target))
        example = encode_example(
            tokenizer,
            record,
            prompts,
            context_length=context_length,
            target=target,
            partial_tokens=partial_tokens,
        )
        if objective.name == "token-weights":
            example = _as_token_weights(example)
        needs = objective.needs(correct=example.correct)
        if "judge" in needs.weigh | needs.loss and example.judge is None:
            left_out += 1
            continue
        if "preferred" in needs.loss and example.preferred is None:
            raise DataError(
                f"row {record.id!r} is wrong and has no right response to be paired with",
                file="train_dataset",
                line=number,
                remedy="make the rows with nlft.revise.pairs(rows), or give a column `preferred`",
            )
        examples.append(example)
    _tell_unread(unread, objective.name, target)
    if left_out:
        logger.warning("%d incorrect rows have no judgment; skipping them", left_out)
    if not examples:
        raise DataError(
            "no rows left to train on",
            remedy="run `nlft judge` to add the missing judgments" if left_out else "check the input file",
        )
    return EncodedDataset(examples)


def _as_token_weights(example: EncodedExample) -> EncodedExample:
    """The weights of spans as the weight itself, or as a factor of that in the column `token_weights`."""
    if example.span_weights is None:
        return example
    own = example.token_weights or (1.0,) * len(example.response)
    weights = tuple(map(operator.mul, own, example.span_weights))
    return replace(example, token_weights=weights, span_weights=None)


def _tell_unread(unread: Mapping[str, int], objective: str, target: str) -> None:
    """Count aloud the rows with a column that is not read."""
    trained = "the standard answers are trained, not the responses"
    why = trained if target == "reference" else "it looks for no errors"
    for column, count in unread.items():
        logger.warning("%d rows have %s, which %s does not read: %s", count, column, objective, why)


def _unread(record: Judged, number: int, objective: str, target: str) -> list[str]:
    """The columns `weights` and `marks` that this row has and that are not read.

    Raises:
        DataError: under `pairs`, where a factor of a token's term would have no meaning.
    """
    told = record.model_extra or {}
    given = [column for column in ("weights", "marks") if told.get(column)]
    if target == "reference":
        return given
    wrong = not record.verdict.correct
    if given and wrong and objective == "pairs":
        raise DataError(
            f"row {record.id!r} has {given[0]}, but pairs compares a wrong response as a whole with a right one",
            file="train_dataset",
            line=number,
            remedy="set marks to ignore" if given == ["marks"] else "leave `weights` out, or choose another objective",
        )
    return [column for column in given if column == "marks" and wrong and objective in FINDS_NO_ERRORS]


def _as_judged(row: Judged | Mapping[str, Any], number: int, target: str) -> Judged:
    if isinstance(row, Judged):
        return row
    given = {key: value for key, value in row.items() if value is not None or key == "judgment"}
    given.setdefault("id", str(number))
    if target == "reference":  # the standard answers need neither response nor grade
        given.setdefault("response", given.get("reference", ""))
        given.setdefault("verdict", Verdict(correct=True, reason="the standard answer").model_dump())
    return parse_record(given, Judged, file="train_dataset", line=number)
