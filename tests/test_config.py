"""Settings files: every mistake is named with its line and the nearest right word."""

from pathlib import Path

import pytest
from pydantic import Field

from nlft.config import Config, did_you_mean, parse_config
from nlft.errors import ConfigError
from nlft.files.yaml import read_yaml


class Inner(Config):
    epochs: int = Field(default=3, ge=1)
    on: str = "response"


class Outer(Config):
    train: Inner = Inner()
    rate: float = 1.0
    stages: list[Inner] = Field(default_factory=list)
    maybe: Inner | None = None


def load(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return parse_config(read_yaml(path), Outer, file=path)


def test_words_and_numbers_are_what_they_look_like(tmp_path: Path) -> None:
    """YAML 1.1 would read the key `on` as true and 1e-4 as a word."""
    loaded = load(tmp_path, "\ufefftrain:\n  on: no\n  epochs: 4\nrate: 1e-4\n")
    assert loaded.train == Inner(epochs=4, on="no")
    assert loaded.rate == 1e-4


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("rate: 1\ntrain:\n  epoch: 3\n", 3, 'unknown key "train.epoch"\n  remedy: did you mean "epochs"?'),
        ("trian: {}\n", 1, 'did you mean "train"?'),
        ("stages:\n- epochs: 1\n- epoch: 1\n", 3, 'did you mean "epochs"?'),
        ("maybe:\n  epoch: 1\n", 2, 'did you mean "epochs"?'),
        ("train:\n  epochs: 0\n", 2, '"train.epochs": input should be greater than or equal to 1'),
        ("rate: .nan\n", 1, '"rate"'),
        ("rate: 1\nrate: 2\n", 2, 'the key "rate" occurs twice'),
        ("rate: [1\n", 2, "invalid YAML"),
        ("rate: !!python/object/apply:os.getcwd []\n", 1, "invalid YAML"),
        ("- 1\n", None, "not a mapping"),
        ("", None, "not a mapping"),
        ("rate: \0\n", None, "invalid YAML"),
        ("? [a]\n: 1\n", 1, ""),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, line: int | None, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.file == tmp_path / "r.yaml"
    assert caught.value.line == line
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_binary_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("b.yaml", "none.yaml", "."):
        with pytest.raises(ConfigError):
            read_yaml(tmp_path / name)


def test_no_near_word_lists_them_all() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "choose from: a, b"
