"""Problems to start from: GSM8K, and grade-school word problems made on the spot, offline."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from nlft.data.hub import load_hub_rows
from nlft.data.subset import subset_rows
from nlft.errors import ConfigError, DataError
from nlft.files import read_objects
from nlft.grade.task_scorer import reasoning_gym
from nlft.records import Problem, parse_record

GSM8K = "openai/gsm8k"
OFFICIAL = "https://github.com/openai/grade-school-math/tree/master/grade_school_math/data"

Generator = Callable[[Random, float], dict[str, Any]]

# Kinds whose text or solution reasoning-gym itself lists as in need of repair (`tasks_need_fix`, 0.1.25).
FLAWED = frozenset({32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98})
# Binary fractions that shine through ("0.30000000000000004") would teach nonsense; such a draw is thrown away.
ROUNDING_NOISE = re.compile(r"\.[0-9]{5}")
DRAWS = 1000


def gsm8k(split: str = "train", n: int | None = None, seed: int = 42, path: str | Path | None = None) -> list[Problem]:
    """GSM8K's problems, or the first n of one seeded shuffle.

    Args:
        split: "train" (7,473 problems) or "test" (1,319).
        n: How many; None means all, in the order of the file.
        seed: Shuffle seed; subsets of one seed are nested.
        path: A folder with the official train.jsonl and test.jsonl, or one of these files; None means the hub.

    Returns:
        Problems with ids like `gsm8k-train-1458` (the row of the official file, from 0).

    Raises:
        ConfigError: for another split, or n out of range.
        DataError: when the hub cannot be reached, or a file is missing or damaged.

    Source: Cobbe et al. 2021, arXiv 2110.14168.
    """
    if split not in ("train", "test"):
        raise ConfigError(f'GSM8K has no split "{split}"', remedy='choose "train" or "test"')
    if path is None:
        file: str | Path = f"{GSM8K}/{split}"
        remedy = f"give --path FOLDER with the official train.jsonl and test.jsonl ({OFFICIAL})"
        numbered: Iterable[tuple[int, dict[str, Any]]] = enumerate(
            load_hub_rows(GSM8K, config="main", split=split, remedy=remedy), start=1
        )
    else:
        file = Path(path) / f"{split}.jsonl" if Path(path).is_dir() else Path(path)
        numbered = read_objects(file)
    rows = list(numbered)
    if not rows:
        raise DataError("the file holds no rows", file=file, remedy=f"download it again: {OFFICIAL}")
    return [_official(f"gsm8k-{split}-{row}", *rows[row], file) for row in subset_rows(len(rows), n, seed)]


def _official(identity: str, line: int, row: Mapping[str, Any], file: str | Path) -> Problem:
    for field in ("question", "answer"):
        if field not in row:
            remedy = f"give the official file: {OFFICIAL}"
            raise DataError(f'the field "{field}" is missing', file=file, line=line, remedy=remedy)
    problem = {"id": identity, "question": row["question"], "reference": row["answer"]}
    return parse_record(problem, Problem, file=file, line=line)


def gsm_symbolic(
    n: int,
    seed: int = 0,
    kinds: Sequence[int] | None = None,
    difficulty: float = 1.0,
    *,
    exclude: Collection[str] = (),
) -> list[Problem]:
    """Make n word problems with reasoning-gym, each kind as often as every other (give or take one).

    The same arguments give the same problems, and fewer problems are a prefix of more. No question
    occurs twice. The reference is a worked solution that ends in `#### number`, as in GSM8K.

    Args:
        n: How many.
        seed: Names and numbers follow from it; different seeds share no random stream.
        kinds: Restrict to these templates (see `gsm_symbolic_kinds`); None means all.
        difficulty: Scales the range of the numbers; from 1.0 up (the templates break below it).
        exclude: Questions that must not come up, such as those of the training set in a test set.

    Returns:
        Problems with ids like `gsm_symbolic-17-s0-3` (kind, seed, row) and a field `kind`.

    Raises:
        ConfigError: for an unknown kind, n < 1, difficulty < 1, or where reasoning-gym is not installed.
        DataError: when a kind has not enough different problems to give.

    Source: GSM-Symbolic (arXiv 2410.05229), as reimplemented in reasoning-gym.
    """
    return list(_draw_all(n, seed, kinds, difficulty, set(exclude)))


def gsm_symbolic_kinds() -> list[int]:
    """The numbers of the templates that `gsm_symbolic` draws from when not told."""
    return sorted(set(_generators()) - FLAWED)


def _draw_all(n: int, seed: int, kinds: Sequence[int] | None, difficulty: float, asked: set[str]) -> Iterator[Problem]:
    if n < 1:
        raise ConfigError(f"n is {n}, so there is nothing to make", remedy="ask for one problem or more")
    if not difficulty >= 1.0:
        raise ConfigError(f"the difficulty is {difficulty}, below 1.0", remedy="choose 1.0 or more")
    chosen = _known(kinds)
    for row in range(n):
        block, place = divmod(row, len(chosen))
        order = list(chosen)
        Random(f"gsm_symbolic:{seed}:{block}").shuffle(order)
        yield _draw(order[place], seed, row, difficulty, asked)


def _known(kinds: Sequence[int] | None) -> list[int]:
    if kinds is None:
        return gsm_symbolic_kinds()
    if not kinds:
        raise ConfigError("the list of kinds is empty", remedy="leave it out to draw from all kinds")
    for kind in kinds:
        if kind not in _generators():
            raise ConfigError(f"there is no kind {kind}", remedy=f"choose from 0 to {max(_generators())}")
    return list(dict.fromkeys(kinds))


def _draw(kind: int, seed: int, row: int, difficulty: float, asked: set[str]) -> Problem:
    for draw in range(DRAWS):
        try:
            example = _generators()[kind](Random(f"gsm_symbolic:{seed}:{row}:{kind}:{draw}"), difficulty)
        except ValueError:
            continue  # the template found no numbers that fit together
        question = " ".join(str(example["question"]).split())
        reference = _reference(example)
        if reference is None or question in asked:
            continue
        asked.add(question)
        return Problem.model_validate(
            {"id": f"gsm_symbolic-{kind}-s{seed}-{row}", "question": question, "reference": reference, "kind": kind}
        )
    raise DataError(
        f"kind {kind} gave no new problem in {DRAWS} draws",
        remedy="ask for fewer problems, name more kinds, or raise the difficulty",
    )


def _reference(example: Mapping[str, Any]) -> str | None:
    """The worked solution with `#### number` as its last line; None where text and answer do not agree."""
    steps, mark, number = str(example["metadata"]["answer_cot"]).rpartition("#### ")
    answer = str(example["answer"])
    if not mark or number.strip().removesuffix(".0") != answer.removesuffix(".0"):
        return None
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]{1,2})?", answer) or ROUNDING_NOISE.search(steps):
        return None
    return f"{steps.rstrip()}\n#### {answer.removesuffix('.0')}"


@cache
def _generators() -> dict[int, Generator]:
    dataset = reasoning_gym("gsm_symbolic").create_dataset("gsm_symbolic", size=1, seed=0)
    generators: dict[int, Generator] = dataset.generators
    return generators
