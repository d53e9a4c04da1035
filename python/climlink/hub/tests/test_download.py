"""Data sets from a stand-in hub: which files, resumed, checked, and every way that it can fail."""

from __future__ import annotations

import hashlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.climsim import file_name, find_pairs
from climlink.data.files import FileError
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.stamp import Stamp
from climlink.hub import transfer
from climlink.hub.datasets import Selection
from climlink.hub.download import plan
from climlink.hub.errors import ChecksumError, HubError

LOW_RES = "datasets/LEAP/ClimSim_low-res"
GRID = "ClimSim_low-res_grid-info.nc"
DAY = Selection(start="0001-02-01", end="0001-02-01")


def _content(name: str, size: int = 3000) -> bytes:
    """Return bytes that are another file's nowhere: its name's digest, repeated."""
    return (hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size]


def _path(kind: str, stamp: Stamp | str) -> str:
    stamp = stamp if isinstance(stamp, Stamp) else Stamp.parse(stamp)
    return f"train/{stamp.year:04d}-{stamp.month:02d}/{file_name(kind, stamp)}"


def _steps(first: str, count: int, step_s: int = 1200, size: int = 3000) -> dict[str, bytes]:
    """Return the tree of a data set: pairs at equal steps in monthly folders, and the grid file."""
    start = Stamp.parse(first)
    stamps = [start.plus(i * step_s) for i in range(count)]
    paths = [_path(kind, s) for s in stamps for kind in ("mli", "mlo")]
    files = {p: _content(p, size) for p in paths}
    return files | {GRID: _content(GRID), "README.md": b"ClimSim, low resolution"}


def _here(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["data", "download", *map(str, arguments)])


def _fetch(out: Path, selection: Selection = DAY, **options: Any) -> None:
    workers = options.pop("workers", 2)
    plan("climsim-low-res", selection, out, **options).run(workers=workers)


def test_what_comes_is_what_prepare_reads(hub: Any, synthetic_dir: Path, tmp_path: Path) -> None:
    pairs = find_pairs(synthetic_dir)
    files = {_path(k, p.stamp): getattr(p, k).read_bytes() for p in pairs for k in ("mli", "mlo")}
    (grid,) = synthetic_dir.glob("*grid-info.nc")
    hub.add(LOW_RES, files | {grid.name: grid.read_bytes()})
    out = tmp_path / "climsim"
    result = _run("climsim-low-res", "-o", out, "--from", "0008-01-01", "--to", "0008-12-31")
    assert result.exit_code == 0, result.output
    split = Split(test=(str(pairs[-1].stamp),))
    came = prepare(out, tmp_path / "came.zarr", split=split)
    original = prepare(synthetic_dir, tmp_path / "original.zarr", split=split)
    assert came.digest == original.digest


