"""The steps of run.sh, one a call: check.py STEP [ARGUMENT]. Every step writes what it found to
OUT/STEP.json; `table` prints all. Needs numpy, torch and the module that run.sh has built.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE, OUT = Path(__file__).resolve().parent, Path(os.environ["OUT"])
DEVICE = os.environ["GPU_DEVICE"]
ON_GPU = DEVICE != "cpu"
sys.path.insert(0, os.environ["BUILD"] + "/cpp")
PACKAGES = [
    HERE / "data" / name
    for name in json.loads((HERE / "packages.json").read_text(encoding="utf-8"))
]
LARGEST = max(PACKAGES, key=lambda p: p.stat().st_size)
SIZES = [int(n) for n in os.environ.get("GPU_COLUMNS", "16,48,384,2700,21600").split(",")]
COLUMNS = 384
CPU_TOLERANCE, GPU_TOLERANCE = 2e-5, 1e-4  # of the manifests, for another CPU and for a device
Rows = np.ndarray


def manifest_of(package: Path) -> dict[str, Any]:
    """Return the manifest, with golden rows [sample, n] under ``golden_x`` and ``golden_y``."""
    with zipfile.ZipFile(package) as archive:
        names = {n.rsplit("/", 1)[-1]: n for n in archive.namelist() if "/extra/climlink/" in n}
        manifest: dict[str, Any] = json.loads(archive.read(names["manifest.json"]))
        for key, name in (("golden_x", "golden_inputs.f32"), ("golden_y", "golden_outputs.f32")):
            layout = manifest["inputs" if key == "golden_x" else "outputs"]
            values = np.frombuffer(archive.read(names[name]), "<f4")
            manifest[key] = values.reshape(-1, layout["width"])
    return manifest


def rows_of(package: Path, count: int) -> Rows:
    """Return the packed rows [count, n_input], again from the first beyond 384."""
    width = manifest_of(package)["inputs"]["width"]
    rows = np.fromfile(package.with_suffix(".f32"), "<f4").reshape(-1, width)
    return np.ascontiguousarray(rows[np.arange(count) % len(rows)])


def difference(manifest: dict[str, Any], got: Rows, expected: Rows) -> float:
    """Return the largest |got - expected| / (s + |expected|), s the manifest's scale."""
    scales = [manifest["difference_scale"][v["name"]] for v in manifest["outputs"]["variables"]]
    scale = np.concatenate([np.asarray(s, np.float64) for s in scales])
    worst = np.max(np.abs(got.astype(np.float64) - expected) / (scale + np.abs(expected)))
    return float(worst) if np.isfinite(worst) else float("inf")


def emulator(package: Path, device: str = DEVICE, **options: Any) -> Any:
    """Open a package in the Runtime."""
    from _runtime import Emulator

    return Emulator(package, device=device, **options)


def script(package: Path, device: str = DEVICE) -> Any:
    """Load the graph by torch alone, as a host without climlink does."""
    import torch

    return torch.jit.load(str(package), map_location=device).eval()


def wait() -> None:
    """Wait for the device."""
    import torch

    if ON_GPU:
        torch.cuda.synchronize()


def save(step: str, found: Any) -> None:
    """Write a step's result, beside first."""
    beside = OUT / f"{step}.json.part"
    beside.write_text(json.dumps(found, indent=1), encoding="utf-8")
    beside.replace(OUT / f"{step}.json")


def machine() -> None:
    """Tell what machine this is."""
    import torch

    name = torch.cuda.get_device_name(0) if ON_GPU else "no GPU: a dry run on the CPU"
    found = {"device": name, "torch": torch.__version__, "cores": os.cpu_count()}
    save("machine", found)
    print(found)


def open_packages() -> None:
    """Time the opening of every package; CLIMLINK_PROGRESS says where it hangs."""
    os.environ["CLIMLINK_PROGRESS"] = "1"
    found = {}
    for package in PACKAGES:
        began = time.perf_counter()
        emulator(package, column_count=COLUMNS)
        found[package.stem] = time.perf_counter() - began
        save("open", found)


def golden() -> None:
    """Replay golden columns on the device, and hold it against the CPU on 384 columns."""
    found = {}
    for package in PACKAGES:
        manifest, x = manifest_of(package), rows_of(package, COLUMNS)
        there, here = emulator(package), emulator(package, "cpu")
        y = there.run_packed(x)
        found[package.stem] = {
            "golden": there.golden_difference,
            "cpu": difference(manifest, y, here.run_packed(x)),
            "same_again": bool(np.array_equal(y, there.run_packed(x))),
        }
        save("golden", found)
        print(package.stem, found[package.stem], there.device, there.device_memory)
        assert found[package.stem]["same_again"]
        assert found[package.stem]["cpu"] <= (GPU_TOLERANCE if ON_GPU else CPU_TOLERANCE)


