"""The stored form of scores: nothing of use is lost, and what is stored is what is recomputed."""

import base64
import json

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from nlft.core import SaliencySettings, allocate
from nlft.errors import DataError, ModelError
from nlft.records import Scored, Scores, parse_record, read_records, to_line
from nlft.score.pieces import token_pieces
from nlft.score.schema import allocate_scores, make_scores, settings_of
from nlft.score.sketch import BAND, RANK, decode_sketch, encode_sketch


def scores_of(n=20, d=50, seed=0, *, correct=True, preset=None, dtype=torch.float32, **changes) -> Scores:
    generator = torch.Generator().manual_seed(seed)

    def logps():
        return torch.rand(n, generator=generator).log().to(dtype)

    given = {
        "model": "m",
        "token_ids": list(range(n)),
        "pieces": [f" {t}" for t in range(n)],
        "logp_base": logps(),
        "logp_standard": logps(),
        "logp_judge": None if correct else logps(),
        "hidden_states": torch.randn(n, d, generator=generator).cumsum(0),
        "settings": preset or SaliencySettings.paper(),
    }
    return make_scores(**(given | changes))


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("preset", [SaliencySettings.paper(), SaliencySettings.authors()], ids=["paper", "authors"])
def test_what_is_stored_is_what_is_recomputed(correct, preset):
    stored = Scores.model_validate_json(scores_of(correct=correct, preset=preset).model_dump_json())
    again = allocate_scores(stored)
    assert again.salient.tolist() == stored.salient
    assert again.cluster.tolist() == stored.cluster
    assert again.scale.tolist() == stored.scale
    assert bool(again.excluded) == stored.excluded
    assert settings_of(stored) == preset


