"""What the system refuses, and signals: commands end with path and reason, or 128+n, and leave
nothing half-written.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import xarray as xr
import yaml

from climlink.cli import main as command_line
from climlink.cli.console import errors, output, show_everything
from climlink.data import files
from climlink.data.files import FileError, replacing, require_writable
from climlink.data.prepare import prepare
from climlink.data.split import Split
from climlink.data.store import ColumnStore
from climlink.evaluation.report.write import write_numbers
from climlink.packages.export import ExportSource, export_package
from climlink.packages.read import EmulatorPackage, PackageError
from climlink.training.callbacks import EpochCheckpoint, PlainCheckpointIO, read_metrics
from climlink.training.checkpoint import load_checkpoint, run_progress

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the real entry point and gives exit code and standard error."""

    def command(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["climlink", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            command_line.main()
        assert isinstance(end.value.code, int)
        return end.value.code, capsys.readouterr().err

    return command


@pytest.fixture
def split_file(tmp_path: Path) -> Path:
    """Return a split file that trains on everything."""
    path = tmp_path / "split.yaml"
    path.write_text("remainder: train\n", encoding="utf-8")
    return path


@pytest.fixture
def training_file(tmp_path: Path, synthetic_store: ColumnStore) -> Path:
    """Return a configuration of 400 short epochs."""
    path = tmp_path / "tiny.yaml"
    network = {"architecture": {"name": "linear"}, "epochs": 400, "batch_size": 96, "threads": 1}
    path.write_text(
        yaml.safe_dump({"name": "tiny", "store": str(synthetic_store.path), **network}),
        encoding="utf-8",
    )
    return path


@contextmanager
def short_files(most_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a length, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert (
        signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    )  # Python's own choice: a refusal is an error, not the end
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def half_written(folder: Path) -> list[Path]:
    """Return what a command that was stopped must not leave."""
    return [
        p for p in folder.rglob("*") if p.name.endswith((".part", ".new", ".removed", ".partial"))
    ]


# Refusals of the system.


def test_a_full_disk_is_told_by_path_whatever_the_library_makes_of_it(
    tmp_path: Path, linear_source: ExportSource, synthetic_store: ColumnStore
) -> None:
    target = tmp_path / "numbers.nc"
    write_numbers(xr.Dataset({"a": 1.0}), target)
    before = target.read_bytes()
    large = xr.Dataset({"a": ("x", [float(n) for n in range(100_000)])})
    with (
        short_files(100_000),
        pytest.raises(
            FileError, match=r"numbers\.nc: .*limit set for files \(ulimit -f\)"
        ) as refused,
    ):
        write_numbers(large, target)  # netCDF-C and HDF5 raise RuntimeError
    assert isinstance(refused.value.__cause__, RuntimeError)
    inputs = linear_source.emulator.contract.inputs
    rows = torch.from_numpy(synthetic_store.pack(inputs, synthetic_store.indices("train")))
    with short_files(100_000), pytest.raises(PackageError, match=r"w\.pt: .*limit set for files"):
        export_package(linear_source, rows, tmp_path / "w.pt")
    assert target.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["numbers.nc"]


def test_preparation_on_a_full_disk_keeps_its_blocks(
    run: Run, synthetic_dir: Path, split_file: Path, tmp_path: Path
) -> None:
    whole = prepare(synthetic_dir, tmp_path / "whole.zarr", split=Split())
    store = tmp_path / "s.zarr"
    command = ("data", "prepare", synthetic_dir, "-o", store, "--split", split_file)
    with short_files(20_000):
        code, told = run(*command)
    assert code == 1
    assert str(store) in told
    assert "limit set for files" in told
    assert "repeat the command" in told
    assert not half_written(tmp_path)
    assert run("data", "describe", store)[0] == 0
    assert run("data", "statistics", store, "-o", tmp_path / "statistics.nc")[0] == 1
    assert run(*command)[0] == 0
    assert ColumnStore.open(store).digest == whole.digest


def test_training_on_a_full_disk_keeps_the_last_whole_epoch(
    run: Run, training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = PlainCheckpointIO.save_checkpoint

    def full(
        self: PlainCheckpointIO,
        checkpoint: dict[str, object],
        path: Path,
        storage_options: object = None,
    ) -> None:
        save(self, checkpoint, path, storage_options)
        if checkpoint["epoch"] == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PlainCheckpointIO, "save_checkpoint", full)
    code, told = run("train", training_file, "-o", tmp_path / "run")
    assert code == 1
    assert "last.ckpt: no space is left on this disk" in told
    assert "2 of 400 epochs; go on with" in told
    assert not half_written(tmp_path)
    assert load_checkpoint(tmp_path / "run").epochs == 2


COMMANDS = {
    "prepare": ["data", "prepare", "SOURCE", "--split", "SPLIT", "-o"],
    "statistics": ["data", "statistics", "STORE", "-o"],
    "train": ["train", "TRAINING", "-o"],
    "evaluate offline": ["evaluate", "offline", "PACKAGE", "--data", "STORE", "-o"],
    "evaluate online": ["evaluate", "online", "RUN", "--reference", "RUN", "-o"],
    "evaluate stability": ["evaluate", "stability", "PACKAGE", "--data", "STORE", "-o"],
    "evaluate compare": ["evaluate", "compare", "--matrix", "SPLIT", "-o"],
    "export": ["export", "RUN", "-o"],
    "quickstart": ["quickstart", "--climsim", "SOURCE", "-o"],
}


@pytest.fixture
def arguments(
    synthetic_dir: Path, synthetic_store: ColumnStore, split_file: Path, training_file: Path
) -> Callable[[str], list[str]]:
    """Return a function that gives the arguments of a command of COMMANDS, but for what it
    writes.
    """
    known = {
        "SOURCE": synthetic_dir,
        "STORE": synthetic_store.path,
        "SPLIT": split_file,
        "TRAINING": training_file,
    }
    known |= {"PACKAGE": "none.pt", "RUN": "none"}  # where one writes is looked at first
    return lambda name: [str(known.get(word, word)) for word in COMMANDS[name]]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_is_named(
    run: Run, arguments: Callable[[str], list[str]], tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "not mounted" / "disk")
    for place, reason in (
        ("file/out", "is a file, a folder was expected|in the way"),
        ("link/out", "is a link to"),
    ):
        code, told = run(*arguments(name), tmp_path / place)
        assert code == 1
        assert str(tmp_path / place.partition("/")[0]) in told.replace("\n", "")
        assert any(words in " ".join(told.split()) for words in reason.split("|")), told
        assert "error: " in told
        assert "Traceback" not in told
    assert not (tmp_path / "not mounted").exists()


def test_a_folder_that_can_only_be_read_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_writable(tmp_path / "new" / "report")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != tmp_path
    )  # as for somebody who is not root
    with pytest.raises(FileError, match=f"report: {tmp_path} cannot be written: no permission"):
        require_writable(tmp_path / "new" / "report")


def test_an_error_without_a_name_of_ours_has_path_and_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> Callable[..., None]:
        def read(package: Path, *_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number), str(package))

        return read

    for number, reason in (
        (errno.EACCES, "no permission"),
        (errno.EROFS, "can only be read"),
        (errno.ESTALE, "network file system"),
    ):
        monkeypatch.setattr(EmulatorPackage, "read", refuse(number))
        code, told = run("inspect", "/some/where/w.pt")
        assert (code, told.partition(": ")[2].partition(": ")[0]) == (1, "/some/where/w.pt")
        assert reason in told


# Links.


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "w.pt", tmp_path / "disk" / "w.pt"
    link.symlink_to(target)
    for text in ("first", "second"):  # at first the link dangles
        with replacing(link) as beside:
            assert beside.parent == target.parent
            beside.write_text(text, encoding="utf-8")
        assert link.is_symlink()
        assert target.read_text(encoding="utf-8") == text
    for name, lead in (("circle", "circle"), ("gone", "no folder/w.pt")):
        (tmp_path / name).symlink_to(tmp_path / lead)
        with (
            pytest.raises(FileError, match=f"{name}: this is a link to"),
            replacing(tmp_path / name),
        ):
            pytest.fail("nothing is to be written")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["circle", "disk", "gone", "w.pt"]


def test_overwriting_a_store_behind_a_link(
    run: Run, synthetic_dir: Path, split_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    store, target = tmp_path / "s.zarr", tmp_path / "disk" / "s.zarr"
    store.symlink_to(target)
    command = ("data", "prepare", synthetic_dir, "-o", store, "--split", split_file)
    assert run(*command)[0] == 0
    (target / "mine.txt").touch()
    assert run(*command, "--overwrite")[0] == 0
    assert store.is_symlink()
    assert not (target / "mine.txt").exists()
    assert ColumnStore.open(store).n_time == 4
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["s.zarr"]
    shutil.rmtree(target)
    assert run(*command, "--overwrite")[0] == 0
    assert ColumnStore.open(target).n_time == 4


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    mine, alive = tmp_path / "a.nc", os.getppid()
    gone = next(pid for pid in range(2**22 - 1, 2, -1) if not Path(f"/proc/{pid}").exists())
    host = os.uname().nodename
    names = (
        f"a.nc.{host}.{gone}",
        f"b.nc.{host}.{gone}",
        f"a.nc.{host}.{alive}",
        f"a.nc.other.{gone}",
        f"a.nc.{host}.mine",
    )
    parts = [tmp_path / f".{name}.part" for name in names]
    for part in parts:
        part.touch()
    with replacing(mine) as beside:
        beside.touch()
    assert [p.exists() for p in parts] == [False, False, True, True, True]


# Signals.


@pytest.mark.parametrize("name", ["prepare", "statistics", "train"])
def test_a_signal_while_a_file_is_written_leaves_nothing_half_written(
    run: Run,
    arguments: Callable[[str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(files.os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    code, told = run(*arguments(name), tmp_path / "out")
    assert code == 128 + signal.SIGTERM
    assert "ended by SIGTERM" in told
    assert "Traceback" not in told
    assert not half_written(tmp_path)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT]
)  # Lightning has handlers of its own for these
def test_training_ended_by_a_signal_is_unfinished_and_goes_on(
    run: Run,
    training_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    folder, package = tmp_path / "a run", tmp_path / "w.pt"
    step = EpochCheckpoint.on_train_epoch_end

    def end_after_epoch_6(self: EpochCheckpoint, trainer, pl_module) -> None:
        step(self, trainer, pl_module)
        if trainer.current_epoch == 5:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(EpochCheckpoint, "on_train_epoch_end", end_after_epoch_6)
    code, told = run("train", training_file, "-o", folder)
    assert code == 128 + number
    assert f"ended by {number.name}" in told
    command = shlex.join(
        ["climlink", "train", str(folder / "config.yaml"), "-o", str(folder), "--resume"]
    )
    assert f"6 of 400 epochs; go on with\n{command}\n" in told
    assert not half_written(tmp_path)

    code, told = run("export", folder, "-o", package)
    assert code == 1
    assert "6 of 400 epochs" in told
    assert "--unfinished" in told
    assert not package.exists()
    assert run("export", folder, "-o", package, "--unfinished")[0] == 0
    training = EmulatorPackage.read(package).manifest.provenance.training
    assert (training["epochs_done"], training["finished"]) == (6, False)

    monkeypatch.undo()
    monkeypatch.setattr(EpochCheckpoint, "on_train_epoch_end", _stopping_early_at(8, step))
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert end.value.code == 0
    assert [int(line["epoch"]) for line in read_metrics(folder / "metrics.csv")] == list(
        range(1, 9)
    )
    progress = run_progress(folder)
    assert (str(progress), progress.finished) == ("8 of 400 epochs", True)


def _stopping_early_at(epoch: int, step: Callable[..., None]) -> Callable[..., None]:
    """Return the callback with early stopping before it, as Lightning's own works: it sets
    should_stop.
    """

    def stop(self: EpochCheckpoint, trainer, pl_module) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= epoch
        step(self, trainer, pl_module)

    return stop


def test_a_spent_budget_is_finished_also_at_its_best_epoch(
    run: Run, training_file: Path, tmp_path: Path
) -> None:
    config = yaml.safe_load(training_file.read_text(encoding="utf-8"))
    training_file.write_text(
        yaml.safe_dump({**config, "validation": {"source": "cut", "every": 2, "offset": 1}}),
        encoding="utf-8",
    )
    folder, best = tmp_path / "run", tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert run("train", training_file, "-o", folder, "--epochs", 3)[0] == 0
    for source in (folder, best):
        assert run_progress(source).finished
        assert run("export", source, "-o", tmp_path / "w.pt")[0] == 0
    assert EmulatorPackage.read(tmp_path / "w.pt").manifest.provenance.training["finished"] is True
    # A checkpoint that lies alone counts for itself: nobody can tell how far its run got.
    alone = shutil.copy(best, tmp_path / "alone.ckpt")
    progress = run_progress(alone)
    assert progress.finished == (load_checkpoint(best).epochs == 3)
    assert progress.resume is None


# The console.


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_a_console_shows_what_its_encoding_has(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    streams = {
        name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")
    }
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    show_everything()
    output.print("R² ≤ 1 → é… σ 日")
    errors.print("file\udce9.nc – ±1")
    shown = {}
    for name, stream in streams.items():
        stream.flush()
        shown[name] = (
            stream.buffer.getvalue()  # type: ignore[attr-defined]
            .decode(encoding)
            .strip()
        )
    first = {
        "latin-1": "R² <= 1 -> é... sigma ?",
        "ascii": "R2 <= 1 -> e... sigma ?",
        "utf-8": "R² ≤ 1 → é… σ 日",
    }
    second = {
        "latin-1": r"file\xe9.nc - ±1",
        "ascii": r"file\xe9.nc - +/-1",
        "utf-8": r"file\xe9.nc – ±1",
    }
    assert shown == {"stdout": first[encoding], "stderr": second[encoding]}


def test_an_error_about_any_path_is_told_on_any_console(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stderr", stream)
    assert run("inspect", tmp_path / "größer≥\udcff.pt")[0] == 1
    stream.flush()
    told = stream.buffer.getvalue().decode("latin-1")  # type: ignore[attr-defined]
    assert r"größer>=\xff.pt: no such file" in told.replace("\n", "")


def test_a_full_standard_output_is_an_error_and_a_closed_one_is_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        monkeypatch.context() as patched,
        open("/dev/full", "w", encoding="utf-8") as full,  # noqa: PTH123
    ):
        patched.setattr(sys, "stdout", full)
        code, told = run("data", "--help")
    assert code == 1
    assert (
        told == "error: the output: no space is left on this disk: free some, or write elsewhere\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with monkeypatch.context() as patched, os.fdopen(writing, "w", encoding="utf-8") as closed:
        patched.setattr(sys, "stdout", closed)
        code, told = run("data", "--help")
    assert told == ""
