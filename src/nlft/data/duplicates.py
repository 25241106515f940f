"""Texts that are the same, or nearly: MinHash over shingles of three words, checked exactly.

The similarity of two texts is the Jaccard index of their shingles, |A and B| / |A or B|. MinHash with
16 bands of 4 finds a pair of similarity 0.8 with probability 1 - (1 - 0.8^4)^16 > 0.999; each found pair is then
measured exactly, so no false pair is reported. Memory: about four kilobytes a text.

Source: Broder 1997, "On the resemblance and containment of documents".
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHINGLE = 3  # words
BANDS, WIDTH = 16, 4
PRIME = (1 << 31) - 1
# A word, or a sign of arithmetic before a number: 5 - 3 is not 5 + 3.
WORD = re.compile(r"\w+|[-−+*×/÷=<>^](?=\s*\d)")

Shingles = NDArray[np.int64]
Bands = tuple[tuple[int, bytes], ...]

_RANDOM = np.random.default_rng(0)
FACTORS = _RANDOM.integers(1, PRIME, size=(BANDS * WIDTH, 1))
TERMS = _RANDOM.integers(0, PRIME, size=(BANDS * WIDTH, 1))


def normalised(text: str) -> str:
    """A text in lower case, without punctuation and with single spaces; signs of arithmetic stay.

    >>> normalised("How many  apples -- in all?") == normalised("how many apples in all")
    True
    >>> normalised("What is 5 - 3?") == normalised("What is 5+3?")
    False
    """
    return " ".join(WORD.findall(text.casefold()))


def shingles(text: str) -> Shingles:
    """The distinct hashes of a text's runs of three words; of all its words when it has fewer."""
    words = WORD.findall(text.casefold())
    runs = [" ".join(words[i : i + SHINGLE]) for i in range(max(1, len(words) - SHINGLE + 1))]
    hashes = [zlib.crc32(run.encode("utf-8", "surrogatepass")) % PRIME for run in runs]
    return np.unique(np.array(hashes, dtype=np.int64))


def similarity(a: Shingles, b: Shingles) -> float:
    """The Jaccard index, from 0 (nothing shared) to 1 (the same shingles)."""
    shared = np.intersect1d(a, b, assume_unique=True).size
    return float(shared / (a.size + b.size - shared))


class NearDuplicates:
    """A growing collection of texts that finds the earlier one most like a new text.

    Args:
        threshold: The similarity from which two texts count as near duplicates; below 0.7 MinHash
            begins to miss pairs.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        self.threshold = threshold
        self._texts: list[tuple[Any, Shingles]] = []
        self._buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)

    def add(self, key: Any, text: str) -> None:
        """Add a text under a key of your choice."""
        parts, bands = _signature(text)
        for bucket in bands:
            self._buckets[bucket].append(len(self._texts))
        self._texts.append((key, parts))

    def like(self, text: str) -> tuple[Any, float] | None:
        """The key and similarity of the text most like this one, the earliest of several; or None."""
        parts, bands = _signature(text)
        candidates = sorted({index for bucket in bands for index in self._buckets.get(bucket, ())})
        best: tuple[Any, float] | None = None
        for index in candidates:
            key, other = self._texts[index]
            value = similarity(parts, other)
            if value >= self.threshold and (best is None or value > best[1]):
                best = key, value
        return best


@lru_cache(maxsize=1)  # a text is looked up and added, perhaps in two collections
def _signature(text: str) -> tuple[Shingles, Bands]:
    """A text's shingles, and the buckets it falls into."""
    parts = shingles(text)
    # Products stay below 2^62, so int64 holds them.
    smallest = ((FACTORS * parts + TERMS) % PRIME).min(axis=1).astype(np.int32)
    return parts, tuple((band, smallest[band * WIDTH : (band + 1) * WIDTH].tobytes()) for band in range(BANDS))
