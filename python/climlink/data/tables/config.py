"""What the file of a table cannot say of itself and its user must."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from climlink.config import StrictModel


class Normalization(StrictModel):
    """The netCDF files that normalized values were made with: (x - mean) / (max - min) of inputs, y
    * scale of outputs.
    """

    input_mean: str
    input_max: str
    input_min: str
    output_scale: str | None = Field(
        default=None, description="not needed where there are no targets"
    )


class TableConfig(StrictModel):
    """What a table holds; ``inputs`` and ``outputs`` are a set by its name or the variables in
    their order.

    Columns with names (CSV, Parquet) are held against climsim_v2_kaggle and mmf368 unless told
    otherwise, and may stand in any order. Arrays (.npy, HDF5) name nothing, so their order must be
    given, and whether their values are physical or normalized.
    """

    inputs: str | tuple[str, ...] | None = None
    outputs: str | tuple[str, ...] | None = None
    values: Literal["physical", "normalized"] | None = Field(
        default=None, description="of .npy and HDF5 files; columns with names are physical"
    )
    normalization: Normalization | None = Field(default=None, description="files to undo it with")
    ignore: tuple[str, ...] = Field(default=(), description="columns to leave out")
    row_chunk: int = Field(default=8192, ge=1, description="rows per chunk and restartable block")
