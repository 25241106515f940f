"""Run a function in its own process, to isolate its peak memory and any crash.

The processes are forked from multiprocessing's fork server, which has torch and transformers loaded, so that each
starts at once; without a fork server (Windows), they are spawned. However the calling process ends,
the processes it started are interrupted and save their work.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import DupFd
from typing import Any, TypeVar

from nlft.errors import NLFTError, without_secrets
from nlft.progress import speak
from nlft.provenance import peak_memory_mb

R = TypeVar("R")
FORK_SERVER = "forkserver" in multiprocessing.get_all_start_methods()


class CrashError(Exception):
    """The process ended without a result; its messages are on stderr."""


def call(
    function: Callable[..., R], *args: Any, threads: int | None = None, gpu: str | None = None
) -> tuple[R, float | None]:
    """Run `function(*args)` in a new process, its output on stderr.

    Args:
        function: A function of a module.
        args: Its arguments; they are pickled.
        threads: The number of CPU threads torch may use.
        gpu: The only CUDA device visible to it.

    Returns:
        What it returned, and its process's peak memory in MiB (None if the system does not record it).

    Raises:
        NLFTError, OSError: if the function raised one.
        CrashError: for anything else that ended it.
        KeyboardInterrupt: once the process has saved its work.
    """
    context: Any = multiprocessing.get_context("forkserver" if FORK_SERVER else "spawn")
    if FORK_SERVER:
        context.set_forkserver_preload(["nlft.lm.load", "nlft.train.trainer"])
    receiver, sender = context.Pipe(duplex=False)
    level = logging.getLogger("nlft").level
    process = context.Process(target=_work, args=(sender, _stderr(), level, function, args, threads, gpu))
    process.start()
    sender.close()
    _running.add(process)
    try:
        kind, value, peak = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        kind, value, peak = "crash", None, None
    except KeyboardInterrupt:
        interrupt_all()
        raise
    finally:
        _running.discard(process)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "error":
        raise value
    if kind == "crash":
        raise CrashError(f"its process ended with code {process.exitcode}")
    return value, peak


_running: set[Any] = set()


def interrupt_all() -> None:
    """Interrupt every process started here, and wait until it ends.

    A terminal's Ctrl-C reaches them, too; they ignore a second interrupt, which could stop them from saving.
    """
    for process in list(_running):
        if process.is_alive() and sys.platform != "win32":
            os.kill(process.pid, signal.SIGINT)
    for process in list(_running):
        process.join()


def _stderr() -> Any:
    """This process's stderr, for the child: the fork server may have inherited another one."""
    try:
        return DupFd(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
    except (OSError, ValueError):
        return None


def _work(
    sender: Connection,
    stderr: Any,
    level: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    threads: int | None,
    gpu: str | None,
) -> None:
    """The child's side."""
    signal.signal(signal.SIGINT, _interrupted)
    sys.unraisablehook = _unraisable
    if stderr is not None:
        descriptor = stderr.detach()
        for standard in (1, 2):
            os.dup2(descriptor, standard)
    speak(level)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    try:
        result = ("value", function(*args), peak_memory_mb(_device()))
    except KeyboardInterrupt:
        result = ("interrupt", None, None)
    except (NLFTError, OSError) as error:
        result = ("error", error, None)
    except BaseException:
        print(without_secrets(traceback.format_exc()), file=sys.stderr, end="")
        sys.stderr.flush()
        os._exit(1)
    with contextlib.suppress(BrokenPipeError):  # the caller has ended
        sender.send(result)


def _interrupted(number: int, frame: object) -> None:
    """The first interrupt ends the work; a second one must not stop it from saving."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _unraisable(lost: Any) -> None:
    """Repeat an interrupt that came while an object was deleted, where Python reports an exception and goes on."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGINT, _interrupted)
    threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)


def _device() -> str:
    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_initialized() else "cpu"
