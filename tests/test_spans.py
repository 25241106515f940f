"""Weights and marks by text: the same characters, whatever the tokenizer."""

import json
from typing import Any

import pytest
import torch
from tests.tiny import tiny_tokenizer
from tests.train.tiny_train import WRONG
from typer.testing import CliRunner

from nlft.cli.app import app
from nlft.errors import DataError
from nlft.lm.encode import EncodedExample, encode_example
from nlft.prompts import load_prompts
from nlft.records import Judged
from nlft.score.pieces import token_pieces
from nlft.spans import column_spans, faults, marked_tokens, piece_places, token_weights

TEXT = "Sam has 45 plums 🙂 and sells 45.\n#### 45"


def merged_tokenizer() -> Any:
    """The tiny tokenizer with merges: some words are one token, with the space before them."""
    from tokenizers import models

    fast = tiny_tokenizer()
    bytes_ = {token: i for token, i in fast.get_vocab().items() if not token.startswith("<|")}
    merges, joined = [], []
    for word in ("Ġplums", "Ġsells", "Ġand", "Ġhas", "45", "####"):
        for end in range(1, len(word)):
            merges.append((word[:end], word[end]))
            joined.append(word[: end + 1])
    vocabulary = bytes_ | {token: len(fast) + i for i, token in enumerate(dict.fromkeys(joined))}
    fast.backend_tokenizer.model = models.BPE(vocab=vocabulary, merges=list(dict.fromkeys(merges)))
    return fast


def row(**columns: Any) -> Judged:
    given = {"id": "r", "question": "How many?", "reference": "#### 40", "response": TEXT}
    return Judged(**{**given, "verdict": WRONG, "judgment": "it is 40", **columns})


def encoded(tokenizer: Any, record: Judged, **options: Any) -> EncodedExample:
    return encode_example(tokenizer, record, load_prompts("short"), **options)


@pytest.mark.parametrize(
    ("entry", "covered"),
    [
        ({"text": "45"}, "45"),
        ({"text": "45", "occurrence": 2}, "45"),
        ({"start": 8, "end": 10}, "45"),
        ({"start": 8, "end": 10, "text": "45"}, "45"),
        ({"text": "🙂"}, "🙂"),
        ({"text": "45", "occurrence": None}, "45"),
    ],
)
def test_a_span_names_characters(entry: dict[str, Any], covered: str) -> None:
    (span,) = column_spans({"marks": [entry]}, "marks", TEXT)
    assert TEXT[span.start : span.end] == covered
    if entry.get("occurrence"):
        assert span.start == TEXT.index("45", TEXT.index("45") + 1)


@pytest.mark.parametrize(
    ("column", "entries", "words"),
    [
        ("weights", [{"text": "46", "weight": 1}], "does not occur"),
        ("weights", [{"text": "45", "occurrence": 4, "weight": 1}], "occurrence 4"),
        ("weights", [{"text": "45", "occurrence": 0, "weight": 1}], "occurrence 0"),
        ("weights", [{"text": "45"}], "no span"),
        ("weights", [{"text": "45", "weight": True}], "no span"),
        ("weights", [{"text": "45", "weight": float("nan")}], "no span"),
        ("weights", [{"text": "", "weight": 1}], "no span"),
        ("weights", [{"start": 8, "end": 8, "weight": 1}], "not there"),
        ("weights", [{"start": 8, "end": 999, "weight": 1}], "not there"),
        ("weights", [{"start": 8, "weight": 1}], "no span"),
        ("weights", [{"text": "45", "wieght": 1}], "no span"),
        ("weights", {"text": "45", "weight": 1}, "must be a list"),
        ("weights", ["45"], "no span"),
        ("weights", [{"text": "45 pl", "weight": 1}, {"text": "plums", "weight": 2}], "two weights cover 'pl'"),
        ("marks", [{"text": "45", "weight": 1}], "no span"),
        ("marks", [{"start": 8, "end": 10, "text": "46"}], "'46'"),
    ],
)
def test_what_is_no_span_is_refused_and_listed(column: str, entries: Any, words: str) -> None:
    with pytest.raises(DataError, match="(?s)" + words):
        column_spans({column: entries}, column, TEXT)
    assert any(words in told for told in faults({column: entries}, column, TEXT))


def test_a_token_has_the_mean_of_its_characters() -> None:
    """Written out: ' plums' with half a weight of -1, white space aside; a token outside keeps 1."""
    text = "4 plums"
    (span,) = column_spans({"weights": [{"text": "plu", "weight": -1}]}, "weights", text)
    assert token_weights([span], [(0, 1), (1, 7)], text) == [1.0, pytest.approx((3 * -1 + 2 * 1) / 5)]
    with pytest.raises(DataError, match="ends inside the token ' plums'"):
        token_weights([span], [(0, 1), (1, 7)], text, partial="refuse")
    (whole,) = column_spans({"weights": [{"text": "plums", "weight": -1}]}, "weights", text)
    assert token_weights([whole], [(0, 1), (1, 7)], text, partial="refuse") == [1.0, -1.0]
    assert marked_tokens([span], [(0, 1), (1, 7)], text) == [False, True]


