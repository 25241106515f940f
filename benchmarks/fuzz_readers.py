"""Fuzz the readers with atheris, which is no dependency: `pip install atheris && python benchmarks/fuzz_readers.py`.

Options are libFuzzer's, such as `-max_total_time=600`. What it finds becomes an example in `tests/data/test_readers_fuzz.py`.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["nlft"]):
    from nlft.data import load_problems
    from nlft.data.file_formats import FILE_FORMATS
    from nlft.edits import Edits, edits_path
    from nlft.errors import NLFTError
    from nlft.files.yaml import read_yaml
    from nlft.pipeline.recipe import load_recipe
    from nlft.records import Attempt, Judged, Scored, read_records, to_line

HOME = Path(tempfile.mkdtemp())
SUFFIXES = [*(name for name in FILE_FORMATS if name != "parquet"), "edits", "yaml", "recipe"]


def read(suffix: str, path: Path) -> None:
    """Read a file as each of its readers does; what is written of a row can be read again."""
    if suffix == "yaml":
        read_yaml(path)
    elif suffix == "recipe":
        load_recipe(path)
    elif suffix == "edits":
        Edits.of(path)
    else:
        again = path.with_name("again.jsonl")
        again.write_text("".join(to_line(row) + "\n" for row in load_problems(path)), encoding="utf-8")
        list(load_problems(again))
        if suffix == "jsonl":
            for kind in (Attempt, Judged, Scored):
                list(read_records(path, kind))


def once(data: bytes) -> None:
    """One input: its first byte says which reader, the rest is the file."""
    if not data:
        return
    suffix = SUFFIXES[data[0] % len(SUFFIXES)]
    path = HOME / {"recipe": "in.yaml", "edits": "in.jsonl"}.get(suffix, f"in.{suffix}")
    (edits_path(path) if suffix == "edits" else path).write_bytes(data[1:])
    try:
        read(suffix, path)
    except NLFTError as error:
        if not error.message.isprintable():
            raise RuntimeError("the message could move the cursor") from error
    finally:
        for each in HOME.iterdir():
            each.unlink()


if __name__ == "__main__":
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()
