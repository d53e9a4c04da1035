"""The manifest: the one contract between training, export, evaluation and every host. Specified in
docs/manifest.md.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from climlink.wrappers.errors import ManifestError
from climlink.wrappers.layout import (
    LEVEL,
    WIDEST_ROW,
    CarriedPair,
    Coordinate,
    Size,
    Strict,
    VariableLayout,
    check_network_rows,
    check_rows,
)

SCHEMA_VERSION: Literal[2] = 2

DEEPEST = 64
"""Objects and lists of a manifest inside each other; climlink writes 7."""

LARGEST_GRANULE = 1024
"""Far above what kernels need to give the same bits, and small enough that a forward of so many
rows fits memory.
"""

MANIFEST_ENTRY = "climlink/manifest.json"
GOLDEN_INPUTS_ENTRY = "climlink/golden_inputs.f32"
GOLDEN_OUTPUTS_ENTRY = "climlink/golden_outputs.f32"


def _plain(value: Any, where: str = "") -> Any:
    """Return ``value`` if JSON can hold it as it is; ValueError names the first key that it
    cannot.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(
                    f"{where}[{key!r}]: keys must be strings, got {type(key).__name__}"
                )
            _plain(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _plain(item, f"{where}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; JSON has finite numbers only")
    elif value is not None and not isinstance(value, (str, int, float, bool)):
        raise ValueError(
            f"{where} is of type {type(value).__name__}, which JSON cannot hold as it is"
        )
    return value


Configuration = Annotated[dict[str, Any], AfterValidator(_plain)]
"""A free-form record that JSON holds exactly: strings, finite numbers, booleans, null, lists and
dictionaries of these.
"""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 as 64 lower-case hexadecimal digits."""


class HybridCoefficients(Strict):
    """Hybrid coordinate p = P0*a + ps*b, top down; P0 in Pa.

    Midpoints [level], interfaces [level+1].
    """

    p0_pa: float = Field(gt=0)
    hyam: list[float]
    hybm: list[float]
    hyai: list[float]
    hybi: list[float]

    @model_validator(mode="after")
    def _lengths(self) -> HybridCoefficients:
        n = len(self.hyam)
        got = (len(self.hybm), len(self.hyai), len(self.hybi))
        if n < 1 or got != (n, n + 1, n + 1):
            raise ValueError(
                f"hyam has {n} levels, so hybm, hyai, hybi must have {(n, n + 1, n + 1)} values; "
                f"they have {got}"
            )
        return self


class ConstraintEntry(Strict):
    """A physical constraint by ``name`` with all of its ``parameters``."""

    name: str
    parameters: Configuration = Field(default_factory=dict)


class NormalizationConfig(Strict):
    """Choices of the normalization.

    ``scheme``: ``range`` is the published (x - mean)/(max - min), ``moments`` is (x - mean)/std,
    both per level; ``given`` is (x - subtract) * gain with the user's own numbers, ``none`` leaves
    physical units: the network normalizes by itself. ``cloud_transform``: 1 - exp(-lambda q) on
    total cloud. ``fill_policy``: ``flag`` turns a fill value into 1 and any other into 0,
    ``published`` keeps the published centre and spread. ``nonfinite_policy``: ``propagate`` lets
    NaN through (the Runtime refuses it), ``zero`` is the published replacement.
    ``zero_variance_policy``: an input that does not vary enters as zero. ``lagged_clip``: clip
    lagged inputs to the range seen in training, or not at all; both hide them on pruned levels,
    ``published`` does neither. ``humidity_clip``: relative humidity is clipped to 0..1.2 with the
    scheme ``range`` (published), always, or never. ``log_anchor``: where the signed logarithm is
    zero, at the minimum in standard deviations or at the published number, which was divided by
    the mean. ``soft_clip`` bends normalized inputs beyond this magnitude towards twice of it,
    ``hard_clip`` cuts them there; null: not. ``drop_above_pa``: profile inputs enter as zero on
    levels above this pressure in Pa, where the surface is at 1e5 Pa; null: none.
    ``output_center``: subtract the training mean from targets, or not (published).
    ``denormalize_float64``: multiply outputs by their scale in float64.
    """

    scheme: Literal["range", "moments", "given", "none"] = "moments"
    cloud_transform: bool = True
    fill_policy: Literal["flag", "published"] = "flag"
    nonfinite_policy: Literal["propagate", "zero"] = "propagate"
    zero_variance_policy: Literal["zero"] = "zero"
    lagged_clip: Literal["range", "none", "published"] = "range"
    humidity_clip: Literal["range", "always", "never"] = "range"
    log_anchor: Literal["minimum", "published"] = "minimum"
    soft_clip: float | None = Field(default=None, gt=0)
    hard_clip: float | None = Field(default=None, gt=0)
    drop_above_pa: float | None = Field(default=None, gt=0)
    output_center: Literal["zero", "mean"] = "zero"
    denormalize_float64: bool = True

    @model_validator(mode="after")
    def _clips_normalized(self) -> NormalizationConfig:
        if self.scheme == "none" and (self.soft_clip, self.hard_clip) != (None, None):
            raise ValueError(
                "soft_clip and hard_clip act on normalized inputs; with scheme none there are none"
            )
        return self


class NormalizationEntry(Strict):
    """The normalization in the graph: its choices, the SHA-256 of the statistics it was made from,
    and of the buffers themselves.
    """

    configuration: NormalizationConfig
    statistics_digest: Sha256 | None = Field(description="null where no statistics were given")
    buffers_digest: Sha256


class ArchitectureEntry(Strict):
    """The network: registry name, its full configuration, and its number of trainable parameters.

    ``configuration`` is null for a network of no registered architecture, which runs and cannot be
    built again.
    """

    name: str
    configuration: Configuration | None
    trainable_parameters: int = Field(ge=0)


class ToleranceEntry(Strict):
    """Largest accepted difference |a-b|/(s+|b|) of the golden replay on one backend, device type
    and precision.
    """

    backend: Literal["torchscript", "aotinductor"]
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    tolerance: float = Field(gt=0)


class GoldenEntry(Strict):
    """Golden samples stored beside the manifest as raw little-endian float32, C order: [sample,
    n_input] and [sample, n_output].

    With carried state they are sequences, in the order [step][sequence]: ``start`` is 1 in the
    first step and 0 later, and the carried inputs of a step are the golden outputs of the step
    before, byte for byte.
    """

    sample_count: int = Field(ge=2, le=WIDEST_ROW)
    step_count: int = Field(
        default=1, ge=1, description="steps of each golden sequence; 1 where nothing is carried"
    )
    chained_tolerance: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="largest difference where outputs are fed back over all steps; null where "
        "nothing is carried",
    )
    inputs_sha256: Sha256
    outputs_sha256: Sha256
    sensitivity: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="largest change of the outputs under rounding where too few calm samples were "
        "found",
    )

    @model_validator(mode="after")
    def _sequences(self) -> GoldenEntry:
        if self.sample_count % self.step_count:
            raise ValueError(
                f"sample_count {self.sample_count} is not a multiple of step_count "
                f"{self.step_count}"
            )
        if (self.step_count > 1) != (self.chained_tolerance is not None):
            raise ValueError(
                "golden sequences of several steps have a chained_tolerance, single samples have "
                "none"
            )
        return self


class CovarianceEntry(Strict):
    """Covariance of the standardized inputs z = (x - mean) / scale, about factors factorsᵀ +
    diag(residual_variance), over the training split.

    All per value of ``inputs``, one behind the other; ``factors`` is [value][factor]. A constant
    has scale 0; a fill value enters as the center of its variable.
    """

    count: int = Field(ge=1, description="columns it was taken over")
    inputs: list[str] = Field(min_length=1)
    mean: list[float]
    scale: list[Annotated[float, Field(ge=0)]]
    factors: list[list[float]]
    residual_variance: list[Annotated[float, Field(ge=0)]]

    @model_validator(mode="after")
    def _lengths(self) -> CovarianceEntry:
        n = len(self.mean)
        got = (len(self.scale), len(self.factors), len(self.residual_variance))
        if got != (n, n, n) or len({len(row) for row in self.factors}) > 1:
            raise ValueError(
                f"mean has {n} values, so scale, factors and residual_variance must have {n} each, "
                f"and all rows of factors one length; they have {got}"
            )
        return self


class TrainingDistribution(Strict):
    """How the host inputs were distributed in training, for whoever asks whether a column is like
    those.
    """

    probabilities: list[Annotated[float, Field(gt=0, lt=1)]] = Field(min_length=1)
    quantiles: dict[str, list[list[float]]] = Field(
        description="input -> [value][probability], fill values left out"
    )
    covariance: CovarianceEntry | None = None

    @model_validator(mode="after")
    def _ordered(self) -> TrainingDistribution:
        if any(a >= b for a, b in pairwise(self.probabilities)):
            raise ValueError("probabilities must grow")
        for name, rows in self.quantiles.items():
            for row in rows:
                if len(row) != len(self.probabilities) or any(a > b for a, b in pairwise(row)):
                    raise ValueError(
                        f"quantiles of {name} must be {len(self.probabilities)} numbers for each "
                        "value, none above the next"
                    )
        return self

    def check(self, widths: dict[str, int]) -> None:
        """Raise ValueError unless the names and lengths are those of the value inputs."""
        _refuse_others("training_distribution: quantiles", self.quantiles, set(widths))
        for name, rows in self.quantiles.items():
            if len(rows) != widths[name]:
                raise ValueError(
                    f"training_distribution: quantiles of {name} has {len(rows)} values, the input "
                    f"has {widths[name]}"
                )
        if self.covariance is not None:
            names = self.covariance.inputs
            _refuse_others("training_distribution: covariance", names, set(widths))
            n = sum(widths[name] for name in names)
            if len(set(names)) < len(names) or len(self.covariance.mean) != n:
                raise ValueError(
                    f"training_distribution: covariance has {len(self.covariance.mean)} values, "
                    f"its inputs, each once, have {n}"
                )


class ProvenanceEntry(Strict):
    """Where the network comes from and which software made the package."""

    climlink_version: str
    git_revision: str | None = Field(
        description="revision of the source tree, null outside a checkout"
    )
    torch_version: str
    exported_on: str = Field(
        description="CPU vendor and vector instruction set of the exporting machine: same kernels, "
        "same bits"
    )
    data_digest: str | None = Field(description="digest of the training store")
    seed: int | None
    training: Configuration = Field(
        default_factory=dict, description="the training configuration as it was run"
    )


class ImportedEntry(Strict):
    """A package whose graph is a TorchScript file that `climlink export` did not make, and what is
    known of it.
    """

    file: str = Field(min_length=1, description="name of the file that was imported")
    sha256: Sha256 = Field(description="digest of that file")
    parameter_count: int = Field(ge=0)
    golden_source: Literal["store", "pairs", "synthetic"] = Field(
        description="where the golden inputs come from"
    )
    input_copied: bool = Field(
        description="the graph writes into its argument, so a copy is made before it"
    )
    host_postprocessing: Literal["none", "legacy"] = Field(
        description="what the host does to the outputs"
    )
    findings: list[str] = Field(description="what the import measured and a user should know")


class ReducedPrecisionEntry(Strict):
    """What a precision below float32 was measured to cost, before it was allowed."""

    precision: Literal["bfloat16"]
    device: Literal["cpu", "cuda"]
    columns: str = Field(min_length=1, description="what it was measured on, in words")
    column_count: int = Field(ge=1)
    r2_loss: dict[str, float] = Field(
        description="output -> R² in float32 less R² in this precision"
    )
    limit: Annotated[float, Field(gt=0)] = Field(description="largest loss that was accepted")
    golden_difference: Annotated[float, Field(ge=0)] = Field(
        description="of the golden columns, in the difference formula"
    )


class Manifest(Strict):
    """The contract of one package. Version 2; readers refuse other versions and unknown keys."""

    schema_version: Literal[2] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    dims: dict[str, Size] = Field(description="size of every dimension")
    coordinates: dict[str, Coordinate] = Field(
        default_factory=dict, description="dimension -> its values, compared with the host's"
    )
    inputs: VariableLayout
    outputs: VariableLayout = Field(
        description="values, their confidence, carried state, in this order"
    )
    carried: list[CarriedPair] = Field(default_factory=list)
    batch_granule: int = Field(
        ge=1,
        le=LARGEST_GRANULE,
        description="forwards are filled up to a multiple; 1: every sample by itself",
    )
    network_inputs: VariableLayout | None
    network_outputs: VariableLayout | None
    time_step_s: Annotated[float, Field(gt=0)] | None
    calendar: str = "noleap"
    hybrid: HybridCoefficients | None
    pruned_levels: Annotated[int, Field(ge=0)] | None = Field(
        description="levels from the top whose water and wind tendencies are zero"
    )
    normalization: NormalizationEntry | None
    constraints: list[ConstraintEntry] | None
    constants: dict[str, float] | None
    architecture: ArchitectureEntry | None
    allowed_precisions: list[Literal["float32", "bfloat16"]] = Field(min_length=1)
    reduced_precision: list[ReducedPrecisionEntry] = Field(
        default_factory=list, description="what the allowed precisions below float32 cost"
    )
    difference_scale: dict[str, list[float]] = Field(
        description="s of the difference formula per output: one number, or [width]"
    )
    tolerances: list[ToleranceEntry] = Field(min_length=1)
    same_kernels_tolerance: float = Field(
        gt=0, description="between routes on one machine and torch version"
    )
    training_ranges: dict[str, list[list[float]]] = Field(
        default_factory=dict,
        description="input -> [minimum, maximum] seen in training, one number or [width] each; "
        "fill values left out",
    )
    training_distribution: TrainingDistribution | None = Field(
        default=None, description="quantiles and covariance of the host inputs in training"
    )
    operators: list[str] = Field(description="TorchScript operators of the graph, sorted")
    golden: GoldenEntry
    provenance: ProvenanceEntry
    imported: ImportedEntry | None = Field(
        default=None, description="where the graph was not made by `climlink export`"
    )

    @model_validator(mode="after")
    def _rows(self) -> Manifest:
        for layout in filter(
            None, (self.inputs, self.outputs, self.network_inputs, self.network_outputs)
        ):
            layout.check_dims(self.dims)
        check_rows(self.inputs, self.outputs, self.carried)
        if self.network_inputs is not None and self.network_outputs is not None:
            check_network_rows(self.network_inputs, self.network_outputs)
        if bool(self.carried) != (self.golden.step_count > 1):
            raise ValueError("golden: step_count is above 1 if and only if state is carried")
        for name, coordinate in self.coordinates.items():
            if len(coordinate.values) != self.dims.get(name):
                raise ValueError(
                    f"coordinates: {name} has {len(coordinate.values)} values, dims say "
                    f"{self.dims.get(name, 'nothing')}"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.hybrid is not None and len(self.hybrid.hyam) != self.level_count:
            raise ValueError(
                f"dims: level is {self.level_count} but the hybrid coefficients have "
                f"{len(self.hybrid.hyam)} levels"
            )
        if self.pruned_levels is not None and self.pruned_levels > self.level_count:
            raise ValueError(
                f"pruned_levels is {self.pruned_levels} but there are only {self.level_count} "
                "levels"
            )
        measured = {entry.precision for entry in self.reduced_precision}
        if set(self.allowed_precisions) - {"float32"} != measured:
            raise ValueError(
                "reduced_precision must measure every allowed precision below float32, and no other"
            )
        declared = [(t.backend, t.device, t.precision) for t in self.tolerances]
        if len(set(declared)) != len(declared):
            raise ValueError("tolerances must name each backend, device and precision once")
        return self

    @model_validator(mode="after")
    def _scales_and_ranges(self) -> Manifest:
        for v in self.outputs.variables:
            scale = self.difference_scale.get(v.name)
            if scale is None or len(scale) not in (1, v.width) or min(scale) <= 0:
                raise ValueError(
                    f"difference_scale of {v.name} must be 1 or {v.width} positive numbers, got "
                    f"{scale!r:.80}"
                )
            if v.role != "value" and scale != [1.0]:
                raise ValueError(
                    f"difference_scale of {v.name} must be [1.0]: its role is {v.role}"
                )
        _refuse_others(
            "difference_scale", self.difference_scale, {v.name for v in self.outputs.variables}
        )
        widths = {v.name: v.width for v in self.inputs.of_role("value")}
        for name, pair in self.training_ranges.items():
            width = widths.get(name)
            fits = (
                len(pair) == 2
                and len(pair[0]) == len(pair[1])
                and len(pair[0]) in (1, width)
                and width is not None
            )
            if not fits or any(low > high for low, high in zip(*pair, strict=True)):
                raise ValueError(
                    f"training_ranges of {name} must be [minimum, maximum] with 1 or "
                    f"{width or 'no (not an input value)'} numbers each, none above its maximum"
                )
        if self.training_distribution is not None:
            self.training_distribution.check(widths)
        return self

    @property
    def level_count(self) -> int:
        """Number of levels; 0 where there is no vertical dimension."""
        return self.dims.get(LEVEL, 0)

    @property
    def n_input(self) -> int:
        """Length of an input row."""
        return self.inputs.width

    @property
    def n_output(self) -> int:
        """Length of an output row, confidence and carried state included."""
        return self.outputs.width

    @property
    def n_value(self) -> int:
        """How many values of an output row are predictions: they come first."""
        return self.outputs.width_of("value")

    @property
    def has_confidence(self) -> bool:
        """Whether confidence follows the predictions."""
        return bool(self.outputs.of_role("confidence"))

    def tolerance(self, backend: str, device: str, precision: str) -> float:
        """Return the golden tolerance of one backend, device type and precision; ManifestError if
        none is declared.
        """
        for entry in self.tolerances:
            if (entry.backend, entry.device, entry.precision) == (backend, device, precision):
                return entry.tolerance
        if (backend, precision) == ("aotinductor", "float32"):
            # Other kernels, as another machine's are.
            return self.tolerance("torchscript", device, precision)
        raise ManifestError(
            f"the manifest of {self.name!r} declares no tolerance for "
            f"{backend}/{device}/{precision}"
        )

    def require_time_step(self) -> float:
        """Return the time step in seconds; ManifestError for a package that has none."""
        if self.time_step_s is None:
            raise ManifestError(
                f"{self.name!r} is not made for a time step; what is asked here needs tendencies "
                "over one"
            )
        return self.time_step_s

    def to_json(self) -> str:
        """Return the manifest as indented JSON text."""
        return self.model_dump_json(indent=1)


def _refuse_others(key: str, given: Iterable[str], known: set[str]) -> None:
    others = sorted(set(given) - known)
    if others:
        raise ValueError(f"{key} names {others}, which the package does not have")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; a key that stands twice would otherwise be read
    differently by different readers.
    """
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice = min(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return unique


def _refuse_depth(value: Any) -> None:
    """Raise ValueError where more than DEEPEST objects and lists stand inside each other."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for v in level
            if isinstance(v, dict | list)
            for child in (v.values() if isinstance(v, dict) else v)
        ]
    if any(isinstance(v, dict | list) for v in level):
        raise ValueError(f"nested deeper than {DEEPEST} levels")


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")


def parse_manifest(text: str, origin: str) -> Manifest:
    """Return the manifest in JSON ``text``; ``origin`` is the file named in a ManifestError."""
    try:
        raw = json.loads(text, object_pairs_hook=_refuse_twice, parse_constant=_refuse_constant)
        _refuse_depth(raw)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{origin}: the manifest is not JSON ({error})") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ManifestError(f"{origin}: the manifest has no integer schema_version")
    if version > SCHEMA_VERSION:
        raise ManifestError(
            f"{origin}: manifest schema {version} is newer than the {SCHEMA_VERSION} this climlink "
            "reads; update climlink"
        )
    if version < SCHEMA_VERSION:
        raise ManifestError(
            f"{origin}: manifest schema {version}, this climlink reads {SCHEMA_VERSION}; make the "
            "package again with `climlink export RUN --output FILE`, or `climlink import` where it "
            "was imported"
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "manifest"
        raise ManifestError(
            f"{origin}: the manifest is not valid: {where}: {first['msg']} ({error.error_count()} "
            "problem(s))"
        ) from error
