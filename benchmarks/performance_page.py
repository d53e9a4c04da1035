"""docs/performance.md out of the file of measured numbers.

python benchmarks/performance_page.py docs/performance.json -o docs/performance.md
"""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import scaling_model
from inference_engines import ALL, chunked
from inference_packages import MLP
from inference_results import Results, Row
from inference_timing import significant

from climlink.data.files import replacing

Lines = list[str]
INTRODUCTION = """\
# Performance

What a package costs in a step, on a CPU, against TorchScript as FTorch runs it. This page is made
from [performance.json](performance.json); every table names the command that measures it anew.

```sh
python benchmarks/bench_inference.py packages     # exports and compiles what is timed; no timing
python benchmarks/bench_inference.py              # all parts but ftorch, into runs/inference/
FTorch_DIR=... python benchmarks/bench_inference.py ftorch
python benchmarks/performance_page.py runs/inference/performance.json -o performance.md
```

Networks have seeded random weights and the inputs, normalization and constraints of a real
package; time does not depend on the weights. Unless a table says otherwise a step has 192 columns
on one rank and one thread, and forwards of 192 columns (option `micro_batch`, whose default of 64
[keeps bits](compiled.md#micro-batch-and-first-step) and makes an MLP a fifth slower). Subjects
take turns, round by round; *times* is the median of the rounds' ratios, in brackets its 95 %
interval: above 1 is faster than the baseline. A difference whose interval holds 1 is none. Times
within one process are the processor's (all its threads); those of opening, ranks, FTorch's host
and the embedded model are the clock's.

The baseline **FTorch-style** is libtorch's TorchScript called as FTorch calls it: evaluation mode,
not frozen, no gradients, tensors over the host's memory in Fortran's order, the result copied into
the host's array; with all columns in one call, or a call per chunk as climate models do. Every
engine's outputs are held against the baseline's to the manifest's tolerance before it is timed.
"""
NOT_MEASURED = """\
## What is not measured
* **GPU**: not measured on a machine with a GPU yet.
* **FTorch itself**: it is measured where `FTorch_DIR` names it, and told in a table of its own; on
  climlink's drop-in the same host runs, under that name.
* **Other processors**: this is one machine. MKL, which runs TorchScript's matrix products, is
  slower on AMD than on Intel, so gains on Intel are smaller where they come from there.
* **Nodes**: the model of scaling rests on two cores of this machine; nothing ran on more nodes.
"""


def page(results: Results) -> str:
    """Return the page."""
    parts = [INTRODUCTION.rstrip("\n"), "", *_machine(results)]
    for part, (title, told, table) in SECTIONS.items():
        parts += ["", f"## {title}", f"`python benchmarks/bench_inference.py {part}`", ""]
        rows = results.rows(part)
        if rows:
            parts += [*_wrapped(told), "", *table(rows), ""]
            parts += _wrapped(_when(case for _, case in results.of_part(part)))
        else:
            parts.append("Not measured yet.")
    parts += ["", *_scaling(results), "", NOT_MEASURED.rstrip("\n")]
    return "\n".join(parts) + "\n"


def _wrapped(text: str) -> Lines:
    return textwrap.wrap(text, 100, break_on_hyphens=False)


def _machine(results: Results) -> Lines:
    m = results.machine
    return _wrapped(
        f"Measured on {m['processor']}, {m['cores']} cores ({m['instructions']}), "
        f"{m['system']}, torch {m['torch']}."
    )


def _when(cases: Iterable[Row]) -> str:
    """Return when a part was measured, and what else the machine did."""
    known = list(cases)
    dates = sorted({c["date"] for c in known})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    revisions = ", ".join(sorted({c["climlink"] for c in known}))
    load = max(c["load_average"] for c in known)
    return f"Measured {days}, climlink {revisions}; load average when a case began: up to {load}."


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Lines:
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows),
    ]


def _times(row: Row, baseline: str, key: str = "against") -> str:
    """Return a ratio with its interval; nothing where it was not measured."""
    found: dict[str, Any] = row.get(key, {}).get(baseline)
    if found is None:
        return ""
    low, high = found["interval"]
    return f"{found['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _short(value: float) -> str:
    return f"{significant(value, 3):g}"


