"""The manifest: the one contract between training, export, evaluation and every host. Specified in docs/manifest.md."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from climlink.wrappers.errors import ManifestError

SCHEMA_VERSION: Literal[1] = 1

DEEPEST = 64
"""Objects and lists of a manifest inside each other; climlink writes 7."""

MANIFEST_ENTRY = "climlink/manifest.json"
GOLDEN_INPUTS_ENTRY = "climlink/golden_inputs.f32"
GOLDEN_OUTPUTS_ENTRY = "climlink/golden_outputs.f32"


class Strict(BaseModel):
    """A record that refuses unknown keys, converts no type and cannot be changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def _plain(value: Any, where: str = "") -> Any:
    """Return ``value`` if JSON can hold it as it is; ValueError names the first key that it cannot."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where}[{key!r}]: keys must be strings, got {type(key).__name__}")
            _plain(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _plain(item, f"{where}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; JSON has finite numbers only")
    elif value is not None and not isinstance(value, (str, int, float, bool)):
        raise ValueError(f"{where} is of type {type(value).__name__}, which JSON cannot hold as it is")
    return value


Configuration = Annotated[dict[str, Any], AfterValidator(_plain)]
"""A free-form record that JSON holds exactly: strings, finite numbers, booleans, null, lists and dictionaries of these."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 as 64 lower-case hexadecimal digits."""


class VariableEntry(Strict):
    """One variable of a packed row: its ClimSim name, units, number of values and first position (0-based)."""

    name: str
    units: str
    long_name: str
    width: int = Field(ge=1)
    offset: int = Field(ge=0)
    lag: int = Field(ge=0, description="steps back in time the value belongs to")


class VariableLayout(Strict):
    """An ordered list of variables that fills a packed row without gaps."""

    set: str = Field(description="name of the variable set, such as host_v2_q")
    width: int = Field(ge=1)
    variables: list[VariableEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _contiguous(self) -> VariableLayout:
        names = [v.name for v in self.variables]
        if len(set(names)) != len(names):
            raise ValueError(f"variable names repeat in set {self.set!r}: {sorted({n for n in names if names.count(n) > 1})}")
        position = 0
        for v in self.variables:
            if v.offset != position:
                raise ValueError(f"{v.name} starts at {v.offset} in set {self.set!r}, expected {position}: offsets must be contiguous")
            position += v.width
        if position != self.width:
            raise ValueError(f"set {self.set!r} says width {self.width}, its variables fill {position}")
        return self


class HybridCoefficients(Strict):
    """Hybrid coordinate p = P0*a + ps*b at midpoints [level] and interfaces [level+1]; P0 in Pa."""

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
            raise ValueError(f"hyam has {n} levels, so hybm, hyai, hybi must have {(n, n + 1, n + 1)} values; they have {got}")
        return self


class ConstraintEntry(Strict):
    """A physical constraint by name with all of its parameters."""

    name: str
    parameters: Configuration = Field(default_factory=dict)


class NormalizationConfig(Strict):
    """Choices of the normalization.

    ``scheme``: ``range`` is the published (x - mean)/(max - min), ``moments`` is (x - mean)/std, both per level.
    ``cloud_transform``: 1 - exp(-lambda q) on total cloud. ``fill_policy``: ``flag`` turns a fill value into 1 and any other into 0,
    ``published`` keeps the published centre and spread. ``nonfinite_policy``: ``propagate`` lets NaN through (the Runtime refuses it),
    ``zero`` is the published replacement. ``zero_variance_policy``: an input that does not vary enters as zero. ``lagged_clip``: clip
    lagged inputs to the range seen in training, or not at all. ``output_center``: subtract the training mean from targets, or not
    (published). ``denormalize_float64``: multiply outputs by their scale in float64.
    """

    scheme: Literal["range", "moments"] = "moments"
    cloud_transform: bool = True
    fill_policy: Literal["flag", "published"] = "flag"
    nonfinite_policy: Literal["propagate", "zero"] = "propagate"
    zero_variance_policy: Literal["zero"] = "zero"
    lagged_clip: Literal["range", "none"] = "range"
    output_center: Literal["zero", "mean"] = "zero"
    denormalize_float64: bool = True


class NormalizationEntry(Strict):
    """The normalization in the graph: its choices, the SHA-256 of the statistics it was made from, and of the buffers themselves."""

    configuration: NormalizationConfig
    statistics_digest: Sha256
    buffers_digest: Sha256


class ArchitectureEntry(Strict):
    """The network: registry name, its full configuration, and its number of trainable parameters."""

    name: str
    configuration: Configuration
    trainable_parameters: int = Field(ge=0)


class ToleranceEntry(Strict):
    """Largest accepted difference |a-b|/(s+|b|) of the golden replay on one backend, device type and precision."""

    backend: Literal["torchscript", "aotinductor"]
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    tolerance: float = Field(gt=0)


class GoldenEntry(Strict):
    """Golden columns stored beside the manifest as raw little-endian float32, C order: [column, n_input] and [column, n_output]."""

    column_count: int = Field(ge=2)
    inputs_sha256: Sha256
    outputs_sha256: Sha256
    sensitivity: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="largest change of the outputs under rounding where too few calm columns were found"
    )


