"""The data step: problems from a source, as a file of records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path

from nlft.data.config import FileSettings, GSM8KSettings, GSMSymbolicSettings, ReadSettings, ReasoningGymSettings
from nlft.data.load import Reader, load_problems
from nlft.data.reasoning_tasks import reasoning_task
from nlft.data.sources import gsm8k, gsm_symbolic
from nlft.data.subset import hold_out, subset_rows
from nlft.edits import Edits
from nlft.errors import ConfigError, DataError
from nlft.files import names_of, read_objects, refuse_same_file, write_lines
from nlft.progress import Outcome
from nlft.records import Problem, teacher_of, write_records

Source = GSM8KSettings | GSMSymbolicSettings | ReasoningGymSettings | FileSettings


def make_problems(settings: Source) -> Iterable[Problem]:
    """The problems of a source, in order.

    Raises:
        ConfigError: for a format or task that does not exist, or n out of range.
        DataError: with file and line, for a row that cannot be read; when the hub cannot be reached.
    """
    if isinstance(settings, GSM8KSettings):
        return gsm8k(settings.split, settings.n, settings.seed, settings.path)
    if isinstance(settings, GSMSymbolicSettings):
        kinds = settings.kinds if isinstance(settings.kinds, list) else None
        return gsm_symbolic(settings.n, settings.seed, kinds, settings.difficulty)
    if isinstance(settings, ReasoningGymSettings):
        return reasoning_task(settings.task, settings.n, settings.seed, settings.config, form=settings.form)
    read = partial(
        load_problems,
        format=settings.format,
        columns=settings.map,
        split=settings.split,
        config=settings.config,
        first_exchange=settings.first_exchange,
    )
    n = settings.n if settings.part == "all" else None
    rows = read(settings.source, n=n, seed=settings.seed)
    if settings.also:
        files = [settings.source, *settings.also]
        rows = merged(zip(names_of([Path(file) for file in files]), [rows, *map(read, settings.also)], strict=True))
    if settings.part == "all":
        return rows
    every = list(rows)
    train, test = hold_out(every, settings.test_n or max(1, len(every) // 5), settings.seed)
    chosen = train if settings.part == "train" else test
    return [chosen[place] for place in subset_rows(len(chosen), settings.n, settings.seed)]


def run(
    settings: Source,
    output: Path,
    *,
    test: Path | None = None,
    test_n: int | None = None,
) -> Outcome:
    """Write the problems of a source as JSONL.

    Args:
        settings: The source.
        output: The file to write.
        test: A second file, for questions that are held out to test on.
        test_n: How many questions to hold out; a fifth if None.

    Raises:
        ConfigError, DataError: as `make_problems`; where an output is an input.
    """
    sources = [settings.source, *settings.also] if isinstance(settings, FileSettings) else []
    for path in [output] if test is None else [output, test]:
        for source in sources:
            refuse_same_file(source, path)
    rows = make_problems(settings)
    if test is None:
        return Outcome(f"{write_records(output, rows)} rows -> {output}")
    refuse_same_file(output, test)
    kept = list(rows)
    train, held = hold_out(kept, test_n or max(1, len(kept) // 5), settings.seed)
    return Outcome(f"{write_records(test, held)} rows -> {test}\n{write_records(output, train)} rows -> {output}")


def apply_edits(rows: Path, output: Path) -> Outcome:
    """Merge a file of rows with what a person changed in it (`nlft.edits`); both stay as they are.

    Raises:
        DataError: if nothing was edited, or a line cannot be read.
        ConfigError: if the output is the input.
    """
    refuse_same_file(rows, output)
    edits = Edits.of(rows)
    if not edits:
        raise DataError("nobody has edited these rows", file=rows, remedy=f"`nlft view {rows} --serve --edit` does")
    changed = skipped = ungraded = 0

    def lines() -> Iterator[str]:
        nonlocal changed, skipped, ungraded
        for _, row in read_objects(rows):
            made = edits.apply(row)
            skipped += made is None
            if made is not None:
                changed += made != row
                ungraded += "verdict" in row and "verdict" not in made
                yield json.dumps(made, ensure_ascii=False, allow_nan=False)

    told = [f"{write_lines(output, lines())} rows, {changed} of them edited, {skipped} skipped -> {output}"]
    if ungraded:
        told.append(f"{ungraded} have a new response without a verdict: nlft grade {output} -o graded.jsonl")
    return Outcome("\n".join(told))


def merged(files: Iterable[tuple[str, Iterable[Problem]]]) -> Iterator[Problem]:
    """The rows of several sources, one source after the other: ids stay unique, and `source` says whose a row is.

    That is who answered (`answerer`), or else the row's own `source`, or else the name of its file. An id that an earlier
    row has gets it as a suffix: `12@teacher`.

    Args:
        files: The name of each file, and its rows.
    """
    seen: set[str] = set()
    for file, rows in files:
        for row in rows:
            source = teacher_of(row) or file
            names = chain([row.id, f"{row.id}@{source}"], (f"{row.id}@{source}-{n}" for n in count(2)))
            identity = next(name for name in names if name not in seen)
            seen.add(identity)
            yield row.model_copy(update={"id": identity, "source": source})


def merge_files(settings: ReadSettings, files: Sequence[Path], output: Path) -> Outcome:
    """Write the rows of several files as one; see `merged`.

    Raises:
        ConfigError: for one file only, one that is given twice, or an output that is an input.
        DataError: with file and line, for a row that cannot be read.
    """
    if len(files) < 2 or len({path.resolve() for path in files}) < len(files):
        raise ConfigError("there is nothing to merge with", remedy="name two or more different files")
    for path in files:
        refuse_same_file(path, output)
    read = [(record for _, record in Reader.of(path, settings).records()) for path in files]
    rows = merged(zip(names_of(files), read, strict=True))
    counts: Counter[str] = Counter()

    def counted() -> Iterator[Problem]:
        for row in rows:
            counts[str(dict(row)["source"])] += 1
            yield row

    total = write_records(output, counted())
    lines = [f"{total} rows -> {output}", *(f"  {n} of {source}" for source, n in counts.items())]
    return Outcome("\n".join(lines), data={"output": output, "rows": total, "of": counts})
