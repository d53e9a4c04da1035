"""climlink compile: a package becomes native code for the processors it will run on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from climlink.cli.console import errors, output

if TYPE_CHECKING:
    from climlink.data.store import ColumnStore
    from climlink.packages.compiled import Precision
    from climlink.packages.read import EmulatorPackage
    from climlink.wrappers.manifest import ReducedPrecisionEntry
    from climlink.wrappers.wrapped_emulator import WrappedEmulator


class Device(StrEnum):
    """Where compiled code runs."""

    CPU = "cpu"
    CUDA = "cuda"


class ShortPrecision(StrEnum):
    """Precisions of a network, as the command line names them."""

    FP32 = "fp32"
    BF16 = "bf16"

    @property
    def whole(self) -> Precision:
        """The manifest's name."""
        return "float32" if self is ShortPrecision.FP32 else "bfloat16"


PrecisionOption = Annotated[
    ShortPrecision,
    typer.Option(help="of the network; bf16 only where no output loses more R² than --r2-loss"),
]
R2LossOption = Annotated[
    float, typer.Option("--r2-loss", min=0.0, help="largest loss of R² that bf16 may cost")
]
MarchOption = Annotated[
    str | None,
    typer.Option(
        help="g++'s name of the processors: x86-64-v4 (AVX512), x86-64-v3 (AVX2), native; default: "
        "the newest of these levels that this machine has"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("compile")(compile_)


def compile_(
    package: Annotated[Path, typer.Argument(help="a wrap_model.pt")],
    device: Annotated[Device, typer.Option(help="where it is to run")] = Device.CPU,
    precision: PrecisionOption = ShortPrecision.FP32,
    data: Annotated[
        Path | None,
        typer.Option(help="store whose test part bf16 is measured on; else the golden columns"),
    ] = None,
    r2_loss: R2LossOption = 1e-3,
    march: MarchOption = None,
) -> None:
    """Compile a package ahead of time: writes an artefact beside it, which a host runs instead of
    the graph where it pins the artefact's SHA-256.

    Needs a C++ compiler and takes half a minute or more; the result needs neither. With
    --precision bf16 the package is written again with what that costs in its manifest, so its own
    SHA-256 changes.

    Example: `climlink compile wrap_model.pt`

    Example: `climlink compile wrap_model.pt --precision bf16 --data DIR/store.zarr`
    """
    from climlink.data.store import ColumnStore
    from climlink.packages.read import EmulatorPackage

    store = None if data is None else ColumnStore.open(data)
    read = EmulatorPackage.read(package)
    compile_and_tell(read, device, precision, store=store, r2_loss=r2_loss, march=march)


def compile_and_tell(
    package: EmulatorPackage,
    device: Device,
    precision: ShortPrecision,
    *,
    store: ColumnStore | None,
    r2_loss: float,
    march: str | None = None,
    emulator: WrappedEmulator | None = None,
) -> None:
    """Compile a package and say what came of it."""
    from climlink.packages.compile import Target, compile_package
    from climlink.packages.read import EmulatorPackage

    target = Target(device.value, precision.whole, march)
    with errors.status(f"compiling for {device} in {precision}"):
        artefact = compile_package(package, target, emulator=emulator, store=store, limit=r2_loss)
    output.print(f"{artefact.path}: {artefact}")
    now = EmulatorPackage.read(package.path)
    for entry in now.manifest.reduced_precision:
        if entry.precision == artefact.entry.precision:
            output.print(f"  {loss_told(entry)}", markup=False, highlight=False)
    if now.digest != package.digest:
        output.print(f"{now.path}: its manifest allows bfloat16 now, SHA-256 {now.digest}")


def loss_told(entry: ReducedPrecisionEntry) -> str:
    """Return what a precision costs, in a line."""
    name, worst = max(entry.r2_loss.items(), key=lambda item: item[1])
    return (
        f"{entry.precision} loses at most {worst:.1e} of R² ({name}; limit {entry.limit:g}), on "
        f"{entry.column_count} columns: {entry.columns}"
    )
