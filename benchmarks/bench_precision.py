"""Samples per second of the published U-Net's training step on a GPU: float32, TF32, bfloat16.

usage: python benchmarks/bench_precision.py [COLUMNS_PER_STEP]

The subjects take turns, a few steps each; without a GPU there is nothing to measure.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.nn import functional

from climlink.architectures import find
from climlink.wrappers.column_emulator import ColumnShape

SHAPE = ColumnShape(
    profile_inputs=9, scalar_inputs=17, profile_outputs=5, scalar_outputs=8, level_count=60
)
ROUNDS, STEPS = 12, 5


def main(columns: int) -> None:
    """Print samples per second in each precision, and their ratio to float32."""
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured (TF32 and bfloat16 are arithmetic of GPUs)")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {columns} columns per step")
    steps = {name: training_step(columns, *how) for name, how in SUBJECTS.items()}
    for step in steps.values():
        seconds(step)  # compiled kernels, allocated memory
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            taken[name].append(seconds(step))
    base = taken["float32"]
    for name, times in taken.items():
        gains = [b / t for b, t in zip(base, times, strict=True)]
        rate = STEPS * columns / statistics.median(times)
        print(
            f"{name:10s} {rate:10.0f} samples/s   x {statistics.median(gains):.2f} "
            f"({min(gains):.2f} to {max(gains):.2f})"
        )


SUBJECTS: dict[str, tuple[bool, bool]] = {
    "float32": (False, False),
    "TF32": (True, False),
    "bfloat16": (True, True),
}
"""Whether float32 matrices are multiplied in TF32, and whether most of the network is in
bfloat16 (precision: bf16-mixed).
"""


def training_step(columns: int, tf32: bool, bf16: bool, device: str = "cuda") -> Callable[[], None]:
    """Return a whole optimizer step of a network of its own on fixed random columns."""
    torch.manual_seed(7)
    network = find("unet").build({"preset": "published"}, SHAPE).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    profiles = torch.randn(columns, SHAPE.profile_inputs, SHAPE.level_count, device=device)
    scalars = torch.randn(columns, SHAPE.scalar_inputs, device=device)

    def step() -> None:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            out = network(profiles, scalars)
        loss = sum(
            functional.huber_loss(part.float(), torch.zeros_like(part, dtype=torch.float32))
            for part in out[:2]
        )
        loss.backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Return the time of some steps."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4096)
