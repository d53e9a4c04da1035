"""Make the TorchScript files of the tests of torchscript.h and of the drop-in modules:
make_torchscript.py FOLDER.

Plain TorchScript, no packages. What Python torch makes of some inputs is written beside them as raw
float32 rows.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)


class Twice(nn.Module):
    """x -> 2 x by a linear layer, [.., 5] -> [.., 5], with a dropout that acts in training mode
    only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 5, bias=False)
        self.dropout = nn.Dropout(0.9)
        with torch.no_grad():
            self.linear.weight.copy_(2 * torch.eye(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.linear(x))


class Numbered(nn.Module):
    """Adds to every element a number that tells its index: 1, 2, 6, 12, 36 times the indices from
    the first on; rank 1 to 5.
    """

    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        weights = [1, 2, 6, 12, 36]
        for axis in range(x.dim()):
            shape = [1] * x.dim()
            shape[axis] = x.size(axis)
            y = y + (weights[axis] * torch.arange(x.size(axis))).to(x.dtype).reshape(shape)
        return y


class TwoOfTwo(nn.Module):
    """(a, b) -> (2 a, 3 b)."""

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * a, 3 * b


class ListOfTwo(nn.Module):
    """a -> [a, -a]."""

    def forward(self, a: Tensor) -> list[Tensor]:
        return [a, -a]


class MeanRow(nn.Module):
    """[n, w] -> [1, w]: what a host that expects [n, w] must not take for n rows."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(0, keepdim=True)


class Float64(nn.Module):
    """Returns float64 whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float64)


class Half(nn.Module):
    """Returns float16, which no Fortran array is."""

    def forward(self, x: Tensor) -> Tensor:
        return x.to(torch.float16)


class Affine(nn.Module):
    """(x, scale, shift) -> scale x + shift with a float and an int argument."""

    def forward(self, x: Tensor, scale: float, shift: int) -> Tensor:
        return scale * x + shift


class Named(nn.Module):
    """Returns something that is no tensor."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": x}


def mlp() -> nn.Module:
    """[n, 124] -> [n, 37], the shape of a column emulator."""
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(124, 64), nn.Tanh(), nn.Linear(64, 37))


def write_rows(module: nn.Module, folder: Path, rows: int) -> None:
    """Write inputs [rows, 124] and what torch makes of them [rows, 37]."""
    x = torch.randn(rows, 124)
    with torch.inference_mode():
        y = module(x)
    x.numpy().tofile(folder / "mlp_x.f32")
    y.numpy().tofile(folder / "mlp_y.f32")


def main(folder: Path) -> None:
    """Write everything."""
    folder.mkdir(parents=True, exist_ok=True)
    network = mlp()
    modules = {
        "twice": Twice().train(),
        "numbered": Numbered(),
        "two_of_two": TwoOfTwo(),
        "list_of_two": ListOfTwo(),
        "mean_row": MeanRow(),
        "float64": Float64(),
        "half": Half(),
        "affine": Affine(),
        "named": Named(),
        "mlp": network,
    }
    for name, module in modules.items():
        torch.jit.script(module).save(str(folder / f"{name}.pt"))
    write_rows(network, folder, 16)
    (folder / "no_zip.pt").write_bytes(b"this is no TorchScript file")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
