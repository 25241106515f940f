"""Graders that run in a process of their own, under a deadline: `math` and `code:FILE`.

Symbolic comparison can take for ever on one odd answer, and a user's function may loop or crash. In a
worker neither stops the stage: past the deadline the worker is killed, the row is graded as wrong
with that reason, and the next row gets a new worker.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from nlft.errors import ConfigError, DataError
from nlft.records import Verdict

__all__ = ["ExternalGrader"]


class ExternalGrader:
    """A grader behind a pipe.

    Args:
        name: "math", or "code:" and the path of a Python file that defines `grade(response, reference)`,
            which returns a bool, a dict of `Verdict` fields, or a `Verdict`.
        deadline: Seconds one verdict may take.
        start: Seconds the worker may take to import what it needs.

    Raises:
        ConfigError: when the file or math-verify is missing, or the user's function fails.
    """

    def __init__(self, name: str, deadline: float = 10.0, start: float = 120.0) -> None:
        self.name, self.deadline, self.start = name, deadline, start
        self.file = Path(name.removeprefix("code:")) if name.startswith("code:") else None
        if self.file is not None and not self.file.is_file():
            raise ConfigError("there is no such file", file=self.file, remedy="write --grader code:FILE.py")
        self._worker: _Worker | None = None
        self._lock = threading.Lock()

    def __call__(self, response: str, reference: str) -> Verdict:
        """Ask the worker; see `nlft.grade.graders.Grader`."""
        with self._lock:
            answer = self._ask({"response": response, "reference": reference})
        if answer is None:
            return Verdict(correct=False, reason=f"the grader {self.name} gave no verdict within {self.deadline:g} s")
        if "died" in answer:
            return Verdict(correct=False, reason=f"the grader {self.name} ended without a verdict")
        if "unreadable" in answer:
            raise DataError(answer["unreadable"], remedy="correct the reference, or choose another grader")
        self._check(answer)
        return Verdict.model_validate(answer)

    def close(self) -> None:
        """End the worker; the next call starts another."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _ask(self, request: dict[str, str]) -> dict[str, Any] | None:
        if self._worker is None:
            self._worker = _Worker(self.name)
            greeting = self._worker.read(self.start)
            if greeting is None or "died" in greeting:
                self.close()
                raise ConfigError(f"the grader {self.name} did not start", file=self.file)
            self._check(greeting)
        self._worker.write(request)
        answer = self._worker.read(self.deadline)
        if answer is None or "died" in answer:
            self.close()
        return answer

    def _check(self, answer: dict[str, Any]) -> None:
        if "fault" not in answer:
            return
        self.close()
        remedy = 'pip install "nlft[math]"' if self.file is None else "correct the function, then grade again"
        raise ConfigError(answer["fault"], file=self.file, line=answer.get("line"), remedy=remedy)


class _Worker:
    """The process, and a thread that waits for its answers, so that waiting can have a deadline."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "nlft.grade.worker", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pass_on, args=(self.process, self.answers), daemon=True).start()
        self.end = weakref.finalize(self, _end, self.process)

    def write(self, request: dict[str, str]) -> None:
        assert self.process.stdin is not None  # noqa: S101 -- for the type checker: we asked for a pipe
        with contextlib.suppress(BrokenPipeError):  # a dead worker gives no answer, which is noticed next
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def read(self, deadline: float) -> dict[str, Any] | None:
        """The next answer; None past the deadline; `died`, at once, when the worker is no more."""
        try:
            line = self.answers.get(timeout=deadline)
        except queue.Empty:
            return None
        answer: dict[str, Any] = json.loads(line) if line else {"died": True}
        return answer


def _pass_on(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    assert process.stdout is not None  # noqa: S101 -- as above
    with process.stdout:
        for line in process.stdout:
            answers.put(line)
    answers.put("")


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.wait()