def test_dates_over_the_end_of_a_year_and_more_than_a_page(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-12-31-79200", 10, size=40)
    hub.add(LOW_RES, files | _steps("0001-11-30-00000", 2, size=40))
    last_day = Selection(start="0001-12-31-82800", end="0002-01-01-01200")
    _fetch(tmp_path, last_day)
    stamps = ["0001-12-31-82800", "0001-12-31-84000", "0001-12-31-85200"]
    stamps += ["0002-01-01-00000", "0002-01-01-01200"]
    expected = {_path(k, s) for s in stamps for k in ("mli", "mlo")} | {GRID}
    assert _here(tmp_path) == {p: files[p] for p in expected}
    assert [str(p.stamp) for p in find_pairs(tmp_path)] == stamps
    # November is not listed, and December's 12 files come in pages of 3.
    assert not hub.asked("/train/0001-11")
    assert len([r for r in hub.asked("/train/0001-12") if "/tree/" in r.path]) == 4


def test_every_nth_step_is_counted_over_a_february_of_28_days(hub: Any, tmp_path: Path) -> None:
    files = _steps("0004-02-27-00000", 18, step_s=4 * 3600, size=40)
    hub.add(LOW_RES, files)
    selection = Selection(start="0004-02-27", end="0004-03-01", every=36)  # 36 x 1200 s: 12 h
    _fetch(tmp_path, selection)
    assert [str(p.stamp) for p in find_pairs(tmp_path)] == [
        *("0004-02-27-00000", "0004-02-27-43200", "0004-02-28-00000", "0004-02-28-43200"),
        *("0004-03-01-00000", "0004-03-01-43200"),
    ]
    other_step = Selection(start="0004-02-27", end="0004-02-28", every=2, time_step_s=14400)
    assert len(plan("LEAP/ClimSim_low-res", other_step, tmp_path).chosen.dated) == 6


def test_only_what_is_asked_for(hub: Any, tmp_path: Path) -> None:
    norm = {"norm/mean.nc": b"mean", "norm/deep/er/max.nc": b"max", "norm/notes.txt": b"no"}
    files = _steps("0001-02-01-00000", 2) | norm
    hub.add(LOW_RES, files)
    result = _run("climsim-low-res", "-o", tmp_path / "a", "--from", "0001-02-01", "--kind", "mlo")
    assert result.exit_code == 0, result.output
    mlo = {_path("mlo", f"0001-02-01-0{s}") for s in ("0000", "1200")}
    assert _here(tmp_path / "a").keys() == mlo | {GRID}
    result = _run("climsim-low-res", "-o", tmp_path / "b", "--include", "norm/*.nc")
    assert result.exit_code == 0, result.output
    assert _here(tmp_path / "b").keys() == {"norm/mean.nc", "norm/deep/er/max.nc"}
    result = _run(
        *("climsim-low-res", "-o", tmp_path / "c", "--to", "0001-02-01-00000"),
        *("--no-grid", "--include", "norm/mean*"),
    )
    assert result.exit_code == 0, result.output
    first = {_path(k, "0001-02-01-00000") for k in ("mli", "mlo")}
    assert _here(tmp_path / "c").keys() == first | {"norm/mean.nc"}
    assert _run("climsim-low-res", "-o", tmp_path).exit_code == 2  # all 744 GB is no accident


def test_half_pairs_are_left_out_and_told(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 3)
    del files[_path("mlo", "0001-02-01-01200")]
    hub.add(LOW_RES, files)
    result = _run("climsim-low-res", "-o", tmp_path, "--from", "0001-02-01")
    assert result.exit_code == 0, result.output
    told = "1 stamps lack mli or mlo there and are left out, as 0001-02-01-01200"
    assert told in result.output
    assert len(find_pairs(tmp_path)) == 2


def test_dry_run_says_how_much_and_fetches_nothing(hub: Any, tmp_path: Path) -> None:
    commit = hub.add(LOW_RES, _steps("0001-02-01-00000", 2))
    out = tmp_path / "out"
    result = _run("climsim-low-res", "-o", out, "--from", "0001-02-01", "--dry-run")
    assert result.exit_code == 0, result.output
    assert f"LEAP/ClimSim_low-res at {commit[:12]}, 0001-02-01-00000 to 0001" in result.output
    assert "5 files, 15.0 kB; 0 are here, 5 are to come (15.0 kB, free are" in result.output
    assert not out.exists()
    assert not hub.asked("resolve")


def test_a_revision_is_one_commit_for_the_whole_job(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 1)
    old = hub.add(LOW_RES, files)
    new = hub.add(LOW_RES, {p: b + b"new" for p, b in files.items()})
    _fetch(tmp_path / "old", revision=old)
    _fetch(tmp_path / "new")
    path = _path("mli", "0001-02-01-00000")
    assert (tmp_path / "old" / path).read_bytes() == files[path]
    assert (tmp_path / "new" / path).read_bytes() == files[path] + b"new"
    assert {r.path.split("/resolve/")[1][:40] for r in hub.asked("/resolve/")} == {old, new}


def test_finished_files_are_kept_and_not_fetched_again(hub: Any, tmp_path: Path) -> None:
    hub.add(LOW_RES, _steps("0001-02-01-00000", 3))
    _fetch(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nc")}
    (tmp_path / _path("mlo", "0001-02-01-02400")).unlink()
    hub.requests.clear()
    result = _run("climsim-low-res", "-o", tmp_path, "--from", "0001-02-01", "--to", "0001-02-01")
    assert result.exit_code == 0, result.output
    name = "E3SM-MMF.mlo.0001-02-01-02400.nc"
    assert [r.path.rpartition("/")[2] for r in hub.asked("/resolve/")] == [name]
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nc")}
    assert [p.name for p in before if before[p] != after[p]] == [name]


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)],
)
def test_a_job_that_was_ended_in_the_middle_goes_on(
    hub: Any,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    files = _steps("0001-02-01-00000", 2, size=500_000)
    hub.add(LOW_RES, files)
    slow, blocks = _path("mlo", "0001-02-01-01200"), hub.body
    digest = hashlib.sha256(files[slow]).hexdigest()
    half, go_on = threading.Event(), threading.Event()

    def body(name: str, start: int, content: bytes) -> Iterator[bytes]:
        for i, block in enumerate(blocks(name, start, content)):
            if name == digest and i == 300:  # of 489
                half.set()
                go_on.wait(60)
            yield block

    hub.body = body
    out = tmp_path / "out"
    command = [sys.executable, "-m", "climlink", "data", "download", "climsim-low-res"]
    dates = ["-o", str(out), "--from", "0001-02-01", "--workers", "1"]
    with subprocess.Popen([*command, *dates], stdout=subprocess.DEVNULL) as job:
        assert half.wait(60)
        (part,) = _wait_for_part(out, 100_000)
        job.send_signal(number)
        if number == signal.SIGTERM:
            time.sleep(0.2)
            go_on.set()  # a thread that reads is not interrupted, but ends with the next block
        job.wait(60)
    go_on.set()
    hub.body = blocks
    assert job.returncode == (-9 if number == signal.SIGKILL else 143)
    had = part.stat().st_size
    assert 0 < had < 500_000
    assert not (out / slow).exists()
    hub.requests.clear()
    result = CliRunner().invoke(app, [*command[3:], *dates])
    assert result.exit_code == 0, result.output
    assert [r.headers.get("range") for r in hub.asked("/cdn/")] == [f"bytes={had}-"]
    assert _here(out) == {p: b for p, b in files.items() if p != "README.md"}


def _wait_for_part(out: Path, size: int) -> list[Path]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        parts = [p for p in out.rglob("*.part") if p.stat().st_size >= size]
        if parts:
            return parts
        time.sleep(0.02)
    raise AssertionError("no part was written")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_made_anew(
    hub: Any,
    tmp_path: Path,
    waits: list[float],
    ranges: bool,
) -> None:
    files = _steps("0001-02-01-00000", 1, size=5000)
    hub.add(LOW_RES, files)
    hub.ranges, blocks, cut = ranges, hub.body, set()

    def body(name: str, start: int, content: bytes) -> Iterator[bytes]:
        first = name not in cut
        cut.add(name)
        yield from list(blocks(name, start, content))[: 2 if first else None]

    hub.body = body
    _fetch(tmp_path)
    assert _here(tmp_path) == {p: b for p, b in files.items() if p != "README.md"}
    resumed = [r.headers["range"] for r in hub.asked("/cdn/") if "range" in r.headers]
    assert resumed == ["bytes=2048-"] * 3


def test_a_connection_that_always_breaks_is_given_up(
    hub: Any,
    tmp_path: Path,
    waits: list[float],
) -> None:
    hub.add(LOW_RES, _steps("0001-02-01-00000", 1, size=5000))
    hub.body = lambda name, start, content: iter(())
    with pytest.raises(HubError, match=r"of LEAP/ClimSim_low-res at .*cannot be reached.*go on"):
        _fetch(tmp_path, workers=1)
    assert len(hub.asked("/cdn/")) == 1 + transfer.BREAKS  # of the first file: then all stops
    assert not list(tmp_path.rglob("*.nc"))


def test_a_body_that_is_damaged_once_is_fetched_again(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 1)
    hub.add(LOW_RES, files)
    blocks, seen = hub.body, set()

    def body(name: str, start: int, content: bytes) -> Iterator[bytes]:
        damaged = content if name in seen else b"\0" + content[1:]
        seen.add(name)
        return blocks(name, start, damaged)

    hub.body = body
    _fetch(tmp_path)
    assert _here(tmp_path) == {p: b for p, b in files.items() if p != "README.md"}


def test_a_body_that_is_damaged_gets_no_name_and_the_others_come(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 3)
    hub.add(LOW_RES, files)
    bad = _path("mli", "0001-02-01-00000")
    expected, blocks = hashlib.sha256(files[bad]).hexdigest(), hub.body
    damaged = b"\0" + files[bad][1:]
    hub.body = lambda name, start, content: blocks(
        name,
        start,
        damaged[start:] if name == expected else content,
    )
    result = _run("climsim-low-res", "-o", tmp_path, "--from", "0001-02-01", "--workers", 1)
    assert result.exit_code == 1
    assert isinstance(result.exception, ChecksumError)
    for part in (
        "1 of 7 files came damaged; the others are here",
        f"{bad} of LEAP/ClimSim_low-res at ",
        f"expected 3000 bytes with sha256 {expected}, twice came 3000 with ",
        hashlib.sha256(damaged).hexdigest(),
    ):
        assert part in str(result.exception)
    assert _here(tmp_path) == {p: b for p, b in files.items() if p not in ("README.md", bad)}


def test_small_files_are_checked_as_git_does(hub: Any, tmp_path: Path) -> None:
    hub.add(LOW_RES, {"norm.txt": b"1 2 3\n"})
    wanted = Selection(include=("norm.txt",))
    hub.body = lambda name, start, content: iter([b"1 2 4\n"])
    # `printf '1 2 3\n' | git hash-object --stdin`
    with pytest.raises(ChecksumError, match="git-sha1 b85905ec0b994f1e5797d58ffefed89ff54d6b51"):
        _fetch(tmp_path, wanted)
    assert _here(tmp_path) == {}


def test_too_many_requests_are_waited_out(hub: Any, tmp_path: Path, waits: list[float]) -> None:
    files = _steps("0001-02-01-00000", 1)
    hub.add(LOW_RES, files)
    for text in ("/revision/", "/tree/", "/resolve/"):
        hub.refuse(text, 429, times=1, Retry_After="7")
    hub.refuse("/cdn/", 503, times=2)
    _fetch(tmp_path, workers=1)
    assert _here(tmp_path) == {p: b for p, b in files.items() if p != "README.md"}
    assert waits == [8.0, 8.0, 8.0, 2.0, 4.0]  # the library adds a second to what it is told


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("/revision/", 503, "failed with status 503, several times: later, repeat the command"),
        ("/tree/", 429, r"too many requests \(status 429\): wait some minutes"),
        ("/cdn/", 500, "mli.* of LEAP/ClimSim_low-res at .*failed with status 500"),
        ("/cdn/", 403, "refused .status 403.: log in with `hf auth login`, or set HF_TOKEN"),
        ("/revision/", 418, "answered with status 418"),
    ],
)
def test_what_the_hub_refuses_is_told(
    hub: Any,
    tmp_path: Path,
    waits: list[float],
    text: str,
    status: int,
    message: str,
) -> None:
    hub.add(LOW_RES, _steps("0001-02-01-00000", 1))
    hub.refuse(text, status)
    with pytest.raises(HubError, match=f"{message}"):
        _fetch(tmp_path, Selection(start="0001-02-01", grid=False), workers=1)
    assert not list(tmp_path.rglob("*.nc"))


