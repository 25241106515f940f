from .journal import AppendOnlyFile
from .jsonl import (
    content_hash,
    decode,
    load_json,
    open_data,
    read_objects,
    refuse_same_file,
    write_lines,
)
from .lock import candidates_path, edits_path, failed_path, journal_path, names_of, rejected_path, sole_writer

__all__ = [
    "AppendOnlyFile",
    "candidates_path",
    "content_hash",
    "decode",
    "edits_path",
    "failed_path",
    "journal_path",
    "load_json",
    "names_of",
    "open_data",
    "read_objects",
    "refuse_same_file",
    "rejected_path",
    "sole_writer",
    "write_lines",
]