def program(kind: str) -> None:
    """Send 384 rows through the Fortran program and hold them against the CPU."""
    package, target = PACKAGES[0], OUT / f"{kind}.f32"
    x = rows_of(package, COLUMNS)
    executable = OUT / "fortran/gpu_columns"
    source = package.with_suffix(".f32")
    subprocess.run(
        [executable, kind, DEVICE, package, source, str(COLUMNS), target], check=True, timeout=60
    )
    y = np.fromfile(target, "<f4").reshape(COLUMNS, -1)
    worst = difference(manifest_of(package), y, emulator(package, "cpu").run_packed(x))
    save({"climlink": "fortran", "ftorch": "dropin"}[kind], {"cpu": worst})
    assert worst <= (GPU_TOLERANCE if ON_GPU else CPU_TOLERANCE), worst


def errors() -> None:
    """Refusals: no such device, none visible, too little memory; each ends with a message."""
    package, expected = PACKAGES[0], {"cuda:99": "device", "gpu0": "expected"}
    found = {}
    for device, words in expected.items():
        found[device] = refusal(lambda device=device: emulator(package, device))
        assert words in found[device], found[device]
    hidden = [sys.executable, __file__, "hidden"]
    blind = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "GPU_DEVICE": "cpu"}
    told = subprocess.run(
        hidden, env=blind, capture_output=True, encoding="utf-8", check=True, timeout=60
    )
    found["none visible"] = told.stdout.strip()
    assert "sees no cuda device" in told.stdout
    if ON_GPU:
        cap = {"device_memory_fraction": 0.02}
        small = emulator(package, **cap)
        found["out of memory"] = refusal(lambda: small.run_packed(rows_of(package, 200_000)))
        small.run_packed(rows_of(package, 16))
    save("errors", found)
    print(json.dumps(found, indent=1))


def refusal(call: Callable[[], Any]) -> str:
    """Return the message of the error that a call must end with."""
    try:
        call()
    except RuntimeError as error:
        return str(error)
    raise AssertionError("this was not refused")


def hidden() -> None:
    """Ask for a GPU in a process that sees none; auto is the CPU there."""
    print(refusal(lambda: emulator(PACKAGES[0], "cuda")))
    assert emulator(PACKAGES[0], "auto").device == "cpu"


def first() -> None:
    """Time the first calls after open, with and without column_count, in ms."""
    x, found = rows_of(LARGEST, COLUMNS), {}
    for label, options in (("told", {"column_count": COLUMNS}), ("not told", {})):
        opened = emulator(LARGEST, **options)
        step = partial(opened.run_packed, x)
        found[label] = [1e3 * seconds(step) for _ in range(4)]
    save("first", found)
    print(found)


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def aoti(precision: str) -> None:
    """Compile the wrapped emulator ahead of time, for the table of latencies."""
    import torch

    from climlink.architectures.registry import find
    from climlink.wrappers.contract import EmulatorContract
    from climlink.wrappers.manifest import parse_manifest
    from climlink.wrappers.wrapped_emulator import WrappedEmulator

    graph = script(LARGEST, "cpu")
    with zipfile.ZipFile(LARGEST) as archive:
        name = next(n for n in archive.namelist() if n.endswith("/extra/climlink/manifest.json"))
        manifest = parse_manifest(archive.read(name).decode(), str(LARGEST))
    contract, architecture = EmulatorContract.from_manifest(manifest), manifest.architecture
    network = find(architecture.name).build_for(contract, architecture.configuration)
    module = WrappedEmulator(contract, network)
    module.load_state_dict(graph.state_dict())
    if precision == "bfloat16":
        module.network = in_bfloat16(module.network)
    x = torch.from_numpy(rows_of(LARGEST, COLUMNS)).to(DEVICE)
    path, of_rows = str(OUT / f"{precision}.pt2"), ({0: torch.export.Dim("rows", min=1)},)
    began = time.perf_counter()
    with torch.no_grad():
        exported = torch.export.export(module.eval().to(DEVICE), (x,), dynamic_shapes=of_rows)
        torch._inductor.aoti_compile_and_package(exported, package_path=path)
        y = torch._inductor.aoti_load_package(path)(x).cpu().numpy()
    expected = emulator(LARGEST, "cpu").run_packed(rows_of(LARGEST, COLUMNS))
    found = {
        "compile_s": time.perf_counter() - began,
        "cpu": difference(manifest_of(LARGEST), y, expected),
    }
    save(f"aoti_{precision}", found)
    print(found)