def test_names_that_the_hub_does_not_have(hub: Any, tmp_path: Path) -> None:
    hub.add(LOW_RES, _steps("0001-02-01-00000", 1))
    with pytest.raises(HubError, match=r"or one of climsim-low-res.*mean 'climsim-low-res'"):
        plan("climsim-lowres", DAY, tmp_path)
    with pytest.raises(HubError, match="names no repository of the hub; expected OWNER/NAME"):
        plan("LEAP/a/b", DAY, tmp_path)
    with pytest.raises(HubError, match=r"LEAP/Other, revision main: .*no such repository, or it"):
        plan("LEAP/Other", DAY, tmp_path)
    with pytest.raises(HubError, match=r"revision v9: the repository has no such revision"):
        plan("climsim-low-res", DAY, tmp_path, revision="v9")
    with pytest.raises(HubError, match="months 0001-02 to 0001-02"):
        plan("climsim-low-res", Selection(start="0003-01-01"), tmp_path)
    with pytest.raises(HubError, match=r"has no file like \*\.npy"):
        plan("climsim-low-res", Selection(include=("*.npy",)), tmp_path)
    for start, end, why in (
        ("0001-02-29", None, "February has 28 days"),
        ("0001-2-1", None, "expected YYYY-MM-DD"),
        ("0002-01-01", "0001-12-31", "before it starts"),
    ):
        with pytest.raises(HubError, match=why):
            plan("climsim-low-res", Selection(start=start, end=end), tmp_path)


