"""Graders that run in a process of their own, under a deadline: `math` and `code:FILE`.

Symbolic comparison can hang on an odd answer, and a user's function may loop or crash. Neither stops the
stage: at the deadline the worker is killed, the row is graded wrong with that reason, and the next row gets
a new worker.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from nlft.errors import ConfigError, DataError
from nlft.records import Attempt, Record, Verdict


class ExternalGrader:
    """A grader behind a pipe.

    Args:
        name: "math", or "code:" and the path of a Python file that defines `grade(response, reference)`,
            `grade(response, reference, question)`, or `grade(record)`, which gets the whole row as a dict. It returns
            a bool, a dict of `Verdict` fields, or a `Verdict`.
        deadline: Seconds allowed for one verdict.
        start: Seconds the worker has for its imports.

    Raises:
        ConfigError: when the file or math-verify is missing, or the user's function fails.
    """

    def __init__(self, name: str, deadline: float = 10.0, start: float = 120.0) -> None:
        self.name, self.deadline, self.start = name, deadline, start
        self.file = Path(name.removeprefix("code:")) if name.startswith("code:") else None
        if self.file is not None and not self.file.is_file():
            raise ConfigError("no such file", file=self.file, remedy="write --grader code:FILE.py")
        self._worker: _Worker | None = None
        self._lock = threading.Lock()

    def __call__(self, record: Attempt) -> Verdict:
        """Ask the worker; see `nlft.grade.graders.Grader`."""
        with self._lock:
            if self._worker is None:
                self._worker = _Worker(self.name)
                if "silent" in self._answer(self.start):
                    raise ConfigError(f"the grader {self.name} did not start", file=self.file)
            answer = self._answer(self.deadline, dict(record))
        if "silent" in answer:
            return Verdict(correct=False, reason=f"the grader {self.name} {answer['silent']}")
        if "unreadable" in answer:
            raise DataError(answer["unreadable"], remedy="correct the reference, or choose another grader")
        return Verdict.model_validate(answer)

    def close(self) -> None:
        """End the worker; the next call starts another."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _answer(self, deadline: float, request: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self._worker is not None  # noqa: S101 -- for the type checker
        try:
            answer = self._worker.answer(deadline, request)
        except BaseException:  # an interrupted worker's answer must not become the next row's
            self.close()
            raise
        if "silent" in answer or "fault" in answer:
            self.close()
        if "fault" in answer:
            remedy = 'pip install "nlft[math]"' if self.file is None else "correct the function, then grade again"
            raise ConfigError(answer["fault"], file=self.file, line=answer["line"], remedy=remedy)
        return answer


class _Worker:
    """The process; a timer that kills it at the deadline ends the wait for its answer."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "nlft.grade.worker", name]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8")
        self.end = weakref.finalize(self, _end, self.process)

    def answer(self, deadline: float, request: dict[str, Any] | None) -> dict[str, Any]:
        """Its answer to a request, or its greeting; `silent` says why there is none."""
        assert self.process.stdin is not None  # noqa: S101 -- for the type checker: we asked for pipes
        assert self.process.stdout is not None  # noqa: S101 -- as above
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(deadline, stop)
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # a dead worker gives no answer, which is noticed next
                if request is not None:
                    self.process.stdin.write(json.dumps(request, default=_plain) + "\n")
                    self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if late.is_set() or not line.endswith("\n"):
            return {"silent": f"gave no verdict within {deadline:g} s" if late.is_set() else "ended without a verdict"}
        answer: dict[str, Any] = json.loads(line)
        return answer


def _plain(value: Any) -> Any:
    """What is not JSON in a record: another record, such as an earlier verdict."""
    return dict(value) if isinstance(value, Record) else str(value)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
    process.wait()
