"""What an author of a network is told when it does not script: the line, what is wrong there, and
what helps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from climlink.architectures.registry import _run
from climlink.packages.scripting import scripted
from climlink.wrappers.errors import ContractError

_HEAD = "import numpy as np\nimport torch\nfrom torch import Tensor, nn\n\n"
FAULTS = {
    "numpy in forward": (
        "class Net(nn.Module):\n    def forward(self, x: Tensor) -> Tensor:\n        y = 2.0 * "
        "x\n        return y * np.tanh(y)\n",
        r"numpy is not torch, \S*net.py, line 8: `return y \* np.tanh\(y\)` .*; use torch's own "
        r"functions;",
    ),
    "numpy in a helper": (
        "def scale(x: Tensor) -> Tensor:\n    return x * np.exp(1.0)\n\n"
        "class Net(nn.Module):\n    def forward(self, x: Tensor) -> Tensor:\n        return "
        "scale(x)\n",
        r"numpy is not torch, \S*net.py, line 6: `return x \* np.exp\(1.0\)`",
    ),
    "arguments without number": (
        "class Net(nn.Module):\n    def forward(self, *x):\n        return x[0]\n",
        r"variable number of arguments.*, \S*net.py, line 6: `def forward\(self, \*x\):`; give "
        r"forward and its helpers fixed arguments",
    ),
    "layers in a list": (
        "class Net(nn.Module):\n    def __init__(self) -> None:\n        "
        "super().__init__()\n        self.layers = [nn.Linear(3, 3)]\n\n"
        "    def forward(self, x: Tensor) -> Tensor:\n        for layer in "
        "self.layers:\n            x = layer(x)\n        return x\n",
        r"no attribute 'layers'.*, \S*net.py, line 11: `for layer in self.layers:`; hold layers in "
        r"an nn.ModuleList",
    ),
    "a comprehension with a condition": (
        "class Net(nn.Module):\n    def forward(self, x: Tensor) -> Tensor:\n        return "
        "torch.stack([c for c in x if c.sum() > 0])\n",
        r"Comprehension ifs .*, \S*net.py, line 7: `return torch.stack\(.*`; usual cures: "
        r".*torch.jit.trace",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_line_and_what_helps_are_told(tmp_path: Path, fault: str) -> None:
    source, message = FAULTS[fault]
    path = tmp_path / "net.py"
    path.write_text(_HEAD + source, encoding="utf-8")
    name = f"scripting_fault_{tmp_path.name}"
    _run(path.read_bytes(), str(path), name)
    with pytest.raises(ContractError, match=rf"Net does not script: .*{message}"):
        scripted(sys.modules.pop(name).Net())


def test_the_cures_are_true() -> None:
    class Cured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = torch.tanh(layer(x))
            return x

    module = Cured().eval()
    x = torch.ones(2, 3)
    assert torch.equal(scripted(module)(x), module(x))
