"""Training speed: columns per second of climlink's loader and loop against the published way, on
the same network, data and CPU, in one interleaved run; and the memory of the loader.

    python benchmarks/bench_training.py STORE
    python benchmarks/bench_training.py STORE --architecture unet --preset small --workers 2
    python benchmarks/bench_training.py STORE --memory

The published way is that of the 90 runs of ClimSim's online tests (their training sets lie as
un-normalized float32 HDF5 files with one dataset ``data`` [row, value] for inputs and for targets):
a map-style dataset opens the dataset of both files by its name, reads one row with h5py in every
call and encodes it there with numpy, a DataLoader with random order makes batches of 1024 of them,
and a plain loop trains on these. It is written here after that description; --open-once opens the
datasets once, the kindest reading of it. climlink reads the store in shuffled blocks and
normalizes whole blocks (training/loader.py), without keeping the columns in memory unless
--in-memory is given; its loop is that of ``climlink train``. Both have the same number of workers,
one thread for the network (--threads), the same loss, optimizer and batch size. The first pass of
each is not counted.

--memory prints the largest memory of a process that passes once over the training columns taken
two and eight times.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from climlink.data.statistics import compute_statistics, write_statistics
from climlink.data.store import ColumnStore
from climlink.provenance import kernel_identity
from climlink.training.callbacks import read_metrics
from climlink.training.config import TrainingConfig
from climlink.training.data import Encoder, HostOutputs, host_outputs
from climlink.training.loader import BlockReader, Blocks, ColumnLoader
from climlink.training.order import EpochOrder
from climlink.training.run import train
from climlink.wrappers.wrapped_emulator import WrappedEmulator

BATCH = 1024
POOL = 4 * BATCH
"""Columns shuffled together: few, so that reading and training overlap on a small store too."""
PRUNED = ("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v")
PRUNED_LEVELS = 12
PRUNED_INPUT_LEVELS = 15
MEBIBYTE = 2**20


class PublishedRows(Dataset[tuple[Tensor, Tensor]]):
    """One row of inputs and targets at a time, encoded alone, in the steps of the published runs:
    the row's file is looked for and its datasets opened by name, cloud is transformed, inputs
    normalized, what is not finite made zero, upper levels pruned, relative humidity clipped.
    """

    def __init__(self, folder: Path, emulator: WrappedEmulator, *, open_once: bool) -> None:
        files = [h5py.File(folder / f"train_{kind}.h5", "r") for kind in ("input", "target")]
        self._files = [{"data": f["data"]} for f in files] if open_once else files
        self._bounds = np.array([0, len(files[0]["data"])])
        n, contract = emulator.normalization, emulator.contract
        scale = 1.0 / n.output_scale
        self._subtract, self._gain, self._scale = (
            values.numpy().astype(np.float32) for values in (n.subtract, n.gain, scale)
        )
        inputs, outputs = contract.network_inputs, contract.network_outputs
        self._cloud = inputs.slice("state_qn")
        self._lambda = n.cloud_lambda.numpy()[self._cloud].astype(np.float32)
        self._humidity = inputs.slice("state_rh")
        self._pruned = [outputs.slice(name).start for name in PRUNED]

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        file = np.searchsorted(self._bounds, row + 1) - 1
        x, y = (f["data"][row - self._bounds[file]] for f in self._files)
        x[self._cloud] = 1.0 - np.exp(-x[self._cloud] * self._lambda)
        x = (x - self._subtract) * self._gain
        x[np.isnan(x)] = 0.0
        x[np.isinf(x)] = 0.0
        x[self._cloud.start : self._cloud.start + PRUNED_INPUT_LEVELS] = 0.0
        x[self._humidity] = np.clip(x[self._humidity], 0.0, 1.2)
        y = y * self._scale
        for start in self._pruned:
            y[start : start + PRUNED_LEVELS] = 0.0
        return torch.tensor(x), torch.tensor(y)


def published_rate(
    rows: PublishedRows, emulator: WrappedEmulator, workers: int, columns: int
) -> float:
    """Return columns per second of the published way, over about so many of them."""
    batches = DataLoader(rows, batch_size=BATCH, shuffle=True, num_workers=workers)
    network = emulator.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.01)
    loss_of = nn.HuberLoss()
    done, started = 0, time.perf_counter()
    for inputs, targets in batches:
        optimizer.zero_grad()
        predicted, _ = network(inputs)
        loss = loss_of(predicted, targets)
        loss.backward()
        optimizer.step()
        done += len(inputs)
        if done >= columns:
            break
    return done / (time.perf_counter() - started)


def climlink_rate(config: dict[str, Any], folder: Path) -> float:
    """Return columns per second of an epoch of ``climlink train``."""
    run = TrainingConfig.model_validate(config | {"output": folder / "run"})
    train(run, progress=False, overwrite=True)
    columns = ColumnStore.open(run.store)
    count = len(columns.indices("train")) * columns.n_column
    return count / float(read_metrics(folder / "run" / "metrics.csv")[-1]["seconds"])


def write_rows(store: ColumnStore, emulator: WrappedEmulator, folder: Path) -> int:
    """Write the training columns as the published files and return how many there are."""
    times = store.indices("train")
    count = len(times) * store.n_column
    sets = (emulator.contract.network_inputs, emulator.contract.network_outputs)
    files = [h5py.File(folder / f"train_{kind}.h5", "w") for kind in ("input", "target")]
    data = [
        f.create_dataset("data", (count, s.width), "f4") for f, s in zip(files, sets, strict=True)
    ]
    at = 0
    for block in store.blocks_of(times):
        with torch.no_grad():
            fields = emulator.fields(
                torch.from_numpy(store.pack(emulator.contract.inputs, block))
            ).numpy()
        data[0][at : at + len(fields)] = fields
        data[1][at : at + len(fields)] = store.targets(sets[1], block)
        at += len(fields)
    for file in files:
        file.close()
    return count


def fitted(config: TrainingConfig, store: ColumnStore, statistics: Path) -> WrappedEmulator:
    """Return the emulator of a configuration with the statistics of the store in it, which are
    written.
    """
    computed = compute_statistics(store)
    write_statistics(computed, statistics)
    contract = config.contract(store.hybrid, store.time_step_s)
    resolved = config.architecture.resolved()
    network = resolved.find().build_for(contract, resolved.configuration)
    return WrappedEmulator(contract, network).fit(computed)


def compare(arguments: argparse.Namespace) -> None:
    """Print the two rates and their ratio, round by round and in all."""
    store = ColumnStore.open(arguments.store)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configuration(arguments) | {"statistics": folder / "statistics.nc"}
        run = TrainingConfig.model_validate(config)
        emulator = fitted(run, store, folder / "statistics.nc")
        count = write_rows(store, emulator, folder)
        rows = PublishedRows(folder, emulator, open_once=arguments.open_once)
        size = sum(p.numel() for p in emulator.network.parameters())
        print(
            f"{kernel_identity()}, {torch.get_num_threads()} thread(s), {arguments.workers} "
            f"worker(s) each; {arguments.architecture} of {size} parameters; {count} columns, "
            f"{'in memory' if arguments.in_memory else 'streamed'}; batch {BATCH}"
        )
        rates = []
        for number in range(arguments.rounds + 1):
            published = published_rate(rows, emulator, arguments.workers, arguments.rows)
            ours = climlink_rate(config, folder)
            if number == 0:
                continue
            rates.append((published, ours))
            print(
                f"published {published:8.0f}   climlink {ours:8.0f} columns/s   ratio "
                f"{ours / published:.1f}"
            )
        ratio = statistics.median(ours / published for published, ours in rates)
        print(f"median ratio {ratio:.1f}")


def configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keys of the training run."""
    preset = {"preset": arguments.preset} if arguments.preset else {}
    return {
        "name": "bench",
        "store": arguments.store,
        "architecture": {"name": arguments.architecture, "configuration": preset},
        "optimizer": {"learning_rate": 1e-4, "weight_decay": 0.01},
        "epochs": 1,
        "batch_size": BATCH,
        "device": "cpu",
        "threads": arguments.threads,
        "workers": arguments.workers,
        "memory_limit_gib": 1024.0 if arguments.in_memory else 1e-6,
        "shuffle_columns": POOL,
    }


