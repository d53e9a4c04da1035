"""The README's ten lines and the page on own networks, pasted as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import climlink
from climlink.data.store import ColumnStore
from climlink.online.aquaplanet import AquaplanetConfig, newest_restart, run_aquaplanet
from climlink.packages.verify import verify
from climlink.wrappers.variable_sets import variable_set

ROOT = Path(__file__).resolve().parents[1]


def _code(page: str, after: str) -> list[str]:
    """Return the Python code of a page behind a heading, one text per block, up to the next heading
    of its kind.
    """
    text = (ROOT / page).read_text(encoding="utf-8").split(after, 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", text, re.S)


def _own_files(store: ColumnStore) -> None:
    """Write what a user brings: a network, its numbers, and a store, where the lines look for
    them.
    """
    torch.manual_seed(3)
    torch.save(nn.Sequential(nn.Linear(557, 16), nn.Tanh(), nn.Linear(16, 368)), "net.pt")
    rows = store.pack(variable_set("climsim_v2"), store.indices("train")).astype(np.float64)
    scale = np.full(368, 1e-9)
    scale[360:] = (100.0, 100.0, 1e-9, 1e-8, 100.0, 100.0, 100.0, 100.0)
    np.savez("normalization.npz", mean=rows.mean(axis=0), spread=rows.std(axis=0), scale=scale)
    Path("climsim.zarr").symlink_to(store.path)


def test_the_ten_lines_of_the_readme(
    synthetic_store: ColumnStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    _own_files(synthetic_store)
    (lines,) = _code("README.md", "## Your own network")
    exec(compile(lines, "README.md", "exec"), {})
    package = climlink.open("wrap_model.pt")
    assert verify(package).passed
    assert package.manifest.constraints
    assert package.manifest.constraints[0].name == "prune"
    assert package.manifest.provenance.data_digest == synthetic_store.digest


@pytest.mark.long
def test_what_the_ten_lines_make_runs_online_with_constraints_to_choose(
    synthetic_store: ColumnStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _own_files(synthetic_store)
    exec(compile(_code("README.md", "## Your own network")[0], "README.md", "exec"), {})
    restarts = []
    for off in ((), ("prune", "night")):
        emulator = {"package": "wrap_model.pt", "spin_up_steps": 1, "constraints_off": off}
        case = AquaplanetConfig.model_validate(
            {
                "host": "aquaplanet",
                "name": "two",
                "days": 2,
                "output": tmp_path / f"run{len(off)}",
                "emulator": emulator,
            }
        )
        run = run_aquaplanet(case)
        assert (run.status, run.day) == ("finished", 2)
        restarts.append(newest_restart(run.folder).read_bytes())
    assert restarts[0] != restarts[1]


def test_the_page_on_own_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Fields", "Memory"):
        (tmp_path / name).mkdir()
    whole = "\n".join(
        block
        for name in ("## Fields", "## Memory")
        for block in _code("docs/own-networks.md", name)
    )
    script = tmp_path / "page.py"  # TorchScript reads the source of a module from its file
    script.write_text(whole, encoding="utf-8")
    exec(compile(whole, str(script), "exec"), {"__name__": "page"})
    assert verify(climlink.open("fine.pt")).passed
    growth = climlink.open("growth.pt")
    assert verify(growth).passed
    assert growth.manifest.golden.step_count == 4