def test_a_token_opens_what_is_private_and_does_not_leave_the_hub(
    hub: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add("datasets/me/closed", _steps("0001-02-01-00000", 1), private=True, gated=True)
    with pytest.raises(HubError, match=r"or it is private.* log in with `hf auth login`"):
        plan("me/closed", DAY, tmp_path)
    hub.repositories["datasets/me/closed"].private = False
    with pytest.raises(HubError, match=r"gated \(Access.*\): accept its terms on its page"):
        plan("me/closed", DAY, tmp_path).run()
    hub.tokens.add("secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    plan("me/closed", DAY, tmp_path).run()
    assert len(find_pairs(tmp_path)) == 1
    assert all("secret" in r.headers["authorization"] for r in hub.asked("/resolve/")[-3:])
    assert hub.asked("/cdn/")
    assert not any("authorization" in r.headers for r in hub.asked("/cdn/"))


def test_without_network(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set; unset it"):
        plan("climsim-low-res", DAY, tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        with pytest.raises(HubError, match=r"cannot be reached .*look at network, proxy"):
            plan("climsim-low-res", DAY, tmp_path)


def test_the_page_of_a_proxy_is_not_taken_for_the_hub(hub: Any, tmp_path: Path) -> None:
    def portal(handler: Any) -> bool:
        handler.answer(200, b"<html>Log in to the guest network</html>")
        return True

    hub.faults.append(portal)
    with pytest.raises(HubError, match="did not answer as the hub does"):
        plan("climsim-low-res", DAY, tmp_path)


@pytest.mark.parametrize("path", ["../outside.nc", "/etc/x.nc", "train/../../x.nc"])
def test_a_listing_cannot_lead_out_of_the_folder(hub: Any, tmp_path: Path, path: str) -> None:
    commit = hub.add(LOW_RES, {"a.nc": b"a"})

    def listing(handler: Any) -> bool:
        if f"/tree/{commit}" not in handler.path:
            return False
        entry = {"type": "file", "oid": "0" * 40, "size": 1, "path": path}
        handler.say([entry])
        return True

    hub.faults.append(listing)
    with pytest.raises(HubError, match="leads out of its folder"):
        plan("climsim-low-res", Selection(include=("*",)), tmp_path / "out")


def test_files_here_that_are_others_are_refused_or_replaced(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 2)
    hub.add(LOW_RES, files)
    cut, own = _path("mli", "0001-02-01-00000"), _path("mlo", "0001-02-01-01200")
    mine = {cut: files[cut][:1000], own: b"\0" * 3000}
    for path, content in mine.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    dates = ("--from", "0001-02-01")
    result = _run("climsim-low-res", "-o", tmp_path, *dates)
    assert result.exit_code == 1
    assert re.search(
        rf"2 files here are not those of .*: {tmp_path / cut}, {tmp_path / own}; move them away",
        str(result.exception),
    )
    assert _here(tmp_path) == mine
    result = _run("climsim-low-res", "-o", tmp_path, *dates, "--overwrite")
    assert result.exit_code == 0, result.output
    assert _here(tmp_path) == {p: b for p, b in files.items() if p != "README.md"}


def test_room_on_disk_is_looked_at_first(
    hub: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add(LOW_RES, _steps("0001-02-01-00000", 2))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=14_999))
    with pytest.raises(HubError, match=r"15\.0 kB are to come, and 15\.0 kB are free there"):
        _fetch(tmp_path)
    assert not hub.asked("/resolve/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=15_000))
    _fetch(tmp_path)


def test_a_disk_that_fills_up_keeps_what_came(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 1, size=50_000)
    hub.add(LOW_RES, files)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(FileError, match=r"longer than the limit.*what was fetched is kept"):
            _fetch(tmp_path, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (part,) = (p for p in tmp_path.rglob("*.part"))
    assert part.stat().st_size == 20_000
    assert [p.name for p in tmp_path.rglob("*.nc")] == [GRID]  # 3,000 bytes
    hub.requests.clear()
    _fetch(tmp_path)
    assert "bytes=20000-" in [r.headers.get("range") for r in hub.asked("/cdn/")]
    assert _here(tmp_path) == {p: b for p, b in files.items() if p != "README.md"}


def test_a_damaged_part_does_not_spoil_the_file(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 1)
    hub.add(LOW_RES, files)
    planned = plan("climsim-low-res", DAY, tmp_path)
    for file, size in zip(planned.missing, (100, 3000, 5000), strict=True):
        part = transfer.part_of(file, tmp_path / file.path)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(bytes(size))
    planned.run()
    assert _here(tmp_path) == {p: b for p, b in files.items() if p != "README.md"}


def test_two_processes_do_not_write_one_part(hub: Any, tmp_path: Path) -> None:
    import fcntl

    hub.add(LOW_RES, _steps("0001-02-01-00000", 1))
    planned = plan("climsim-low-res", DAY, tmp_path)
    part = transfer.part_of(planned.missing[0], tmp_path / planned.missing[0].path)
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(HubError, match="another process fetches this file now"):
            planned.run()
    planned.run()
    assert len(find_pairs(tmp_path)) == 1


def test_links_stay_links(hub: Any, tmp_path: Path) -> None:
    files = _steps("0001-02-01-00000", 1)
    hub.add(LOW_RES, files)
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    _fetch(tmp_path / "out")
    assert (tmp_path / "out").readlink() == tmp_path / "disk"
    assert _here(tmp_path / "disk") == {p: b for p, b in files.items() if p != "README.md"}


def test_progress_counts_the_bytes_of_the_whole_job(hub: Any, tmp_path: Path) -> None:
    hub.add(LOW_RES, _steps("0001-02-01-00000", 2, size=2_000_000))
    seen: list[tuple[int, int, str]] = []
    planned = plan("climsim-low-res", DAY, tmp_path)
    planned.run(workers=2, progress=lambda *now: seen.append(now))
    assert seen[-1] == (8, 8, "5 of 5 files")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert len({done for done, _, _ in seen}) > 4