def _ms(seconds: float) -> str:
    return _short(1e3 * seconds)


def _percent(share: float) -> str:
    return _short(100 * share)


def _engines(rows: list[Row]) -> Lines:
    timed = [r for r in rows if "refused" not in r]
    heads = ("network", "engine", "micro-batch", "ms", "floor, ms", "% of peak", "% of memory")
    against = (ALL, chunked(16), chunked(96))
    lines = _markdown(
        (*heads, *(f"times {b}" for b in against)),
        (
            (
                r["case"],
                r["subject"],
                r["micro_batch"],
                _ms(r["seconds"]),
                _ms(r["floor_seconds"]),
                _percent(r["fraction_of_peak"]),
                _percent(r["fraction_of_bandwidth"]),
                *(_times(r, b) for b in against),
            )
            for r in timed
        ),
    )
    fewest = min(r["against"][ALL]["rounds"] for r in timed)
    peaks: dict[str, list[float]] = {}
    for r in timed:
        precision = "bfloat16" if r["subject"].endswith("bfloat16") else "float32"
        peaks.setdefault(precision, []).append(r["peak_gflops"])
    told = "; ".join(_range(n, v) for n, v in peaks.items())
    lines += ["", f"At least {fewest} rounds. Peaks of one core: {told}."]
    refused = [r for r in rows if "refused" in r]
    if refused:
        lines += ["", "bfloat16 was not timed where its gate or the processor refuses it:", ""]
        lines += [f"* {r['case']}: {r['refused']}" for r in refused]
    return lines


def _range(precision: str, gflops: list[float]) -> str:
    return f"{precision} {min(gflops):.0f} to {max(gflops):.0f} GFLOP/s"


def _batches(rows: list[Row]) -> Lines:
    heads = ("network", "columns", "engine", "ms", "µs per column", f"times {ALL}")
    return _markdown(
        heads,
        (
            (
                r["case"],
                f"{r['columns']:,}",
                r["subject"],
                _ms(r["seconds"]),
                _short(1e6 * r["seconds"] / r["columns"]),
                _times(r, ALL),
            )
            for r in rows
        ),
    )


def _wrapper(rows: list[Row]) -> Lines:
    heads = ("network", "time of the whole graph over the bare network's")
    return _markdown(heads, ((r["case"], _times(r, "bare network", "times")) for r in rows))


def _shares(rows: list[Row]) -> Lines:
    heads = ("network", "engine", "ms per step", "set, %", "forward, %", "around it, %", "get, %")
    names = ("send_share", "forward_share", "checks_share", "receive_share", "bridge_share")
    return _markdown(
        (*heads, "bridge, %"),
        (
            (r["case"], r["subject"], _ms(r["step_seconds"]), *(_percent(r[n]) for n in names))
            for r in rows
        ),
    )


def _opening(rows: list[Row]) -> Lines:
    heads = ("network", "engine", "seconds", "MB that opening takes", "MB of the process")
    return _markdown(
        heads,
        (
            (r["case"], r["subject"], r["open_seconds"], r["opened_mb"], r["process_mb"])
            for r in rows
        ),
    )


def _first(rows: list[Row]) -> Lines:
    heads = ("network", "engine", "first over steady", "lowest to highest", "processes")
    return _markdown(
        heads,
        (
            (r["case"], r["subject"], r["ratio"], " to ".join(map(str, r["range"])), r["processes"])
            for r in rows
        ),
    )


def _steady(rows: list[Row]) -> Lines:
    heads = ("network", "engine", "steps", "columns", "MB after 100 steps", "MB at the end")
    return _markdown(
        heads,
        (
            (
                r["case"],
                r["subject"],
                f"{r['steps']:,}",
                r["columns"],
                r["first_mb"],
                r["last_mb"],
            )
            for r in rows
        ),
    )


def _ranks(rows: list[Row]) -> Lines:
    heads = ("network", "engine, network", "ranks", "ms per step", "times without MPI", "memory")
    return _markdown(
        heads,
        (
            (
                r["case"],
                r["subject"],
                r["ranks"],
                _ms(r["seconds"]),
                _times(r, "opened without MPI"),
                r["memory"],
            )
            for r in rows
        ),
    )