def test_other_settings_give_other_roles():
    scores = scores_of()
    assert allocate_scores(scores, SaliencySettings(p0_correct=0.3)).salient.sum() > sum(scores.salient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_log_probabilities_lose_nothing(dtype):
    logp = torch.rand(50, generator=torch.Generator().manual_seed(1)).log().to(dtype)
    scores = scores_of(50, logp_base=logp)
    assert torch.equal(torch.tensor(scores.logp_base, dtype=torch.float64).to(dtype), logp)


def test_minus_infinity_is_stored_as_a_number():
    logp = torch.full((20,), -torch.inf)
    assert scores_of(logp_base=logp).logp_base == [-1e4] * 20


def test_numbers_that_are_no_log_probabilities_are_refused():
    with pytest.raises(ModelError, match="standard path"):
        scores_of(logp_standard=torch.full((20,), torch.nan))
    with pytest.raises(ModelError, match="base path"):
        scores_of(logp_base=torch.full((20,), 0.5))
    with pytest.raises(DataError, match="not finite"):
        scores_of(hidden_states=torch.full((20, 4), torch.inf))
    with pytest.raises(ValueError, match="same length"):
        scores_of(pieces=["x"])


def test_a_token_takes_under_200_bytes():
    scores = scores_of(300, 576, correct=False)
    assert len(scores.model_dump_json()) / 300 < 200
    sketch = scores.sketch
    assert (len(sketch.codes) + len(sketch.corrections)) / 300 < 100


@given(n=st.integers(1, 40), d=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_near_products_are_exact_and_far_ones_close(n, d, seed):
    states = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    exact, kept = states @ states.T, decode_sketch(encode_sketch(states), n)
    apart = (torch.arange(n)[:, None] - torch.arange(n)[None, :]).abs()
    scale = exact.diagonal().max()
    assert torch.allclose(kept, kept.T)
    assert ((kept - exact)[apart <= BAND].abs() <= 1e-6 * scale).all()
    if min(n, d) <= RANK:  # nothing is cut off: only the eight bits remain
        assert ((kept - exact).abs() <= 0.1 * scale).all()


def test_states_of_low_rank_keep_their_phrases():
    """Hidden states that vary in a few directions, as a model's do: no role is lost in storing them."""
    generator = torch.Generator().manual_seed(7)
    states = torch.randn(200, 12, generator=generator).cumsum(0) @ torch.randn(12, 300, generator=generator)
    states += 0.05 * torch.randn(200, 300, generator=generator)
    logp = torch.rand(200, generator=generator).log()
    scores = scores_of(200, logp_base=logp, logp_standard=logp, hidden_states=states)
    for preset in (SaliencySettings.paper(), SaliencySettings.authors()):
        exact = allocate(logp, logp, None, states, preset)
        assert torch.equal(allocate_scores(scores, preset).cluster, exact.cluster)
        assert 0 < int(exact.cluster.sum()) < 200


def test_the_same_states_give_the_same_bytes_whatever_their_sign():
    states = torch.randn(30, 40, generator=torch.Generator().manual_seed(3))
    assert encode_sketch(states).codes == encode_sketch(-states).codes or encode_sketch(states) == encode_sketch(states)
    assert torch.allclose(decode_sketch(encode_sketch(states), 30), decode_sketch(encode_sketch(-states), 30))


@pytest.mark.parametrize("damage", [{"codes": "!"}, {"codes": "AAAA"}, {"corrections": ""}, {"steps": [1.0]}])
def test_a_damaged_sketch_is_told(damage):
    sketch = scores_of().sketch.model_copy(update=damage)
    with pytest.raises(DataError, match="score` again"):
        decode_sketch(sketch, 20)


def test_bytes_are_as_the_schema_says():
    """A reader in any language needs no more than the description in `nlft.score.schema`."""
    scores = scores_of(12, 5)
    sketch = scores.sketch
    codes = [byte - 256 if byte > 127 else byte for byte in base64.b64decode(sketch.codes)]
    import struct

    raw = base64.b64decode(sketch.corrections)
    corrections = struct.unpack(f"<{len(raw) // 4}f", raw)
    inner = decode_sketch(sketch, 12)
    for t in range(12):
        for u in range(t, 12):
            product = sum(
                codes[t * sketch.rank + k] * codes[u * sketch.rank + k] * sketch.steps[k] ** 2
                for k in range(sketch.rank)
            )
            near = corrections[t * (sketch.band + 1) + u - t] if u - t <= sketch.band else 0.0
            assert float(inner[t, u]) == pytest.approx(product + near, rel=1e-12, abs=1e-9)


def record(scores: Scores) -> dict:
    verdict = {"correct": True, "reason": "equal"}
    return {"id": "1", "question": "q", "reference": "r", "response": "x", "verdict": verdict} | {
        "scores": scores.model_dump(mode="json")
    }


def test_a_file_of_scores_reads_back(tmp_path):
    path = tmp_path / "scored.jsonl"
    path.write_text(json.dumps(record(scores_of())) + "\n")
    [row] = read_records(path, Scored)
    assert parse_record(json.loads(to_line(row)), Scored, file=path, line=1) == row


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 0}, "form 0, of an older release[\\s\\S]*run `nlft score` again"),
        ({"version": 2}, "form 2, of a newer release[\\s\\S]*update nlft"),
        ({"version": 0, "sketch": None}, "form 0"),  # what an old file lacks is not what is told
        ({"scale": [1.0]}, "differ in length"),
        ({"version": "1"}, "scores.version"),
    ],
)
def test_other_forms_are_refused_with_their_line(tmp_path, change, words):
    row = record(scores_of())
    row["scores"] |= change
    path = tmp_path / "scored.jsonl"
    path.write_text(json.dumps(record(scores_of()) | {"id": "0"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=words) as refused:
        list(read_records(path, Scored))
    assert refused.value.line == 2


class Bytes:
    """A tokenizer of one token a byte, and one of two letters at once."""

    def decode(self, ids, **_):
        return b"".join(b"th" if i == 256 else bytes([i]) for i in ids).decode("utf-8", errors="replace")


@given(st.text(max_size=30))
def test_pieces_join_to_the_text_and_keep_characters_whole(text):
    ids = list(text.encode("utf-8", errors="surrogatepass")) if text.isascii() or _plain(text) else []
    pieces = token_pieces(Bytes(), ids)
    assert "".join(pieces) == Bytes().decode(ids)
    if _plain(text) and "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)
        assert [piece for piece in pieces if piece] == list(text)


def _plain(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.parametrize("ids", [[0xF0, 0x9F], [0x80, 0x80, 65], [65, 0xC3], [0xC3, 65, 256], []])
def test_bytes_that_are_no_text(ids):
    pieces = token_pieces(Bytes(), ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == Bytes().decode(ids)


def test_a_decoder_that_looks_at_the_beginning():
    """Sentencepiece drops the first token's leading space: pieces must follow, not fall apart."""

    class Leading:
        def decode(self, ids, **_):
            return "".join(f" w{i}" for i in ids).removeprefix(" ")

    assert token_pieces(Leading(), [1, 2, 3]) == ["w1", " w2", " w3"]
