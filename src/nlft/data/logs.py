"""Sample logs of other evaluations, as graded rows: lm-eval's `--log_samples` and Inspect's `.eval` and `.json`.

Both are read here and not by the tools' own readers: lm-eval has none, and Inspect's comes with more than 300 MB of packages
(0.3.285) for what is JSON, alone or in a ZIP archive.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nlft.data.chats import exchange
from nlft.data.schemas import likeliest
from nlft.errors import DataError
from nlft.files import load_json, open_data, read_objects

logger = logging.getLogger("nlft")

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row]]

SHOWN = 200
LARGEST = 1 << 28  # bytes of a file in an archive: more is no sample, but fills the memory
NOTHING = "[invalid]"  # what lm-eval's filters say where they find no answer
# Inspect's letters: correct, incorrect, partially correct, no answer.
LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
STOPS = {"stop": "stop", "max_tokens": "length", "model_length": "length"}


def read_lm_eval(path: Path, on_error: Callable[[DataError], None] | None = None) -> Rows:
    """The samples of an lm-eval log, the lines of one problem together: one line for each filter.

    `grades` holds each metric that is a share of the full credit, by its name and its filter as lm-eval prints them
    (`exact_match,strict-match`); the first of them is the verdict. The question is the problem's own column of a usual
    name, or else the prompt. Of several choices, the response is the likeliest. `doc`, `prompt` and `doc_hash` stay.

    Raises:
        DataError: with file and line, for a line that is no sample, and for a problem that the log holds twice.
    """
    found: dict[str, tuple[int, Row]] = {}
    lines: dict[tuple[str, str], int] = {}
    for line, sample in read_objects(path, on_error):
        try:
            identity, filtered = str(sample["doc_id"]), str(sample["filter"])
            if (first := lines.setdefault((identity, filtered), line)) != line:
                told = f"the sample {identity} of the filter {filtered} is already on line {first}"
                raise DataError(told, file=path, line=line, remedy="give the log of one run")
            if identity not in found:
                found[identity] = line, _lm_eval_row(identity, sample)
            grades = found[identity][1]["grades"]
            grades |= dict(_lm_eval_grades(sample, filtered))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            told = f"this is no sample of lm-eval: {type(error).__name__}: {error}"
            raise DataError(told, file=path, line=line, remedy="give a file that `--log_samples` wrote") from None
    for line, row in found.values():
        yield line, _with_verdict(row)


def _lm_eval_row(identity: str, sample: Mapping[str, Any]) -> Row:
    doc, target = dict(sample["doc"]), str(sample["target"])
    arguments = sample["arguments"]
    asked = [
        list(each.values()) if isinstance(each, Mapping) else list(each)
        for each in (arguments.values() if isinstance(arguments, Mapping) else arguments)
    ]
    replies = [each[0] for each in sample["resps"]]  # the first of several repeats, as lm-eval's `take_first`
    row: Row = {
        "id": identity,
        "doc": doc,
        "prompt": str(asked[0][0]),
        "doc_hash": sample.get("doc_hash"),
        "grades": {},
    }
    if isinstance(replies[0], str) and len(replies) == 1:
        row["response"] = replies[0]
    elif len(replies) > 1:  # the log-likelihood of each choice, and whether it is the likeliest text of all
        if "acc_mutual_info" in sample["metrics"]:  # after the choices come the same without the question
            asked = asked[: len(asked) // 2]
        choices = [str(request[1]).strip() for request in asked]
        if len(set(choices)) == 1:  # one ending to several beginnings
            choices = [str(request[0]).strip() for request in asked]
        likely = [float(reply[0]) for reply, _ in zip(replies, choices, strict=False)]
        row["response"] = choices[likely.index(max(likely))]
        target = choices[int(target)] if target.isdigit() and int(target) < len(choices) else target
    question = doc.get(likeliest(doc, "question"))
    return row | {"question": question if isinstance(question, str) else row["prompt"], "reference": target}


def _lm_eval_grades(sample: Mapping[str, Any], filtered: str) -> Iterator[tuple[str, Row]]:
    kept = sample["filtered_resps"]
    extracted = kept[0] if isinstance(kept, list) and len(kept) == 1 and isinstance(kept[0], str) else None
    for metric in sample["metrics"]:
        name = metric if filtered == "none" else f"{metric},{filtered}"
        if (grade := _grade(sample[metric], f"lm-eval's {name}", extracted)) is not None:
            yield name, grade


def read_inspect(path: Path) -> Rows:
    """The samples of an Inspect log, `.eval` or `.json`; `grades` holds each scorer's, and the first is the verdict.

    A problem asked in several epochs gives several rows, `id#0`, `id#1`, ...; a sample that ended in an error gives none,
    and a warning counts these.

    Raises:
        DataError: for a file that is no such log, or holds no samples.
    """
    with open_data(path) as stream:
        data = stream.read()
    header, samples = _archive(path, data) if data.startswith(b"PK") else _document(path, data)
    model, epochs = header.get("model"), (header.get("config") or {}).get("epochs") or 1
    failed = 0
    for number, sample in enumerate(samples, start=1):
        if sample.get("error"):
            failed += 1
            continue
        try:
            row = _inspect_row(sample, epochs)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            told = f"this is no sample of Inspect: {type(error).__name__}: {error}"
            raise DataError(told, file=path, line=number, remedy="give a log that Inspect wrote") from None
        except DataError as error:
            raise DataError(error.message, file=path, line=number, remedy=error.remedy) from None
        yield number, _with_verdict(row | ({"answerer": model} if model else {}))
    if failed:
        logger.warning("%s: %d samples ended in an error and are left out", path, failed)


def _document(path: Path, data: bytes) -> tuple[Row, Iterable[Row]]:
    try:
        log = load_json(data.decode("utf-8"), path, 1)
        return log["eval"], log.get("samples") or []
    except (UnicodeDecodeError, KeyError, TypeError):
        raise _no_log(path) from None


def _archive(path: Path, data: bytes) -> tuple[Row, Iterable[Row]]:
    try:  # Inspect compresses by Zstandard, which Python's own module reads from 3.14 on
        from backports.zstd import zipfile
    except ImportError:
        import zipfile  # type: ignore[no-redef]
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        names = [name for name in archive.namelist() if name.startswith("samples/") and name.endswith(".json")]
        if any(archive.getinfo(name).file_size > LARGEST for name in archive.namelist()):
            raise DataError("a file in this log is larger than 256 MB", file=path, remedy="give another log")
        start = "header.json" if "header.json" in archive.namelist() else "_journal/start.json"
        header = json.loads(archive.read(start))["eval"]
        return header, (_member(archive, name, path) for name in names)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError):
        raise _no_log(path) from None
    except NotImplementedError:
        remedy = 'pip install "nlft[logs]", or write it as JSON: inspect log convert --to json --output-dir FOLDER FILE'
        raise DataError("this log is compressed by Zstandard", file=path, remedy=remedy) from None


def _member(archive: Any, name: str, path: Path) -> Row:
    try:
        text = archive.read(name).decode("utf-8")
    except Exception as error:  # zipfile and the decompressors each raise their own
        raise DataError(f"{name} is damaged: {error}", file=path, remedy="copy the log again") from None
    return dict(load_json(text, path, 1))


def _no_log(path: Path) -> DataError:
    return DataError("this is no log of Inspect", file=path, remedy="give an .eval or .json file that Inspect wrote")


def _inspect_row(sample: Mapping[str, Any], epochs: int) -> Row:
    identity, target, given = str(sample["id"]), sample["target"], sample["input"]
    numbered = epochs > 1
    row: Row = {"id": f"{identity}#{sample['epoch'] - 1}" if numbered else identity, "grades": {}}
    row |= {"problem": identity, "sample": sample["epoch"] - 1} if numbered else {}
    reference = target if isinstance(target, str) else str(target[0])
    turns = [{"role": "user", "content": given}] if isinstance(given, str) else given
    row |= exchange([*turns, {"role": "assistant", "content": reference}], first_exchange=False)
    if choices := sample.get("choices"):
        row["question"] += "\n\n" + "\n".join(f"{chr(ord('A') + at)}) {text}" for at, text in enumerate(choices))
    replies = sample["output"].get("choices") or []
    if replies:
        content = replies[0]["message"]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        row["response"] = "".join(part["text"] for part in parts if part["type"] == "text")
        thoughts = "".join(part["reasoning"] for part in parts if part["type"] == "reasoning")
        row |= {"thoughts": thoughts} if thoughts else {}
        row |= {"finish_reason": STOPS.get(replies[0].get("stop_reason"))}
    for scorer, score in (sample.get("scores") or {}).items():
        values = score["value"] if isinstance(score["value"], dict) else {"": score["value"]}
        for part, value in values.items():
            name = f"{scorer},{part}" if part else scorer
            if (grade := _grade(value, f"Inspect's {name}", score.get("answer"))) is not None:
                row["grades"][name] = grade
    return row


def _grade(value: Any, said: str, extracted: Any) -> Row | None:
    """A verdict from a share of the full credit, or one of Inspect's letters; None for any other measure."""
    credit = LETTERS.get(value) if isinstance(value, str) else value
    if not isinstance(credit, int | float) or not 0 <= credit <= 1:
        return None
    text = extracted[:SHOWN] if isinstance(extracted, str) and extracted != NOTHING else None
    grade: Row = {"correct": credit == 1, "value": text, "extracted": text, "reason": f"{said} is {value}"[:SHOWN]}
    return grade | ({"score": float(credit)} if 0 < credit < 1 else {})


def _with_verdict(row: Row) -> Row:
    """The first grade decides; a row without any stays an answer that nobody graded."""
    grades = row["grades"]
    if "response" not in row or not grades:
        return {name: value for name, value in row.items() if name != "grades"}
    return row | {"verdict": next(iter(grades.values()))}