class ProvenanceEntry(Strict):
    """Where the network comes from and which software made the package."""

    climlink_version: str
    git_revision: str | None = Field(description="revision of the source tree, null outside a checkout")
    torch_version: str
    exported_on: str = Field(description="CPU vendor and vector instruction set of the exporting machine: same kernels, same bits")
    data_digest: str | None = Field(description="digest of the training store")
    seed: int | None
    training: Configuration = Field(default_factory=dict, description="the training configuration as it was run")


class ImportedEntry(Strict):
    """A package whose graph is a TorchScript file that `climlink export` did not make, and what is known of it."""

    file: str = Field(min_length=1, description="name of the file that was imported")
    sha256: Sha256 = Field(description="digest of that file")
    parameter_count: int = Field(ge=0)
    golden_source: Literal["store", "pairs", "synthetic"] = Field(description="where the golden inputs come from")
    input_copied: bool = Field(description="the graph writes into its argument, so a copy is made before it")
    host_postprocessing: Literal["none", "legacy"] = Field(description="what the host does to the outputs")
    findings: list[str] = Field(description="what the import measured and a user should know")


UNKNOWN_KEYS = (
    "network_inputs",
    "network_outputs",
    "hybrid",
    "pruned_levels",
    "normalization",
    "constraints",
    "constants",
    "architecture",
)
"""Keys that are null where an imported graph does not say; every other manifest has them."""