def in_bfloat16(network: Any) -> Any:
    """Return the network in bfloat16 between float32 inputs and outputs."""
    import torch

    class InBfloat16(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.has_confidence = network.has_confidence
            self.network = network.to(torch.bfloat16)

        def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            outputs, confidence = self.network(rows.to(torch.bfloat16))
            return outputs.float(), confidence.float()

    return InBfloat16()


def ways(count: int) -> dict[str, Callable[[], Any]]:
    """Return the ways from host rows to host results that are timed."""
    import torch

    x = rows_of(LARGEST, count)
    rows = torch.from_numpy(x)
    runtime, graph = emulator(LARGEST, column_count=count), script(LARGEST)
    calls = {
        "climlink": lambda: runtime.run_packed(x),
        "torch.jit": lambda: graph(rows.to(DEVICE)).cpu(),
        "torch.jit, chunks of 16": lambda: [graph(p.to(DEVICE)).cpu() for p in rows.split(16)],
    }
    if ON_GPU:
        recorded = emulator(LARGEST, column_count=count, cuda_graphs=True)
        print(recorded.engine_note)
        if "are recorded" in recorded.engine_note:
            calls["climlink, graph"] = lambda: recorded.run_packed(x)
    for precision in ("float32", "bfloat16"):
        path = OUT / f"{precision}.pt2"
        if path.exists():
            code = torch._inductor.aoti_load_package(str(path))
            calls[f"AOTInductor, {precision}"] = lambda code=code: code(rows.to(DEVICE)).cpu()
    if count > 3000:
        del calls["torch.jit, chunks of 16"]
    return calls


def latency() -> None:
    """Time all ways in turn, round by round: median ms of each size."""
    import torch

    found: dict[str, dict[str, float]] = {}
    with torch.inference_mode():
        for count in SIZES:
            times: dict[str, list[float]] = {}
            calls = ways(count)
            until = time.perf_counter() + 12
            for round_number in range(22):
                if round_number > 4 and time.perf_counter() > until:
                    break
                for name, call in calls.items():
                    taken = seconds(call)
                    if round_number > 1:  # the first two warm up
                        times.setdefault(name, []).append(1e3 * taken)
            found[str(count)] = {n: statistics.median(t) for n, t in times.items()}
            save("latency", found)
            print(count, found[str(count)], flush=True)


def memory() -> None:
    """Tell the memory of 1 and of 4 processes with the same package, in MB together."""
    found = {}
    for count in (1, 4):
        command = [sys.executable, __file__, "holder"]
        holders = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
            for _ in range(count)
        ]
        told = [json.loads(h.stdout.readline()) for h in holders if h.stdout is not None]
        for h in holders:
            h.communicate("\n")
        found[str(count)] = {
            "held_by_torch": sum(t["held"] for t in told) / 1e6,
            "of_device": (told[-1]["total"] - min(t["free"] for t in told)) / 1e6,
            "resident": sum(t["resident"] for t in told) / 1e6,
        }
    save("memory", found)
    print(found)


def holder() -> None:
    """Hold an emulator until told to end."""
    opened = emulator(LARGEST)
    opened.run_packed(rows_of(LARGEST, COLUMNS))
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    print(json.dumps({**opened.device_memory, "resident": resident}), flush=True)
    sys.stdin.readline()


def kernels() -> None:
    """Count kernels, copies and their time in one step of 384 columns."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if ON_GPU else [])
    x = rows_of(LARGEST, COLUMNS)
    opened, graph = emulator(LARGEST, column_count=COLUMNS), script(LARGEST)
    rows, found = torch.from_numpy(x), {}
    calls = {"climlink": lambda: opened.run_packed(x), "torch.jit": lambda: graph(rows.to(DEVICE))}
    for name, call in calls.items():
        with torch.inference_mode():
            for _ in range(3):
                call()
            with profile(activities=activities) as seen:
                call()
                wait()
        there = [e for e in seen.events() if e.device_type.name == "CUDA" or not ON_GPU]
        copies = [e for e in there if e.name.startswith(("Memcpy", "aten::copy_"))]
        found[name] = {
            "kernels": len(there) - len(copies),
            "copies": len(copies),
            "ms": sum(e.time_range.elapsed_us() for e in there) / 1e3,
        }
    save("kernels", found)
    print(found)


def table() -> None:
    """Print what all steps found."""
    print("\n".join((OUT / "steps.txt").read_text(encoding="utf-8").splitlines()))
    for step in ("machine", "errors", "open", "golden", "fortran", "dropin", "first", "memory",
                 "kernels", "aoti_float32", "aoti_bfloat16"):  # fmt: skip
        with contextlib.suppress(FileNotFoundError):
            for name, value in json.loads(
                (OUT / f"{step}.json").read_text(encoding="utf-8")
            ).items():
                print(f"{step:14} {name:14} {shown(value)}"[:200])
    if (OUT / "latency.json").exists():
        latencies = json.loads((OUT / "latency.json").read_text(encoding="utf-8"))
        print(f"{'ms per step of columns':26}" + "".join(f"{n:>10}" for n in latencies))
        for way in dict.fromkeys(w for row in latencies.values() for w in row):
            cells = (f"{row[way]:10.2f}" if way in row else " " * 10 for row in latencies.values())
            print(f"{way:26}" + "".join(cells))


def shown(value: Any) -> str:
    """Return a result as the table has it."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(shown(v) for v in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


STEPS: dict[str, Callable[..., None]] = {
    "machine": machine, "errors": errors, "open": open_packages, "golden": golden,
    "fortran": lambda: program("climlink"), "dropin": lambda: program("ftorch"), "first": first,
    "memory": memory, "kernels": kernels, "aoti": aoti, "latency": latency, "table": table,
    "hidden": hidden, "holder": holder,
}  # fmt: skip

if __name__ == "__main__":
    STEPS[sys.argv[1]](*sys.argv[2:])
