"""Make the packages of the C++ tests: make_fixtures.py FOLDER.

Plain torch and a hand-made manifest, independent of climlink's own exporter, so that the runtime is
tested against the written contract. The manifest is checked against wrappers/manifest.py, the
Python reader of the same contract.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import types
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(
    0, str(Path(__file__).resolve().parent)
)  # also where the fixtures of the bridge load this file by its path

from fixture_networks import (
    Constrained,
    Convolution,
    Double,
    Doubled,
    Fixed,
    Masked,
    Mlp,
    Pair,
    Raised,
    Raising,
    Ranged,
    RangedInFloat32,
    Recurrent,
    Tiny,
)
from fixture_packages import (
    LEVELS,
    TINY_INPUTS,
    TINY_OUTPUTS,
    WIDE_INPUTS,
    WIDE_OUTPUTS,
    edit_manifest,
    entry,
    imported,
    layout,
    manifest,
    rewrite,
    save,
)
from fixture_samples import make_carried, make_fields

REPOSITORY = Path(__file__).resolve().parents[2]
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", category=FutureWarning)


def tamper_outputs(entries: dict[str, bytes], rehash: bool) -> None:
    """Raise the golden value of ptend_t, column 2, level 3 by 1; with rehash the manifest's digest
    follows.
    """
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
    rewrite(
        good,
        folder / "two_manifests.pt",
        lambda e: e.update({"other/extra/climlink/manifest.json": b"{}"}),
    )
    rewrite(
        good, folder / "no_golden.pt", lambda e: e.pop(entry(e, "/golden_outputs.f32")) and None
    )
    rewrite(
        good,
        folder / "short_golden.pt",
        lambda e: e.update({entry(e, "/golden_outputs.f32"): b"\0" * 8}),
    )
    rewrite(good, folder / "golden_digest.pt", lambda e: tamper_outputs(e, rehash=False))
    rewrite(good, folder / "golden_tampered.pt", lambda e: tamper_outputs(e, rehash=True))
    rewrite(
        good,
        folder / "not_torchscript.pt",
        lambda e: [e.pop(n) for n in list(e) if "/extra/" not in n] and None,
    )
    rewrite(
        good,
        folder / "newer_schema.pt",
        edit_manifest(lambda m: m.update(schema_version=3, something_new=1)),
    )
    rewrite(
        good,
        folder / "older_schema.pt",
        edit_manifest(lambda m: m.update(schema_version=1, something_old=1)),
    )
    rewrite(
        good,
        folder / "bad_json.pt",
        lambda e: e.update({entry(e, "/extra/climlink/manifest.json"): b"{"}),
    )
    rewrite(
        good,
        folder / "no_tolerance.pt",
        edit_manifest(lambda m: m["tolerances"].pop(0)),
    )
    rewrite(
        good,
        folder / "no_float32.pt",
        edit_manifest(lambda m: m.update(allowed_precisions=["bfloat16"])),
    )
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
        text = b'{"schema_version": 2, "name": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
        rewrite(
            good,
            folder / f"{name}.pt",
            lambda e, text=text: e.update({entry(e, manifest_of): text}),
        )
    rewrite(
        good,
        folder / "huge_manifest.pt",
        lambda e: e.update({entry(e, manifest_of): b"[" * (5 << 20)}),
    )
    rewrite(
        good,
        folder / "twice_in_capitals.pt",
        lambda e: e.update({entry(e, "/data.pkl").upper(): b""}),
    )
    code_of = "/code/__torch__/fixture_networks.py"
    rewrite(
        good,
        folder / "deep_code.pt",
        lambda e: _replace(e, code_of, b"return ", b"return " + b"(" * 100_000),
    )
    # Memo number 4e9 in the pickle: libtorch would make room for as many values.
    rewrite(
        good,
        folder / "large_memo.pt",
        lambda e: _replace(e, "/data.pkl", b"\x80\x02", b"\x80\x02Nr\xff\xff\xff\xee"),
    )
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
    more_out = layout(
        "more", [("ptend_t", "K/s", 4), ("cam_out_PRECC", "m/s", 1), ("cam_out_PRECSC", "m/s", 1)]
    )
    more_in = layout(
        "more",
        [
            ("state_t", "K", 4),
            ("state_q0001", "kg/kg", 4),
            ("state_ps", "Pa", 1),
            ("pbuf_TAUX", "N/m2", 1),
        ],
    )
    save(folder / "wide_output.pt", Tiny(), manifest(TINY_INPUTS, more_out, 4), torch.zeros(4, 6))
    save(folder / "wide_input.pt", Tiny(), manifest(more_in, TINY_OUTPUTS, 4), torch.zeros(4, 5))
    save(folder / "pair.pt", Pair(), manifest(TINY_INPUTS, TINY_OUTPUTS, 4), torch.zeros(4, 5))
    save(folder / "double.pt", Double(), manifest(TINY_INPUTS, TINY_OUTPUTS, 4), torch.zeros(4, 5))


def with_constraints(record: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a manifest that lists these constraints."""
    return {**record, "constraints": [{"name": name, "parameters": {}} for name in names]}


