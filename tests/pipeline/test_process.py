"""A stage's process ends when it is interrupted, wherever the interrupt meets it."""

import os
import signal
import time

import pytest

from nlft.pipeline.process import call


class Interrupts:
    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass


def deletes(seconds: float) -> str:
    Interrupts()
    time.sleep(seconds)
    return "went on"


def test_an_interrupt_while_an_object_is_deleted_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        call(deletes, 20.0)
    assert "Traceback" not in capfd.readouterr().err