def largest_memory(arguments: argparse.Namespace) -> None:
    """Print the largest memory in MiB of a process that reads some passes as one epoch."""
    store = ColumnStore.open(arguments.store)
    run = TrainingConfig.model_validate(configuration(arguments))
    with tempfile.TemporaryDirectory() as name:
        emulator = fitted(run, store, Path(name) / "statistics.nc")
    nothing = host_outputs([], emulator.contract.outputs)
    encoder = Encoder(store, emulator, HostOutputs(nothing, torch.zeros(0)))
    blocks = Blocks([encoder], [np.tile(store.indices("train"), arguments.times)])
    pool = int(blocks.sizes[0].sum()) // arguments.times // 4
    order = EpochOrder(blocks.sizes, [1.0], pool_columns=pool, batch_size=BATCH, seed=0)
    seen = sum(batch.columns for batch in ColumnLoader(BlockReader(blocks), order))
    assert seen == sum(order.counts)
    print(f"{seen} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEBIBYTE:.0f}")


def memory(arguments: argparse.Namespace) -> Iterator[tuple[int, int, int]]:
    """Yield times, columns and MiB of processes of their own."""
    for times in (2, 8):
        command = [sys.executable, __file__, str(arguments.store), "--times", str(times)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        columns, mebibytes = map(int, done.stdout.split())
        yield times, columns, mebibytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    quickstart = Path("runs/quickstart/climsim.zarr")
    parser.add_argument("store", type=Path, nargs="?", default=quickstart)
    parser.add_argument("--architecture", default="mlp")
    parser.add_argument("--preset", default="")
    parser.add_argument("--workers", type=int, default=0, help="worker processes of both ways")
    parser.add_argument("--threads", type=int, default=1, help="of the network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=16_384, help="of the published way in a round")
    parser.add_argument("--open-once", action="store_true", help="the published datasets")
    parser.add_argument("--in-memory", action="store_true", help="climlink keeps the columns")
    parser.add_argument("--memory", action="store_true", help="print the loader's memory")
    parser.add_argument("--times", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.times:
        largest_memory(arguments)
    elif arguments.memory:
        for times, columns, mebibytes in memory(arguments):
            print(f"{times} times the training columns: {columns} columns, {mebibytes} MiB")
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
