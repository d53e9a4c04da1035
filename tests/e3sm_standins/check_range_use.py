"""What the adapter tells of the range policy of a package: whether a run is alive on support."""

from __future__ import annotations

from typing import Any

import numpy as np
from adapter_bench import Bench, compare, compare_without_frame
from adapter_bench import require_tape_fields as require_fields
from adapter_faults import counter_lines
from make_adapter_fixtures import RANGE_RULES, write_mixed
from reference_model import Model, Settings, areas


def check_range_use(bench: Bench) -> None:
    """Its use is in the history by column and in the log as a mean over the globe, on any number of
    ranks and chunks; not where the namelist switches it off.
    """
    package = bench.folder / "ranged.pt"
    write_mixed(package, "host_v2_q", rules=tuple(RANGE_RULES))
    entries: dict[str, Any] = {
        "climlink_package": str(package),
        "cb_spinup_step": 1,
        "climlink_log_steps": 4,
    }
    settings = Settings(spin_up=1, range_policy=True)
    expected = Model(bench.columns, package, settings).run(4)
    for ranks, chunks in ((1, 1), (2, 3), (4, 2)):
        got = bench.run(entries, ranks, n_chunk=chunks, n_step=4)
        assert compare(got, expected, package) == 3
        require_fields(got[-1], package, legacy=False, fork_driver=False, range_policy=True)
        line = counter_lines(bench.start(entries, ranks, n_chunk=chunks, n_step=4))
        assert line == [_line(expected)]
    alone = Model(bench.columns, package, Settings(range_policy=True)).run(4)
    for entry in ("all", "chunks"):
        got = bench.run({**entries, "cb_spinup_step": 0}, 2, n_chunk=3, entry=entry, n_step=4)
        assert compare_without_frame(got, alone, package) == 4
    for off, kept in ((["input_clip"], {"NN_RANGE_HEAT"}), (list(RANGE_RULES), set())):
        without = {**entries, "climlink_constraints_off": off}
        record = bench.run(without, 2, n_step=2)[-1]
        require_fields(record, package, legacy=False, fork_driver=False, range_policy=bool(kept))
        told = {n for n in record if n.startswith("NN_RANGE") and record[n].any()}
        assert told == (kept | {"NN_RANGE_MASS"} if kept else set())
        said = counter_lines(bench.start(without, 2, n_step=4))[0]
        assert ("range policy" in said) == bool(kept)


def _line(expected: list[dict[str, Any]]) -> str:
    counts = [record["counts"] for record in expected[1:]]
    area = areas(len(counts[0]["NN_RANGE_HEAT"]))
    heat, mass, clipped = (
        f"{np.mean([area @ c[f'NN_RANGE_{n}'] for c in counts]) / area.sum():.5E}"
        for n in ("HEAT", "MASS", "CLIPPED")
    )
    return (
        f"mmf_nn_emulator: to step 3: answered in 3 of 4 steps, {3 * len(area)} columns; range "
        f"policy: heating {heat} W/m2, share of the mass relaxed {mass}, values clipped {clipped} "
        "per column"
    )
