"""Something to learn for a model that never answers right."""

import pytest

from nlft.train.reft import trainer as trainer_module


@pytest.fixture
def paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model never answers right, and without any reward nothing would move: pay for even lengths."""
    monkeypatch.setattr(trainer_module, "answer_reward", lambda response, key, **_: float(len(response) % 2 == 0))