def test_one_data_set_gives_the_same_spans_under_two_tokenizers() -> None:
    weights = [{"text": "45", "occurrence": 2, "weight": -1.0}, {"text": "plums 🙂", "weight": 0.5}]
    record = row(weights=weights, marks=[{"text": "sells"}])
    seen = []
    for tokenizer in (tiny_tokenizer(), merged_tokenizer()):
        example = encoded(tokenizer, record)
        assert example.span_weights is not None
        assert example.marks is not None
        assert len(example.span_weights) == len(example.marks) == len(example.response)
        pieces = token_pieces(tokenizer, example.response)
        by_weight = {
            weight: "".join(p for p, w in zip(pieces, example.span_weights, strict=True) if w == weight)
            for weight in (-1.0, 0.5)
        }
        marked = "".join(piece for piece, mark in zip(pieces, example.marks, strict=True) if mark)
        seen.append(({w: text.replace(" ", "") for w, text in by_weight.items()}, marked.strip(), len(pieces)))
    assert seen[0][:2] == seen[1][:2] == ({-1.0: "45", 0.5: "plums🙂"}, "sells")
    assert seen[1][2] < seen[0][2] - 15  # the second really has other tokens


@pytest.mark.parametrize("make", [tiny_tokenizer, merged_tokenizer])
@pytest.mark.parametrize("response", [TEXT, f"  {TEXT}\n", "é🙂\n🙂"])
def test_places_from_offsets_and_from_pieces_agree(make: Any, response: str) -> None:
    """The map knows the pieces only; training asks the tokenizer."""
    tokenizer = make()
    marks = [{"text": "🙂"}] + ([{"text": "45"}] if "45" in response else [])
    record = row(response=response, marks=marks)
    example = encoded(tokenizer, record)
    pieces = token_pieces(tokenizer, example.response)
    spans = column_spans({"marks": marks}, "marks", response)
    assert marked_tokens(spans, piece_places(pieces, response), response) == list(example.marks or ())
    assert sum(example.marks or ()) > 0


def test_a_weight_inside_a_token_is_shared_or_refused() -> None:
    tokenizer = merged_tokenizer()
    record = row(weights=[{"text": "plu", "weight": 0}])
    shared = encoded(tokenizer, record).span_weights or ()
    assert any(0 < weight < 1 for weight in shared)
    with pytest.raises(DataError, match="row 'r': a weight ends inside the token"):
        encoded(tokenizer, record, partial_tokens="refuse")
    assert encoded(tiny_tokenizer(), record, partial_tokens="refuse").span_weights is not None


def test_what_does_not_occur_is_refused_with_its_row() -> None:
    with pytest.raises(DataError, match="row 'r': weights: 'plum tree' does not occur"):
        encoded(tiny_tokenizer(), row(weights=[{"text": "plum tree", "weight": 2}]))


def test_marks_belong_to_wrong_responses_alone() -> None:
    record = row(marks=[{"text": "45"}]).model_copy(update={"verdict": WRONG.model_copy(update={"correct": True})})
    assert encoded(tiny_tokenizer(), record).marks is None


@pytest.mark.parametrize("shape", ["n", "n k"])
def test_a_weight_multiplies_its_tokens_gradient(shape: str) -> None:
    from nlft.lm.score import _weighed

    logp = torch.randn(*([4] if shape == "n" else [4, 3]), dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, -1.0, 0.5, 0.0])
    weighed = _weighed(logp, weights)
    assert torch.equal(weighed, logp)
    (weighed.exp().sum()).backward()
    factor = weights.double().reshape(-1, *[1] * (logp.dim() - 1))
    torch.testing.assert_close(logp.grad, logp.detach().exp() * factor)


def test_data_check_lists_what_matches_nothing(tmp_path: Any) -> None:
    path = tmp_path / "judged.jsonl"
    good, bad = row(weights=[{"text": "45", "weight": -1}]), row(weights=[{"text": "46", "weight": -1}])
    lines = [record.model_dump() | {"id": name} for name, record in (("a", good), ("b", bad))]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = CliRunner().invoke(app, ["data", "check", str(path)])
    assert result.exit_code == 1
    assert "weights that match nothing or are no spans: 1" in result.stdout
    assert "line 2, b: weights: '46' does not occur in the response" in result.stdout
