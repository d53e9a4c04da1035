"""Running a matrix: what is done is skipped, what is half done goes on, failures are told and the
next run starts, nobody trains a run twice. Most runs are a program that stands in for training.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from climlink.cli.main import app
from climlink.data.store import ColumnStore
from climlink.run_folder import job_runs, last_status, read_record, run_log
from climlink.training.attempt import Outcome, State, run_state
from climlink.training.callbacks import read_metrics
from climlink.training.composition import word
from climlink.training.matrix import run_matrix
from climlink.training.matrix_config import MatrixRun, load_matrix
from climlink.training.run import train

STAND_IN = """\
import os, pathlib, shutil, signal, sys, time, yaml
config = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
folder = pathlib.Path(config["output"])
with open("trained.txt", "a", encoding="utf-8") as file:
    file.write(f"{config['seed']} {os.environ.get('CUDA_VISIBLE_DEVICES')} {os.getpid()}\\n")
if config["seed"] == 2:
    print("\\repoch 1\\rerror: the columns are rotten", flush=True)
    sys.exit(1)
if config["seed"] == 3:
    os.kill(os.getpid(), signal.SIGKILL)
while config["seed"] == 4:
    time.sleep(0.01)
if config["seed"] > 100:  # only done when another runs at the same time
    deadline = time.monotonic() + 60
    while len(open("trained.txt", encoding="utf-8").readlines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
(folder / "checkpoints").mkdir(parents=True)
shutil.copyfile(sys.argv[1], folder / "config.yaml")
(folder / "checkpoints" / "last.ckpt").touch()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the current directory one with nothing but a store that is not looked into."""
    monkeypatch.chdir(tmp_path)
    Path("a.zarr").mkdir()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program stand in for training: seed 2 fails, 3 is killed, 4 does not end."""
    Path("stand_in.py").write_text(STAND_IN, encoding="utf-8")

    def command(run: MatrixRun) -> list[str]:
        return [sys.executable, "stand_in.py", str(run.jobs / "config.yaml")]

    monkeypatch.setattr("climlink.training.attempt.training_command", command)


def _matrix(seeds: list[int], store: object = "a.zarr", device: str = "cpu") -> str:
    settings = (
        "{architecture: linear, validation.source: none, threads: 1, device: DEVICE, "
        f"data: '{store}', normalization.scheme: moments}}"
    ).replace("DEVICE", device)
    Path("base.yaml").write_text("epochs: 2\nbatch_size: 64\n", encoding="utf-8")
    Path("matrix.yaml").write_text(
        f"config: base.yaml\nsettings: {settings}\nblocks: [{{axes: {{seed: {seeds}}}}}]\n",
        encoding="utf-8",
    )
    return "matrix.yaml"


def _runs(seeds: list[int], device: str = "cpu") -> tuple[MatrixRun, ...]:
    return load_matrix(_matrix(seeds, device=device)).runs


def _cli(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", "--matrix", "matrix.yaml", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def _trained() -> list[list[str]]:
    return [line.split() for line in Path("trained.txt").read_text(encoding="utf-8").splitlines()]


def _state(*words: str) -> State:
    (run,) = load_matrix("matrix.yaml", [word(w) for w in words]).runs
    return run_state(run)


def test_how_runs_stand_that_were_trained_without_a_matrix(synthetic_store: ColumnStore) -> None:
    _matrix([1], synthetic_store.path)
    (run,) = load_matrix("matrix.yaml").runs
    assert _state() == ("waiting", "")
    train(run.config, stop_after=1, progress=False)
    assert _state() == ("part", "1 of 2 epochs")
    train(run.config, resume=True, progress=False)
    assert _state().kind == "done"
    assert run_matrix([run])[0].seconds == 0
    # The same name with other settings is neither skipped nor replaced.
    other = _state("batch_size=32")
    assert (other.kind, other.to_do) == ("other", False)
    assert "holds a run with other settings: batch_size was 64, now 32" in other.note
    assert _cli("batch_size=32")[0] == 1
    # What says where it runs may differ.
    assert _state("memory_limit_gib=3").kind == "done"


@pytest.mark.long
def test_what_is_half_done_goes_on_in_a_process_of_its_own(synthetic_store: ColumnStore) -> None:
    _matrix([1], synthetic_store.path)
    (run,) = load_matrix("matrix.yaml").runs
    train(run.config, stop_after=1, progress=False)
    (first,) = read_metrics(run.directory / "metrics.csv")
    code, told = _cli("--json")
    (outcome,) = json.loads(told)
    assert (code, outcome["state"], outcome["name"]) == (0, "done", run.name)
    assert outcome["seconds"] > 0
    kept, second = read_metrics(run.directory / "metrics.csv")
    assert kept == first  # the epoch before was not trained again
    assert second["epoch"] == "2"


@pytest.mark.long
def test_a_signal_to_the_launch_ends_the_training_and_the_next_launch_goes_on(
    synthetic_store: ColumnStore,
) -> None:
    _matrix([1], synthetic_store.path)
    (run,) = load_matrix("matrix.yaml", [word("epochs=100000")]).runs
    command = [sys.executable, "-m", "climlink", "train", "--matrix", "matrix.yaml"]
    launch = subprocess.Popen([*command, "epochs=100000"])
    deadline = time.monotonic() + 300
    while not (run.directory / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        assert launch.poll() is None
        time.sleep(0.1)
    assert run_state(run).kind == "running"
    launch.send_signal(signal.SIGTERM)
    assert launch.wait(60) == 128 + signal.SIGTERM
    assert not job_runs(run.jobs)
    assert (last_status(run.jobs), run_state(run).kind) == ("interrupted", "part")


@pytest.mark.usefixtures("stand_in")
def test_a_failure_is_told_with_its_log_and_the_next_run_starts() -> None:
    _matrix([2, 3, 1])
    assert [s["state"] for s in json.loads(_cli("--list", "--json")[1])] == ["waiting"] * 3
    assert not Path("runs").exists()
    code, told = _cli()
    assert code == 1
    assert "3 runs: 2 failed, 1 done" in told
    listed = json.loads(_cli("--list", "--json")[1])
    assert [s["state"] for s in listed] == ["failed", "failed", "done"]
    log = Path("runs/jobs") / listed[0]["name"] / "log.txt"
    assert listed[0]["note"] == f"exit code 1: error: the columns are rotten; log: {log}"
    assert "error: the columns are rotten" in log.read_text(encoding="utf-8")
    assert listed[1]["note"].startswith("killed by SIGKILL (out of memory?)")
    # The next launch tries again what failed, and that alone.
    assert _cli()[0] == 1
    assert [seed for seed, *_ in _trained()] == ["2", "3", "1", "2", "3"]
    assert log.read_text(encoding="utf-8").count("the columns are rotten") == 2


@pytest.mark.usefixtures("stand_in")
def test_a_run_without_its_store_is_told_before_a_process_is_started() -> None:
    runs = load_matrix(_matrix([1]), [word("data=b.zarr")]).runs
    (outcome,) = run_matrix(runs)
    assert outcome.state == ("failed", "there is no store b.zarr; give data=STORE")
    assert not Path("trained.txt").exists()


@pytest.mark.usefixtures("stand_in")
def test_several_at_a_time() -> None:
    outcomes = run_matrix(_runs([101, 102, 103]), jobs=2)
    assert [o.state.kind for o in outcomes] == ["done"] * 3
    assert sorted(seed for seed, *_ in _trained()) == ["101", "102", "103"]


@pytest.mark.usefixtures("stand_in")
def test_two_launches_at_once_train_each_run_once() -> None:
    runs = _runs([11, 12, 13, 14])
    told: list[list[Outcome]] = []
    launches = [threading.Thread(target=lambda: told.append(run_matrix(runs))) for _ in range(3)]
    for launch in launches:
        launch.start()
    for launch in launches:
        launch.join()
    assert sorted(seed for seed, *_ in _trained()) == ["11", "12", "13", "14"]
    assert len(told) == 3
    assert {o.state.kind for outcomes in told for o in outcomes} <= {"done", "running"}
    assert {run_state(run).kind for run in runs} == {"done"}


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_another_launch_is_at_is_left_to_it() -> None:
    busy, free = _runs([1, 5])
    busy.jobs.mkdir(parents=True)
    with run_log(busy.jobs):
        first, second = run_matrix([busy, free])
        assert (first.state.kind, first.failed, second.state.kind) == ("running", False, "done")
    assert [seed for seed, *_ in _trained()] == ["5"]
    assert run_state(busy).kind == "waiting"


class _Stop(BaseException):
    """What a signal raises, for this test."""


@pytest.mark.usefixtures("stand_in")
def test_an_interrupted_launch_ends_its_runs_and_lets_them_go() -> None:
    endless, short = _runs([4, 5])

    def stop(_: Outcome) -> None:
        deadline = time.monotonic() + 60
        while "4" not in [seed for seed, *_ in _trained()]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        raise _Stop("enough")

    with pytest.raises(_Stop):
        run_matrix([endless, short], jobs=2, on_outcome=stop)
    (process,) = [int(pid) for seed, _, pid in _trained() if seed == "4"]
    with pytest.raises(ProcessLookupError):
        os.kill(process, signal.SIG_DFL)
    assert not job_runs(endless.jobs)
    record = read_record(endless.jobs)
    assert (last_status(endless.jobs), record["error"]) == ("interrupted", "enough")
    assert (run_state(endless).kind, run_state(short).kind) == ("waiting", "done")


@pytest.mark.usefixtures("stand_in")
def test_each_process_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    run_matrix(_runs([101, 102], device="cuda"), jobs=2)
    assert sorted(gpu for _, gpu, _ in _trained()) == ["4", "5"]
    Path("trained.txt").unlink()
    run_matrix(_runs([6], device="cuda"))  # one at a time may have them all
    assert [gpu for _, gpu, _ in _trained()] == ["4,5"]
