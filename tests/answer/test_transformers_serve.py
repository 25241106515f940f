"""A real `transformers serve`, in a process of its own: what it says is what the model says in process."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nlft.answer import LocalAnswerer, answer, make_answerer
from nlft.answer.config import AnswerSettings
from nlft.errors import EndpointError
from nlft.lm import LanguageModel, SamplingSettings
from nlft.prompts import load_prompts
from nlft.records import Problem

# The server takes longer to load than all its answers.
pytestmark = pytest.mark.docs

PROBLEMS = [Problem(id=str(i), question=f"What is {i} + {i}?", reference=f"#### {2 * i}") for i in range(6)]
SHORT = load_prompts("short")
TOKENS = 12


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Where the server answers, from when it does."""
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    options = ["--port", "0", "--device", "cpu", "--dtype", "float32"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(line)
            _, runs, where = line.partition("Uvicorn running on ")
            if runs:
                # What else it says must be read, or it would wait for a reader.
                threading.Thread(target=server.stderr.read, daemon=True).start()
                yield where.split()[0] + "/v1"
                break
        server.terminate()
        assert runs, "".join(said)


def served(folder: Path, address: str, api: str) -> list[str]:
    settings = AnswerSettings.model_validate(
        {"model": str(folder), "base_url": [address], "api": api, "temperature": 0, "max_new_tokens": TOKENS}
    )
    answers = answer(PROBLEMS, make_answerer(settings), prompts=SHORT)
    return [attempt.response for attempt in answers.attempts]


@pytest.mark.parametrize("api", ["chat", "text"])
def test_it_says_what_the_model_says_in_process(api: str, folder: Path, lm: LanguageModel, address: str) -> None:
    here = answer(PROBLEMS, LocalAnswerer(lm, SamplingSettings(temperature=0, max_new_tokens=TOKENS)), prompts=SHORT)
    expected = [attempt.response for attempt in here.attempts]
    assert len(set(expected)) == len(PROBLEMS)
    assert served(folder, address, api) == expected


def test_it_takes_no_token_ids_and_the_error_names_the_way_out(folder: Path, address: str) -> None:
    with pytest.raises(EndpointError, match="it takes no token ids") as found:
        served(folder, address, "completions")
    assert "--api text" in str(found.value.remedy)
