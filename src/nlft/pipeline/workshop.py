"""Commands of `nlft` in processes of their own, without paying the heavy imports each time.

A workshop is one child process that has torch and transformers loaded and forks for every command, so
that a command starts at once, its peak memory is its own, and its crash is nobody else's. It computes
nothing itself: forking is safe only while no thread pool has been used. However the process that asks
may end, the command is interrupted and its workshop goes with it. Where there is no fork (Windows),
each command is an ordinary process.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["run_command"]

# The commands that always load a model; for them the imports are made once, before the first fork.
HEAVY = {"score", "train", "evaluate"}
PAUSE = 0.05  # seconds between two looks at a command


def run_command(words: Sequence[str]) -> tuple[int, float | None]:
    """Run `nlft <words>`, its output on stderr: its exit code, and its peak resident memory in MiB."""
    if not hasattr(os, "fork"):
        code = "from nlft.cli.app import main; main()"
        return subprocess.run([sys.executable, "-c", code, *words], stdout=2, check=False).returncode, None
    workshop = _workshop()
    try:
        workshop.send({"words": list(words), "folder": str(Path.cwd()), "environment": dict(os.environ)})
        return workshop.result()
    except KeyboardInterrupt:
        workshop.close()
        raise


class _Workshop:
    """The side of the process that asks."""

    def __init__(self) -> None:
        code = "from nlft.pipeline.workshop import serve; serve()"
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, request: dict[str, Any]) -> None:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def result(self) -> tuple[int, float | None]:
        """Wait for the command to end."""
        assert self.process.stdout is not None  # noqa: S101 - as above
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {}
        return int(answer.get("code", 1)), answer.get("peak")

    def close(self) -> None:
        """End the process; a command it still waits for is interrupted and puts its work away."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


_current: list[_Workshop] = []


def _workshop() -> _Workshop:
    """The workshop of this process; a new one where there is none, or it has ended."""
    if _current and _current[0].process.poll() is None:
        return _current[0]
    _current[:] = [_Workshop()]
    atexit.register(_current[0].close)
    return _current[0]


def serve() -> None:
    """The side of the process that forks: a request a line on stdin, an answer a line on stdout."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a command prints is told on stderr; stdout is for answers
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: interrupts.append(number))
    for line in sys.stdin:
        request = json.loads(line)
        if request["words"][0] in HEAVY:
            import nlft.lm
            import nlft.train  # noqa: F401 - loaded once for all forks
        interrupts.clear()
        process = os.fork()
        if process == 0:
            answers.close()
            os._exit(_work(request))
        ended = _outcome(process, interrupts)
        if ended is None:
            return
        print(json.dumps({"code": ended[0], "peak": ended[1]}), file=answers, flush=True)


def _outcome(process: int, interrupts: list[int]) -> tuple[int, float] | None:
    """A command's exit code and peak memory in MiB; None once it has ended after whoever asked for it."""
    while (ended := os.wait4(process, os.WNOHANG))[0] == 0:
        if not select.select([sys.stdin], [], [], PAUSE)[0]:
            continue
        # No second request comes before the answer: the pipe has been closed. A terminal interrupts the command
        # too, somewhat earlier or later; to be interrupted twice would cut off its saving.
        time.sleep(PAUSE)
        if not interrupts:
            os.kill(process, signal.SIGINT)
        os.wait4(process, 0)
        return None
    _, status, usage = ended
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _work(request: dict[str, Any]) -> int:
    """The command itself, in its own process; never returns by an exception, or two would go on as one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = ["nlft", *request["words"]]
        from nlft.cli.app import run

        return run(request["words"])
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