def _hybrid(rows: list[Row]) -> Lines:
    physics = "the model's own physics"
    return _markdown(
        ("network", "engine", "columns", "ms per step", f"times {physics}"),
        (
            (r["case"], r["subject"], r["columns"], _ms(r["seconds"]), _times(r, physics))
            for r in rows
        ),
    )


def _ftorch(rows: list[Row]) -> Lines:
    """Return a table for each pair of baselines: FTorch's, or those of the drop-in."""
    lines: Lines = []
    for baselines in dict.fromkeys(tuple(r["against"]) for r in rows):
        chosen = [r for r in rows if tuple(r["against"]) == baselines]
        heads = ("network", "by", "ranks", "ms per step", *(f"times {b}" for b in baselines))
        lines += _markdown(
            heads,
            (
                (
                    r["case"],
                    r["subject"],
                    r["ranks"],
                    _ms(r["seconds"]),
                    *(_times(r, b) for b in baselines),
                )
                for r in chosen
            ),
        )
    return lines


SECTIONS: dict[str, tuple[str, str, Callable[[list[Row]], Lines]]] = {
    "engines": (
        "Engines",
        "*Floor* is what the network's multiply-adds alone would take at the best rate of a matrix "
        "product that MKL or oneDNN reaches on one core, measured in the same rounds; *% of peak* "
        "is the share of that rate that the step reaches; *% of memory* the share of the bandwidth "
        "of a copy that weights, inputs and outputs alone would need.",
        _engines,
    ),
    "batches": (
        "Number of columns",
        "All columns of the rank in one call on either side.",
        _batches,
    ),
    "wrapper": (
        "Around the network",
        "What derived inputs, normalization and constraints cost in TorchScript.",
        _wrapper,
    ),
    "shares": (
        "Bridge",
        "A step of a Fortran host that sets real64 variables in chunks of 16, runs and gets. "
        "*Around it* is what the Runtime takes more than torch's own loader of the compiled code, "
        "0 where it takes no more; the *bridge* is all but the forward.",
        _shares,
    ),
    "open": (
        "Opening",
        "A Fortran host opens a package: checks, loading, replay of the golden columns, warm-up. "
        "Medians of fresh processes.",
        _opening,
    ),
    "first-call": ("First step", "Medians of fresh processes of a Fortran host.", _first),
    "steady": ("Memory over many steps", "Resident memory of a Fortran host.", _steady),
    "ranks": (
        "Ranks",
        "Every rank has a network of its own, or all share one "
        "([group](fortran.md#ranks-that-share-one-network)); steps of the slowest rank. On a CPU "
        "sharing saves memory, not time: one rank computes for all.",
        _ranks,
    ),
    "hybrid": (
        "Embedded model",
        "The whole step of the [embedded model](embedded_model.md), dynamics included, with the "
        "package in place of its physics. That physics is simple and cheap; the one that emulators "
        "are for, E3SM-MMF's, is not part of this comparison.",
        _hybrid,
    ),
    "ftorch": (
        "FTorch itself",
        "A Fortran host that packs its variables, calls FTorch and unpacks, beside the same host "
        "with climlink.",
        _ftorch,
    ),
}


def _scaling(results: Results) -> Lines:
    """Return the model's table, with its assumptions as the model states them."""
    documented = inspect.getdoc(scaling_model) or ""
    assumptions = documented.partition("Assumptions")[2].partition("\n\n")[2]
    lines = [
        "## Model of scaling",
        "`python benchmarks/scaling_model.py docs/performance.json`",
        "",
        *_wrapped(
            f"Not a measurement: {MLP.name}, {scaling_model.ENGINE}, "
            f"{scaling_model.RANKS_PER_NODE} ranks on a node, from the parts above. *Times "
            "FTorch-style* is against its forward alone."
        ),
        "",
        *assumptions.replace("``", "`").splitlines(),
        "",
    ]
    measured = all(results.rows(part) for part in ("batches", "shares", "ranks"))
    return lines + (scaling_model.table(results, MLP.name) if measured else ["Not measured yet."])


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="JSON file of bench_inference.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="Markdown file")
    given = parser.parse_args()
    text = page(Results.read(given.results))
    with replacing(given.output) as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