class Manifest(Strict):
    """The contract of one package. Version 1; readers refuse a newer version and unknown keys."""

    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["column"] = "column"
    name: str = Field(min_length=1)
    inputs: VariableLayout
    outputs: VariableLayout
    confidence: VariableLayout | None = Field(default=None, description="appended to the output row after the outputs")
    network_inputs: VariableLayout | None
    network_outputs: VariableLayout | None
    level_count: int = Field(ge=1)
    time_step_s: float = Field(gt=0)
    calendar: str = "noleap"
    hybrid: HybridCoefficients | None
    pruned_levels: Annotated[int, Field(ge=0)] | None = Field(description="levels from the top whose water and wind tendencies are zero")
    normalization: NormalizationEntry | None
    constraints: list[ConstraintEntry] | None
    constants: dict[str, float] | None
    architecture: ArchitectureEntry | None
    allowed_precisions: list[Literal["float32", "bfloat16"]] = Field(min_length=1)
    difference_scale: dict[str, list[float]] = Field(description="s of the difference formula per output variable, [width]")
    tolerances: list[ToleranceEntry] = Field(min_length=1)
    same_kernels_tolerance: float = Field(gt=0, description="between routes on one machine and torch version")
    training_ranges: dict[str, list[list[float]]] = Field(
        default_factory=dict, description="input variable -> [minimum [width], maximum [width]] seen in training, fill values left out"
    )
    operators: list[str] = Field(description="TorchScript operators of the graph, sorted")
    golden: GoldenEntry
    provenance: ProvenanceEntry
    imported: ImportedEntry | None = Field(default=None, description="where the graph was not made by `climlink export`")

    @model_validator(mode="after")
    def _unknown(self) -> Manifest:
        absent = [key for key in UNKNOWN_KEYS if getattr(self, key) is None]
        if absent and self.imported is None:
            raise ValueError(f"{absent[0]} is null, which only an imported package (key imported) may say")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.hybrid is not None and len(self.hybrid.hyam) != self.level_count:
            raise ValueError(f"level_count is {self.level_count} but the hybrid coefficients have {len(self.hybrid.hyam)} levels")
        if self.pruned_levels is not None and self.pruned_levels > self.level_count:
            raise ValueError(f"pruned_levels is {self.pruned_levels} but there are only {self.level_count} levels")
        for layout in filter(None, (self.inputs, self.outputs, self.network_inputs, self.network_outputs)):
            for v in layout.variables:
                if v.width not in (1, self.level_count):
                    raise ValueError(f"{v.name} of set {layout.set!r} has width {v.width}, neither 1 nor level_count {self.level_count}")
        if self.confidence is not None and self.confidence != self.network_outputs:
            raise ValueError("confidence must be laid out as network_outputs, or be null")
        return self

    @model_validator(mode="after")
    def _scales_and_ranges(self) -> Manifest:
        for v in self.outputs.variables:
            scale = self.difference_scale.get(v.name)
            if scale is None or len(scale) != v.width or min(scale) <= 0:
                raise ValueError(f"difference_scale of {v.name} must be {v.width} positive numbers, got {scale!r:.80}")
        widths = {v.name: v.width for v in self.inputs.variables}
        for name, pair in self.training_ranges.items():
            if [len(part) for part in pair] != [widths.get(name)] * 2 or any(low > high for low, high in zip(*pair, strict=True)):
                raise ValueError(
                    f"training_ranges of {name} must be [minimum, maximum] with {widths.get(name, 'no (not an input)')} values each, "
                    "none above its maximum"
                )
        _refuse_others("difference_scale", self.difference_scale, {v.name for v in self.outputs.variables})
        declared = [(t.backend, t.device, t.precision) for t in self.tolerances]
        if len(set(declared)) != len(declared):
            raise ValueError("tolerances must name each backend, device and precision once")
        return self

    @property
    def n_input(self) -> int:
        """Length of an input row."""
        return self.inputs.width

    @property
    def n_output(self) -> int:
        """Length of an output row, confidence included."""
        return self.outputs.width + (self.confidence.width if self.confidence else 0)

    @property
    def n_column_golden(self) -> int:
        """Number of golden columns."""
        return self.golden.column_count

    def tolerance(self, backend: str, device: str, precision: str) -> float:
        """Return the golden tolerance of one backend, device type and precision; ManifestError if none is declared."""
        for entry in self.tolerances:
            if (entry.backend, entry.device, entry.precision) == (backend, device, precision):
                return entry.tolerance
        raise ManifestError(f"the manifest of {self.name!r} declares no tolerance for {backend}/{device}/{precision}")

    def to_json(self) -> str:
        """Return the manifest as indented JSON text."""
        return self.model_dump_json(indent=1)


def _refuse_others(key: str, given: dict[str, list[float]], known: set[str]) -> None:
    others = sorted(set(given) - known)
    if others:
        raise ValueError(f"{key} names {others}, which the package does not have")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; a key that stands twice would otherwise be read differently by different readers."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice = min(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return unique


def _refuse_depth(value: Any) -> None:
    """Raise ValueError where more than DEEPEST objects and lists stand inside each other."""
    level = [value]
    for _ in range(DEEPEST):
        level = [child for v in level if isinstance(v, dict | list) for child in (v.values() if isinstance(v, dict) else v)]
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
        raise ManifestError(f"{origin}: manifest schema {version} is newer than the {SCHEMA_VERSION} this climlink reads; update climlink")
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"]) or "manifest"
        raise ManifestError(f"{origin}: the manifest is not valid: {where}: {first['msg']} ({error.error_count()} problem(s))") from error
