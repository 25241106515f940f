"""A tiny model in a folder, for every test that trains."""

from pathlib import Path

import pytest
from tests.tiny import tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "model")
