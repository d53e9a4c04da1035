"""The adapter where ranks share a network: the same run, and how it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from adapter_bench import Bench
from adapter_faults import require_one_message
from make_adapter_fixtures import RANGE_RULES, write_mixed


def check_group(bench: Bench) -> None:
    """The records of a run are the same to the last bit, whoever shares; ranks without columns and
    a package with a range policy among them.
    """
    package = bench.folder / "ranged.pt"
    write_mixed(package, "host_v4_q", rules=tuple(RANGE_RULES))
    entries: dict[str, Any] = {"climlink_package": str(package), "cb_spinup_step": 2}
    expected = bench.run(entries, 1, n_step=4, n_chunk=2)
    for ranks, group_size, chunks in ((2, 0, 3), (3, 2, 1)):
        shared = {**entries, "climlink_group_size": group_size}
        got = bench.run(shared, ranks, n_step=4, n_chunk=chunks)
        for step, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert a.keys() == b.keys(), step
            for name, values in b.items():
                assert np.array_equal(a[name], values, equal_nan=True), (
                    ranks,
                    group_size,
                    step,
                    name,
                )
    check_ends(bench)


def check_ends(bench: Bench) -> None:
    """A leader that fails ends the run with its message; one that does not come back is told by
    those that wait for it.
    """
    shared = {
        "climlink_package": str(bench.fixtures / "climsim_q.pt"),
        "cb_spinup_step": 0,
        "climlink_group_size": 0,
    }
    failing = {**shared, "climlink_package": str(bench.fixtures / "climsim_failing.pt")}
    words = "rank 0: run: libtorch failed on float32"
    require_one_message(bench.start(failing, 2), words)
    endless = {**shared, "climlink_package": str(bench.fixtures / "climsim_endless.pt")}
    done = bench.start({**endless, "climlink_group_timeout_s": 1}, 3)
    require_one_message(done, "did not come to run within 1 s, for which rank ", exactly_one=False)
    memory = "ranks share networks; node of the master: 1 rank(s) with a network, up to "
    assert memory in done.stdout, done.stdout
    chunks = bench.start(shared, 2, entry="chunks")
    words = "climlink_group_size is 0, but ranks that share a network run it together"
    require_one_message(chunks, words, exactly_one=False)
