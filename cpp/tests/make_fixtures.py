"""Make the packages of the C++ tests: make_fixtures.py FOLDER.

Plain torch and a hand-made manifest, independent of climlink's own exporter, so that the runtime is tested against the written contract.
The manifest is checked against wrappers/manifest.py, the Python reader of the same contract.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
LEVELS = 60
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)


class Tiny(nn.Module):
    """Linear [n, 9] -> [n, 5]; raises for inputs above 1e6 and divides by the scalar, so that both kinds of failure can be had."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 0 and bool((x.abs() > 1e6).any()):
            raise RuntimeError("the tiny network refuses inputs above 1e6")
        return self.linear(x) / x[:, 8:9]


class Fixed(nn.Module):
    """Five outputs whatever the nine inputs are, exact in float32; ``undefined``: the fourth is NaN."""

    def __init__(self, undefined: bool = False) -> None:
        super().__init__()
        self.register_buffer("outputs", torch.tensor([1.0, 2.0, -3.0, 4.0, 5.0]))
        if undefined:
            self.outputs[3] = float("nan")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outputs.expand(x.shape[0], 5)


class Raising(Tiny):
    """Tiny behind an exported method that raises for inputs above 1e5."""

    @torch.jit.export
    def checked(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x.abs() > 1e5).any()):
            raise RuntimeError("the method refuses inputs above 1e5")
        return self.linear(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.checked(x) / x[:, 8:9]


class Masked(nn.Module):
    """Linear [n, 9] -> [n, 5] beside square roots of negatives, overflows and divisions by zero that a mask takes out again."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(9, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        wild = torch.sqrt(-1 - x[:, :5].abs()) + torch.exp(1e3 + x[:, :5].abs()) + 1 / torch.zeros_like(y)
        return torch.where(torch.isfinite(wild), wild, y)


class Mlp(nn.Module):
    """Linear layers [n, 557] -> [n, 368]; the last output has a layer of its own, because one output takes other kernels than many."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(557, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU())
        self.many = nn.Linear(256, 367)
        self.one = nn.Linear(256, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(x)
        return torch.cat([self.many(hidden), self.one(hidden)], dim=1)


class Columns(nn.Module):
    """Common part of the column networks: [n, 557] -> profiles [n, 26, 60] -> [n, 368]."""

    def channels(self, x: torch.Tensor) -> torch.Tensor:
        profiles = x[:, :540].reshape(-1, 9, 60)
        scalars = x[:, 540:557].unsqueeze(2).expand(-1, 17, 60)
        return torch.cat([profiles, scalars], dim=1)

    def rows(self, y: torch.Tensor) -> torch.Tensor:
        return torch.cat([y[:, :6].flatten(1), y[:, 6:14].mean(dim=2)], dim=1)


class Convolution(Columns):
    """Strided, dilated and transposed one-dimensional convolutions with group normalization, the parts of a U-Net."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(26, 48, 3, padding=1)
        self.down = nn.Conv1d(48, 64, 4, stride=2, padding=1)
        self.middle = nn.Sequential(nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv1d(64, 64, 3, padding=2, dilation=2))
        self.up = nn.ConvTranspose1d(64, 48, 4, stride=2, padding=1)
        self.leave = nn.Conv1d(96, 14, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        top = nn.functional.silu(self.enter(self.channels(x)))
        low = self.down(top)
        return self.rows(self.leave(torch.cat([top, self.up(low + self.middle(low))], dim=1)))


class Recurrent(Columns):
    """Bidirectional LSTM along the levels."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(26, 48, batch_first=True, bidirectional=True)
        self.leave = nn.Linear(96, 14)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(self.channels(x).transpose(1, 2))
        return self.rows(self.leave(y).transpose(1, 2))


class Pair(nn.Module):
    """Returns two tensors, which no manifest allows."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :5], x[:, :5]


class Double(nn.Module):
    """Returns float64, which no manifest allows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :5].double()


class Doubled(nn.Module):
    """A constraint with a switch: twice the outputs."""

    def __init__(self, makes: str = "") -> None:
        super().__init__()
        self.enabled: bool = True
        self.makes: str = makes

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return 2 * y


class Raised(Doubled):
    """A constraint with a switch: 1 more than the outputs."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        return y + 1


class Rules(nn.Module):
    """Constraints by name, in their order: where the runtime looks for switches."""

    def __init__(self, rules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.names = list(rules)
        self.rules = nn.ModuleList(rules.values())

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        for rule in self.rules:
            if rule.enabled:
                y = rule(y)
        return y


class Constrained(nn.Module):
    """A network and its constraints, laid out as a WrappedEmulator is."""

    def __init__(self, network: nn.Module, rules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.constraints = Rules(rules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.constraints(self.network(x))


def layout(name: str, variables: list[tuple[str, str, int]]) -> dict[str, Any]:
    """Return a layout from (name, units, width) triples."""
    entries, offset = [], 0
    for variable, units, width in variables:
        entries.append({"name": variable, "units": units, "long_name": variable, "width": width, "offset": offset, "lag": 0})
        offset += width
    return {"set": name, "width": offset, "variables": entries}


TINY_INPUTS = layout("tiny_in", [("state_t", "K", 4), ("state_q0001", "kg/kg", 4), ("state_ps", "Pa", 1)])
TINY_OUTPUTS = layout("tiny_out", [("ptend_t", "K/s", 4), ("cam_out_PRECC", "m/s", 1)])
WIDE_INPUTS = layout("wide_in", [(f"profile_{i}", "1", LEVELS) for i in range(9)] + [(f"scalar_{i}", "1", 1) for i in range(17)])
WIDE_OUTPUTS = layout("wide_out", [(f"tendency_{i}", "1/s", LEVELS) for i in range(6)] + [(f"flux_{i}", "W/m2", 1) for i in range(8)])


def manifest(inputs: dict[str, Any], outputs: dict[str, Any], level_count: int) -> dict[str, Any]:
    """Return a manifest with everything but the golden digests."""
    return {
        "schema_version": 1,
        "kind": "column",
        "name": "fixture",
        "inputs": inputs,
        "outputs": outputs,
        "confidence": None,
        "network_inputs": inputs,
        "network_outputs": outputs,
        "level_count": level_count,
        "time_step_s": 1200.0,
        "calendar": "noleap",
        "hybrid": {
            "p0_pa": 100000.0,
            "hyam": [0.1] * level_count,
            "hybm": [0.5] * level_count,
            "hyai": [0.1] * (level_count + 1),
            "hybi": [0.5] * (level_count + 1),
        },
        "pruned_levels": 0,
        "normalization": {
            "configuration": {
                "scheme": "moments",
                "cloud_transform": True,
                "fill_policy": "flag",
                "nonfinite_policy": "propagate",
                "zero_variance_policy": "zero",
                "lagged_clip": "range",
                "output_center": "zero",
                "denormalize_float64": True,
            },
            "statistics_digest": "0" * 64,
            "buffers_digest": "0" * 64,
        },
        "constraints": [{"name": "scale", "parameters": {"factor": 1.0}}],
        "constants": {"gravity": 9.80616},
        "architecture": {"name": "linear", "configuration": {}, "trainable_parameters": 50},
        "allowed_precisions": ["float32"],
        "difference_scale": {v["name"]: [0.01] * v["width"] for v in outputs["variables"]},
        "tolerances": [{"backend": "torchscript", "device": "cpu", "precision": "float32", "tolerance": 2e-5}],
        "same_kernels_tolerance": 1e-6,
        "imported": None,
        "training_ranges": {},
        "operators": ["aten::linear"],
        "golden": {"column_count": 0, "inputs_sha256": "", "outputs_sha256": ""},
        "provenance": {
            "climlink_version": "0.1.0",
            "git_revision": None,
            "torch_version": torch.__version__,
            "exported_on": "fixture",
            "data_digest": None,
            "seed": 1,
            "training": {},
        },
    }


def imported(record: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest as an import writes it: what an unknown graph does not say is null."""
    unknown = ("network_inputs", "network_outputs", "hybrid", "pruned_levels", "normalization", "constraints", "constants", "architecture")
    about = {
        "file": "old.pt",
        "sha256": "0" * 64,
        "parameter_count": 50,
        "golden_source": "synthetic",
        "input_copied": False,
        "host_postprocessing": "legacy",
        "findings": ["something measured"],
    }
    return {**record, **dict.fromkeys(unknown), "imported": about}


def columns(width: int, count: int = 4) -> torch.Tensor:
    """Return random rows whose last value, the divisor of Tiny, is not near zero."""
    x = torch.randn(count, width)
    x[:, 8] = 1 + x[:, 8].abs()
    return x


def add_golden(record: dict[str, Any], x: torch.Tensor, y: torch.Tensor) -> dict[str, bytes]:
    """Write the golden digests into a manifest; return the extra files."""
    raw = {"inputs": x.numpy().astype("<f4").tobytes(), "outputs": y.numpy().astype("<f4").tobytes()}
    digests = {f"{k}_sha256": hashlib.sha256(v).hexdigest() for k, v in raw.items()}
    record["golden"] = {"column_count": x.shape[0], "sensitivity": None, **digests}
    return {
        "climlink/manifest.json": json.dumps(record).encode(),
        "climlink/golden_inputs.f32": raw["inputs"],
        "climlink/golden_outputs.f32": raw["outputs"],
    }


def save(path: Path, network: nn.Module, record: dict[str, Any], golden: torch.Tensor | None = None) -> None:
    """Save a package; golden outputs come from the network unless given."""
    script = torch.jit.script(network.eval())
    x = columns(record["inputs"]["width"])
    with torch.no_grad():
        y = network(x) if golden is None else golden
    torch.jit.save(script, path, _extra_files=add_golden(record, x, y))


def rewrite(source: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Copy a zip, letting change edit its entries (path -> bytes)."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, raw in entries.items():
            archive.writestr(name, raw)


def entry(entries: dict[str, bytes], suffix: str) -> str:
    """Return the path of the entry with this ending."""
    return next(name for name in entries if name.endswith(suffix))


def edit_manifest(edit: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    """Return a change for rewrite that edits the manifest."""

    def change(entries: dict[str, bytes]) -> None:
        name = entry(entries, "/extra/climlink/manifest.json")
        record = json.loads(entries[name])
        edit(record)
        entries[name] = json.dumps(record).encode()

    return change


def tamper_outputs(entries: dict[str, bytes], rehash: bool) -> None:
    """Raise the golden value of ptend_t, column 2, level 3 by 1; with rehash the manifest's digest follows."""
    name = entry(entries, "/golden_outputs.f32")
    values = torch.frombuffer(bytearray(entries[name]), dtype=torch.float32).clone()
    values[2 * 5 + 3] += 1
    entries[name] = values.numpy().tobytes()
    if rehash:
        digest = hashlib.sha256(entries[name]).hexdigest()
        edit_manifest(lambda record: record["golden"].update(outputs_sha256=digest))(entries)


def damage_manifest_bytes(path: Path) -> None:
    """Flip one byte inside the stored manifest, leaving its CRC as it was."""
    raw = bytearray(path.read_bytes())
    raw[raw.index(b'"name": "fixture"') + 10] ^= 1
    path.write_bytes(bytes(raw))


def make_damaged(folder: Path) -> None:
    """Make every package that must be refused before torch sees it, or by the golden replay."""
    good = folder / "tiny.pt"
    raw = good.read_bytes()
    (folder / "truncated.pt").write_bytes(raw[: len(raw) // 2])
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_bytes(b"this is a text and no package\n" * 10)
    with zipfile.ZipFile(folder / "plain_zip.pt", "w") as archive:
        archive.writestr("readme.txt", "a zip of something else")
    torch.jit.save(torch.jit.script(Tiny()), folder / "no_manifest.pt")
    rewrite(good, folder / "two_manifests.pt", lambda e: e.update({"other/extra/climlink/manifest.json": b"{}"}))
    rewrite(good, folder / "no_golden.pt", lambda e: e.pop(entry(e, "/golden_outputs.f32")) and None)
    rewrite(good, folder / "short_golden.pt", lambda e: e.update({entry(e, "/golden_outputs.f32"): b"\0" * 8}))
    rewrite(good, folder / "golden_digest.pt", lambda e: tamper_outputs(e, rehash=False))
    rewrite(good, folder / "golden_tampered.pt", lambda e: tamper_outputs(e, rehash=True))
    rewrite(good, folder / "not_torchscript.pt", lambda e: [e.pop(n) for n in list(e) if "/extra/" not in n] and None)
    rewrite(good, folder / "newer_schema.pt", edit_manifest(lambda m: m.update(schema_version=2, something_new=1)))
    rewrite(good, folder / "bad_json.pt", lambda e: e.update({entry(e, "/extra/climlink/manifest.json"): b"{"}))
    rewrite(good, folder / "no_tolerance.pt", edit_manifest(lambda m: m["tolerances"][0].update(device="cuda")))
    rewrite(good, folder / "no_float32.pt", edit_manifest(lambda m: m.update(allowed_precisions=["bfloat16"])))
    rewrite(good, folder / "bad_crc.pt", lambda e: None)
    damage_manifest_bytes(folder / "bad_crc.pt")


def make_judged(folder: Path) -> None:
    """Make packages whose golden values are off by hand, or are not numbers."""
    record = manifest(TINY_INPUTS, TINY_OUTPUTS, 4)
    record["difference_scale"] = {"ptend_t": [0.01, 0.02, 0.03, 0.04], "cam_out_PRECC": [0.05]}
    golden = Fixed().outputs.repeat(4, 1)
    golden[0, 0] = 1.125
    golden[1, 2] = -3.5
    record["tolerances"][0]["tolerance"] = 0.15
    save(folder / "off_by_hand.pt", Fixed(), record, golden)
    record["tolerances"][0]["tolerance"] = 0.14
    save(folder / "off_beyond.pt", Fixed(), record, golden)
    save(folder / "golden_nan.pt", Fixed(undefined=True), record, Fixed().outputs.repeat(4, 1))
    save(folder / "both_nan.pt", Fixed(undefined=True), record)


class Acting(nn.Module):
    """Would write the file `written_by_graph`, in a branch of a loop that no column takes."""

    def __init__(self) -> None:
        super().__init__()
        self.tiny = Tiny()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return Tiny's outputs [column, n_output]."""
        for i in range(2):
            if i > 5:
                torch.save(x, "written_by_graph")
        return self.tiny(x)


class ActingOnLoad(nn.Module):
    """The first five inputs; writes the file `written_by_graph` while it is loaded."""

    @torch.jit.export
    def __getstate__(self):
        """Return what __setstate__ takes."""
        return (1, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]) -> None:
        """Write a file."""
        torch.save(torch.zeros(1), "written_by_graph")
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [column, 5]."""
        return x[:, :5].clone()


def make_hostile(folder: Path) -> None:
    """Make packages that act, exhaust or confuse their reader."""
    good = folder / "tiny.pt"
    manifest_of = "/extra/climlink/manifest.json"
    tiny = manifest(TINY_INPUTS, TINY_OUTPUTS, 4)
    save(folder / "acting.pt", Acting(), tiny)
    save(folder / "acting_on_load.pt", ActingOnLoad(), tiny)
    for name, depth in {"nested_65": 65, "nested_100000": 100_000}.items():
        text = b'{"schema_version": 1, "name": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
        rewrite(good, folder / f"{name}.pt", lambda e, text=text: e.update({entry(e, manifest_of): text}))
    rewrite(good, folder / "huge_manifest.pt", lambda e: e.update({entry(e, manifest_of): b"[" * (5 << 20)}))
    rewrite(good, folder / "twice_in_capitals.pt", lambda e: e.update({entry(e, "/data.pkl").upper(): b""}))
    rewrite(good, folder / "deep_code.pt", lambda e: _replace(e, "/code/__torch__.py", b"return ", b"return " + b"(" * 100_000))
    # Memo number 4e9 in the pickle: libtorch would make room for as many values.
    rewrite(good, folder / "large_memo.pt", lambda e: _replace(e, "/data.pkl", b"\x80\x02", b"\x80\x02Nr\xff\xff\xff\xee"))
    with zipfile.ZipFile(folder / "inflated.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/data.pkl", bytes(80 << 20))
    raw = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        raw[raw.index(archive.read("tiny/data/0")) + 1] ^= 4
    (folder / "flipped_weight.pt").write_bytes(raw)


def _replace(entries: dict[str, bytes], suffix: str, old: bytes, new: bytes) -> None:
    name = entry(entries, suffix)
    assert old in entries[name]
    entries[name] = entries[name].replace(old, new, 1)


def make_disagreeing(folder: Path) -> None:
    """Make packages whose graph does not do what the manifest says."""
    more_out = layout("more", [("ptend_t", "K/s", 4), ("cam_out_PRECC", "m/s", 1), ("cam_out_PRECSC", "m/s", 1)])
    more_in = layout("more", [("state_t", "K", 4), ("state_q0001", "kg/kg", 4), ("state_ps", "Pa", 1), ("pbuf_TAUX", "N/m2", 1)])
    save(folder / "wide_output.pt", Tiny(), manifest(TINY_INPUTS, more_out, 4), torch.zeros(4, 6))
    save(folder / "wide_input.pt", Tiny(), manifest(more_in, TINY_OUTPUTS, 4), torch.zeros(4, 5))
    save(folder / "pair.pt", Pair(), manifest(TINY_INPUTS, TINY_OUTPUTS, 4), torch.zeros(4, 5))
    save(folder / "double.pt", Double(), manifest(TINY_INPUTS, TINY_OUTPUTS, 4), torch.zeros(4, 5))


def with_constraints(record: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a manifest that lists these constraints."""
    return {**record, "constraints": [{"name": name, "parameters": {}} for name in names]}


def make_switched(folder: Path) -> None:
    """Make packages whose constraints can be switched off, with the same network in all: [twice and] [1 more]; rain needs its rule."""
    network = Tiny()
    doubled, raised, rain = {"doubled": Doubled()}, {"raised": Raised()}, {"rain_from_cloud": Doubled("cam_out_PRECC")}
    packages = {"switched": doubled | raised | rain, "not_doubled": raised | rain, "not_raised": doubled | rain, "rain": rain}
    for name, rules in packages.items():
        save(folder / f"{name}.pt", Constrained(network, rules), with_constraints(manifest(TINY_INPUTS, TINY_OUTPUTS, 4), rules))
    tampered = folder / "switched_tampered.pt"
    rewrite(folder / "switched.pt", tampered, lambda e: tamper_outputs(e, rehash=True))


def make_good(folder: Path) -> None:
    """Make the packages that run, and the manifest of one of them as a file of its own."""
    tiny = manifest(TINY_INPUTS, TINY_OUTPUTS, 4)
    save(folder / "tiny.pt", Tiny(), tiny)
    (folder / "manifest.json").write_text(json.dumps(tiny))
    save(folder / "masked.pt", Masked(), tiny)
    save(folder / "raising.pt", Raising(), tiny)
    save(folder / "imported.pt", Tiny(), imported(tiny))
    (folder / "imported.json").write_text(json.dumps(imported(tiny)))
    surface = layout("surface", [("cam_out_PRECC", "m/s", 1), ("cam_out_PRECSC", "m/s", 1)])
    confident = manifest(TINY_INPUTS, layout("tiny_out", [(f"cam_out_{n}", "m/s", 1) for n in ("PRECC", "PRECSC", "FLWDS")]), 4)
    confident["confidence"] = confident["network_outputs"] = surface
    save(folder / "confidence.pt", Tiny(), confident)
    for name, network in {"mlp": Mlp(), "convolution": Convolution(), "recurrent": Recurrent()}.items():
        save(folder / f"{name}.pt", network, manifest(WIDE_INPUTS, WIDE_OUTPUTS, LEVELS))


def check_against_python_reader(folder: Path) -> None:
    """Read every good package's manifest with wrappers/manifest.py of this source tree."""
    for name, place in {"climlink": REPOSITORY / "python" / "climlink", "climlink.wrappers": REPOSITORY / "wrappers"}.items():
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package
    parse = importlib.import_module("climlink.wrappers.manifest").parse_manifest
    for name in ("tiny", "masked", "switched", "imported", "confidence", "mlp", "convolution", "recurrent"):
        with zipfile.ZipFile(folder / f"{name}.pt") as archive:
            parse(archive.read(entry(dict.fromkeys(archive.namelist(), b""), "/manifest.json")).decode(), name)


def main() -> None:
    """Make everything in the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(20240801)
    make_good(folder)
    make_switched(folder)
    make_damaged(folder)
    make_judged(folder)
    make_hostile(folder)
    make_disagreeing(folder)
    check_against_python_reader(folder)


if __name__ == "__main__":
    main()
