"""The notebook runs, on a random model of two layers, and shows its map (nbclient, on which nbmake stands too)."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from tests.docs.blocks import ROOT

NOTEBOOK = ROOT / "docs/notebooks/quickstart.ipynb"


@pytest.mark.docs
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_the_notebook_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLFT_NOTEBOOK_MODEL", str(folder))
    monkeypatch.setenv("NLFT_NOTEBOOK_STEPS", "2")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [str(output) for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("<iframe srcdoc=" in each for each in outputs)
    assert any("nlft vs sft" in each for each in outputs)
    assert (tmp_path / "quickstart-files/nlft/adapter_model.safetensors").exists()


def test_the_notebook_that_is_kept_has_been_run() -> None:
    """Its outputs are those of the real model: a reader sees the map without running anything."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert "background-color" in text, "the coloured tokens"
    assert "/home/" not in text
    assert str(Path.home()) not in text
