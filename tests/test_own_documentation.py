"""The examples of docs/add-an-architecture.md and docs/own-variables.md are taken from the pages
and run.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from climlink.architectures.registry import GROUP
from climlink.config import load_config
from climlink.data.store import ColumnStore
from climlink.training.checkpoint import load_checkpoint
from climlink.training.config import TrainingConfig
from climlink.training.run import train
from climlink.wrappers.catalogue import read_catalogue

_DOCS = Path(__file__).parents[1] / "docs"


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"```{language}\n(.*?)```", (_DOCS / page).read_text(encoding="utf-8"), re.DOTALL
    )


def _write(block: str) -> Path:
    path = Path(block.splitlines()[0].removeprefix("# "))
    path.write_text(block, encoding="utf-8")
    return path


def test_the_network_of_the_page_trains(
    synthetic_store: ColumnStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (network,), (training,) = (
        _blocks("add-an-architecture.md", "python"),
        _blocks("add-an-architecture.md", "yaml"),
    )
    module = _write(network)
    overrides = {"store": synthetic_store.path, "epochs": 1, "device": "cpu", "threads": 1}
    result = train(str(_write(training)), progress=False, overrides=overrides)
    assert load_checkpoint(result.directory).record.architecture_configuration == {"width": 256}
    (project,) = _blocks("add-an-architecture.md", "toml")
    assert tomllib.loads(project)["project"]["entry-points"] == {GROUP: {"mixer": module.stem}}


def test_the_variables_of_the_page_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    variables, training = _blocks("own-variables.md", "yaml")
    catalogue = read_catalogue(_write(variables))
    inputs = catalogue.variable_set("my_inputs", 60)
    assert inputs.names == (
        "state_t",
        "state_q0001",
        "state_ps",
        "pbuf_SOLIN",
        "soil_t",
        "canopy_water",
    )
    assert inputs.width == 2 * 60 + 2 + 4 + 1
    Path("t.yaml").write_text(
        f"name: a\nstore: s.zarr\nepochs: 1\narchitecture: {{name: mlp}}\n{training}",
        encoding="utf-8",
    )
    assert load_config("t.yaml", TrainingConfig).input_set == "my_inputs"
