"""One family of errors a user can act on: what happened, where, and what to do about it.

Everything the package raises on purpose is a `NLFTError`. The command line prints it without a
traceback and leaves with its `exit_code`; from Python it is an ordinary exception.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")


class NLFTError(Exception):
    """An error with a place and a remedy.

    Args:
        message: What is wrong, in one sentence without a full stop.
        file: The file it was found in.
        line: The line of that file, counted from 1.
        remedy: What the user can do about it.
    """

    exit_code = 1
    shared = False  # whether all processes of the command raise it together

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = Path(file) if file is not None else None
        self.line = line
        self.remedy = remedy

    def __str__(self) -> str:
        place = ""
        if self.file is not None:
            place = f"{self.file}:{self.line}: " if self.line is not None else f"{self.file}: "
        remedy = f"\n  remedy: {self.remedy}" if self.remedy else ""
        return f"{place}{self.message}{remedy}"


class DataError(NLFTError):
    """A data file that is missing, damaged, or holds something other than what its stage takes."""


class ConfigError(NLFTError):
    """A setting, flag or recipe key that does not exist or does not fit; exit code 2, as for usage."""

    exit_code = 2


class ModelError(NLFTError):
    """A model, tokenizer or adapter that cannot be found, loaded or used for what was asked."""


class EndpointError(NLFTError):
    """A server that refused, or did not answer within the budget of retries."""


class IncompleteError(NLFTError):
    """The stage finished and its output is written, but some rows failed for good; exit code 3."""

    exit_code = 3


class LimitError(NLFTError):
    """The stage stopped at a limit on requests or cost; what is finished is written; exit code 4."""

    exit_code = 4


class LockedError(NLFTError):
    """Another process is writing the same output."""


def without_secrets(text: str) -> str:
    """Text in which the value of each environment variable that is named like a secret is struck out."""
    for name, value in os.environ.items():
        if _SECRET.search(name.upper()) and len(value) >= 8:
            text = text.replace(value, f"[{name}]")
    return text


def hub_remedy(error: BaseException | None, name: str, otherwise: str) -> str:
    """What to do about an error of the Hugging Face hub, told by its class, or by that of its cause.

    Args:
        error: What transformers, datasets or huggingface_hub raised.
        name: The model or data set.
        otherwise: The remedy for any other error.
    """
    kinds: set[str] = set()
    while error is not None and type(error).__name__ not in kinds:
        kinds |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    if "GatedRepoError" in kinds:
        page = f"https://huggingface.co/{name}"
        return f"ask for access at {page}, then log in with `hf auth login` (or set HF_TOKEN), and try again"
    if kinds & {"RepositoryNotFoundError", "DatasetNotFoundError"}:
        return f"check the name; if it is private or gated, log in with `hf auth login` (or set HF_TOKEN); {otherwise}"
    if kinds & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError"}:
        return f"connect, or fetch it elsewhere with `hf download {name} --local-dir FOLDER`; {otherwise}"
    return otherwise
