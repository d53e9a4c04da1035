"""Random networks of linear, convolutional and recurrent layers, through export and verify.

usage: python random_networks.py STORE FOLDER SEED,SEED,... [PACKAGE ...]

Exports the network of every seed to FOLDER/SEED.pt, verifies these and the other packages, and
prints what verify found as JSON. As a process of its own it has the number of threads that
OMP_NUM_THREADS says, as `climlink export` and `climlink verify` have.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from climlink.architectures import ArchitectureConfiguration, register_architecture
from climlink.data.store import ColumnStore
from climlink.packages.export import export_package
from climlink.packages.read import EmulatorPackage
from climlink.packages.verify import verify
from climlink.wrappers.column_emulator import ColumnEmulator, ColumnShape, no_confidence

WIDTHS = (32, 64, 96, 128)


class RandomConfiguration(ArchitectureConfiguration):
    """``seed`` draws the layers; ``kinds``, of linear, conv and lstm, all occur among them."""

    seed: int
    kinds: list[str]


class LinearLayer(nn.Module):
    """One matrix over all levels of all channels, [batch, channel, level] to [batch, 1, width]."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the row as one channel."""
        return torch.nn.functional.gelu(self.map(x.flatten(1))).unsqueeze(1)


class LSTMLayer(nn.Module):
    """An LSTM from the top to the bottom of the column, [batch, channel, level]."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden state of every level."""
        y, _ = self.lstm(x.transpose(1, 2))
        return y.transpose(1, 2)


class RandomNetwork(ColumnEmulator):
    """Two to four random layers, then one linear map to the outputs."""

    def __init__(self, shape: ColumnShape, configuration: RandomConfiguration) -> None:
        super().__init__(shape)
        generator = torch.Generator().manual_seed(configuration.seed)

        def drawn(count: int) -> int:
            return int(torch.randint(count, (1,), generator=generator))

        torch.manual_seed(configuration.seed)
        kinds = list(configuration.kinds)
        kinds += [kinds[drawn(len(kinds))] for _ in range(drawn(3) + (1 if len(kinds) == 1 else 0))]
        channels, length = shape.profile_inputs + shape.scalar_inputs, shape.level_count
        layers: list[nn.Module] = []
        for position in torch.randperm(len(kinds), generator=generator).tolist():
            width = WIDTHS[drawn(len(WIDTHS))]
            if kinds[position] == "linear":
                layers.append(LinearLayer(channels * length, 4 * width))
                channels, length = 1, 4 * width
            elif kinds[position] == "conv":
                size = 3 + 2 * drawn(3)
                conv = nn.Conv1d(channels, width, size, padding=size // 2)
                layers.append(nn.Sequential(conv, nn.SiLU()))
                channels = width
            else:
                layers.append(LSTMLayer(channels, width))
                channels = width
        self.layers = nn.Sequential(*layers)
        self.profile_outputs: int = shape.profile_outputs
        self.level_count: int = shape.level_count
        outputs = shape.profile_outputs * shape.level_count + shape.scalar_outputs
        self.last = nn.Linear(channels * length, outputs)

    def forward(self, profiles: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return profiles, scalars and no confidence."""
        x = torch.cat([profiles, scalars.unsqueeze(2).expand(-1, -1, self.level_count)], dim=1)
        rows = self.last(self.layers(x).flatten(1))
        split = self.profile_outputs * self.level_count
        out = rows[:, :split].reshape(rows.shape[0], self.profile_outputs, self.level_count)
        return out, rows[:, split:], no_confidence(profiles)


def kinds_of(seed: int) -> list[str]:
    """Return the kinds of layers of a seed: seeds in a row go through all mixes."""
    mixes = "linear", "conv", "lstm", "linear conv", "conv lstm", "linear lstm", "linear conv lstm"
    return mixes[seed % len(mixes)].split()


def export(store: ColumnStore, seed: int, path: Path) -> EmulatorPackage:
    """Export the random network of a seed, with golden columns of the store's training times."""
    root = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location("conftest", root / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    configuration = {"seed": seed, "kinds": kinds_of(seed)}
    source = conftest._untrained_source(store, "host_v2_q", "random", configuration)
    rows = store.pack(source.emulator.contract.inputs, store.indices("train"))
    return export_package(source, torch.from_numpy(rows), path)


register_architecture("random", RandomNetwork, RandomConfiguration)


def main() -> None:
    """Do what the usage line says."""
    store, folder = ColumnStore.open(sys.argv[1]), Path(sys.argv[2])
    seeds = [int(s) for s in sys.argv[3].split(",") if s]
    made = [export(store, seed, folder / f"{seed}.pt") for seed in seeds]
    packages = made + [EmulatorPackage.read(path) for path in sys.argv[4:]]
    found = [verify(p).as_dict() for p in packages]
    json.dump({"threads": torch.get_num_threads(), "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
