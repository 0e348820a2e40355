"""The training notebook runs from top to bottom on a small synthetic history."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_train.ipynb"
CELLS_MAX = 15


def test_the_notebook_is_short_and_its_stored_outputs_are_synthetic() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells  # type: ignore[no-untyped-call]
    printed = "".join(
        output.get("text", "") for cell in cells for output in cell.get("outputs", ())
    )

    assert len(cells) < CELLS_MAX
    assert "synthetic:" in printed
    assert "handbook:" not in printed


@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore::RuntimeWarning:zmq")
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "rows_count =" in parameters.source
    parameters.source = "\n".join(
        [
            "import sys",
            f"sys.path.insert(0, {str(NOTEBOOK.parents[1])!r})",
            "from pathlib import Path",
            f"data, rows_count, var = None, 8_000, Path({str(tmp_path)!r})",
        ]
    )

    NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()

    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-2]
    assert last.outputs[0]["data"]["text/plain"] == "'registered, not promoted'"
    assert (tmp_path / "mlflow.db").is_file()
