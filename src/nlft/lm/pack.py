"""Which tokens a batch of sequences share, and how they are packed so that each is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nlft.lm.attention import Segment, Span


@dataclass(frozen=True)
class TokenPath:
    """One response under one prompt, as token ids (the paper's X and Y)."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Prompt and response in one."""
        return self.prompt + self.response


@dataclass(frozen=True)
class PackedSequence:
    """Where a sequence's tokens are: `spans` in order, the last of them usually its own segment."""

    tokens: tuple[int, ...]
    spans: tuple[Span, ...]

    def first(self, count: int) -> tuple[Span, ...]:
        """The spans of the first `count` tokens."""
        taken: list[Span] = []
        for span in self.spans:
            if count <= 0:
                break
            length = min(len(span), count)
            taken.append(Span(span.start, span.start + length, span.cached))
            count -= length
        return tuple(taken)

    def positions(self, start: int, stop: int) -> list[int]:
        """Where tokens `start` to `stop` of the sequence are in the pack; they may not be cached ones."""
        flat = [position for span in self.spans for position in range(span.start, span.stop)]
        return flat[start:stop]

    def cached(self) -> PackedSequence:
        """The same sequence, as a later pass sees it: all of it in the cache."""
        return PackedSequence(self.tokens, tuple(Span(s.start, s.stop, cached=True) for s in self.spans))


@dataclass(frozen=True)
class Layout:
    """A pack before it is run: `ids` and `positions` of its tokens, its segments, and where each sequence is."""

    ids: list[int]
    positions: list[int]
    segments: list[Segment]
    sequences: list[PackedSequence]


def pack_sequences(
    sequences: Sequence[tuple[int, ...]], *, cached: Sequence[PackedSequence] = (), fresh_from: Sequence[int] = ()
) -> Layout:
    """Pack `sequences` so that no token is computed twice.

    Each sequence continues from whichever earlier one it shares the longest beginning with, in this
    pack or among `cached`; only the rest of it becomes a new segment.

    Args:
        sequences: Token ids, none empty.
        cached: Sequences of the pass whose keys and values this one continues from.
        fresh_from: For each sequence, the first token that must be computed here even if it is cached
            (a cache holds no hidden states); none by default.
    """
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    packed: list[PackedSequence] = []
    for number, tokens in enumerate(sequences):
        limit = fresh_from[number] if fresh_from else len(tokens)
        best: tuple[Span, ...] = ()
        shared = 0
        for earlier in (*cached, *packed):
            length = min(_common(earlier.tokens, tokens), _safe(earlier, limit))
            if length > shared:
                shared, best = length, earlier.first(length)
        start = len(ids)
        if shared < len(tokens):
            ids.extend(tokens[shared:])
            positions.extend(range(shared, len(tokens)))
            segments.append(Segment(start, len(ids), best))
            packed.append(PackedSequence(tokens, (*best, Span(start, len(ids)))))
        else:
            packed.append(PackedSequence(tokens, best))
    return Layout(ids, positions, segments, packed)


def _safe(earlier: PackedSequence, limit: int) -> int:
    """How much of `earlier` may be shared so that no token from `limit` on is a cached one."""
    count = 0
    for span in earlier.spans:
        if span.cached and count + len(span) > limit:
            return limit
        count += len(span)
    return count


def _common(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """Length of the common beginning, by bisection on slices (whose comparison runs at C speed)."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