def make_switched(folder: Path) -> None:
    """Make packages whose constraints can be switched off, with the same network in all: [twice
    and] [1 more]; rain needs its rule.
    """
    network = Tiny()
    doubled, raised, rain = (
        {"doubled": Doubled()},
        {"raised": Raised()},
        {"rain_from_cloud": Doubled("cam_out_PRECC")},
    )
    packages = {
        "switched": doubled | raised | rain,
        "not_doubled": raised | rain,
        "not_raised": doubled | rain,
        "rain": rain,
    }
    for name, rules in packages.items():
        save(
            folder / f"{name}.pt",
            Constrained(network, rules),
            with_constraints(manifest(TINY_INPUTS, TINY_OUTPUTS, 4), rules),
        )
    tampered = folder / "switched_tampered.pt"
    rewrite(folder / "switched.pt", tampered, lambda e: tamper_outputs(e, rehash=True))


def make_ranged(folder: Path) -> None:
    """Make packages with a range policy: one that tells its use, one that cannot, and one that
    tells it in another type.
    """
    rules = {"input_clip": Doubled(), "range_relaxation": Raised()}
    record = with_constraints(manifest(TINY_INPUTS, TINY_OUTPUTS, 4), rules)
    save(folder / "ranged.pt", Ranged(Tiny(), rules), record)
    save(folder / "ranged_untold.pt", Constrained(Tiny(), rules), record)
    save(folder / "ranged_float32.pt", RangedInFloat32(Tiny(), rules), record)


def make_good(folder: Path) -> None:
    """Make the packages that run, and the manifest of one of them as a file of its own."""
    tiny = manifest(TINY_INPUTS, TINY_OUTPUTS, 4)
    save(folder / "tiny.pt", Tiny(), tiny)
    (folder / "manifest.json").write_text(json.dumps(tiny))
    save(folder / "masked.pt", Masked(), tiny)
    save(folder / "raising.pt", Raising(), tiny)
    save(folder / "imported.pt", Tiny(), imported(tiny))
    (folder / "imported.json").write_text(json.dumps(imported(tiny)))
    predictions = [(f"cam_out_{n}", "m/s", 1) for n in ("PRECC", "PRECSC", "FLWDS")]
    confidences = [(f"confidence_cam_out_{n}", "1", (), "confidence") for n in ("PRECC", "PRECSC")]
    save(
        folder / "confidence.pt",
        Tiny(),
        manifest(TINY_INPUTS, layout("tiny_out", predictions + confidences), 4),
    )
    for name, network in {
        "mlp": Mlp(),
        "convolution": Convolution(),
        "recurrent": Recurrent(),
    }.items():
        save(folder / f"{name}.pt", network, manifest(WIDE_INPUTS, WIDE_OUTPUTS, LEVELS))


def check_against_python_reader(folder: Path) -> None:
    """Read every good package's manifest with wrappers/manifest.py of this source tree."""
    for name, place in {
        "climlink": REPOSITORY / "python" / "climlink",
        "climlink.wrappers": REPOSITORY / "wrappers",
    }.items():
        package = types.ModuleType(name)
        package.__path__ = [str(place)]
        sys.modules[name] = package
    parse = importlib.import_module("climlink.wrappers.manifest").parse_manifest
    columns = (
        "tiny",
        "masked",
        "switched",
        "ranged",
        "imported",
        "confidence",
        "mlp",
        "convolution",
        "recurrent",
    )
    for name in (*columns, "field", "rows", "memory", "memory_bare"):
        with zipfile.ZipFile(folder / f"{name}.pt") as archive:
            parse(
                archive.read(
                    entry(dict.fromkeys(archive.namelist(), b""), "/manifest.json")
                ).decode(),
                name,
            )


def main() -> None:
    """Make everything in the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(20240801)
    make_good(folder)
    make_fields(folder)
    make_carried(folder)
    make_switched(folder)
    make_damaged(folder)
    make_judged(folder)
    make_hostile(folder)
    make_disagreeing(folder)
    make_ranged(folder)
    check_against_python_reader(folder)


if __name__ == "__main__":
    main()
