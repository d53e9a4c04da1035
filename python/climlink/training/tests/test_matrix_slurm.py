"""Submitting a matrix: sbatch, srun and squeue are programs that stand in for Slurm's."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from climlink.config import ConfigError
from climlink.data.store import ColumnStore
from climlink.mpi import LaunchError
from climlink.run_folder import read_record, run_log, write_record
from climlink.training.attempt import queued_jobs, run_state
from climlink.training.errors import TrainingError
from climlink.training.matrix import run_matrix
from climlink.training.matrix_config import Matrix, load_matrix
from climlink.training.matrix_slurm import TrainingJob, submit_matrix

SBATCH = """\
#!/bin/sh
if grep -q 'partition=wrong' "$1"; then echo 'sbatch: error: invalid partition' >&2; exit 1; fi
n=$(( $(ls slurm | grep -c job) + 1000 ))
cp "$1" "slurm/job$n.sh"
echo "$n" >> slurm/queue
echo "Submitted batch job $n"
"""
SQUEUE = """\
#!/bin/sh
[ "$*" = "--me --noheader --format=%A" ] || exit 2
cat slurm/queue
"""
SRUN = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do
  case "$1" in --output | --error) shift ;; esac
  shift
done
exec "$@"
"""
MATRIX = """\
config: base.yaml
settings: {architecture: linear, data: 'STORE', normalization.scheme: moments}
blocks: [{axes: {seed: [1, 2]}}]
slurm:
  machine: machine.yaml
  minutes: 90
  nodes: 2
  tasks_per_node: 4
  gpus_per_node: 4
  cpus_per_task: 8
  memory_gib: 64
  options: {constraint: gpu, requeue: true}
"""
MACHINE = """\
name: here
cime_machine: linux-generic
compiler: gnu
launcher: srun
queue: night
account_from: OUR_ACCOUNT
cores_per_node: 32
modules: [gcc, cuda]
emulator: {ranks_per_node: 1}
mmf: {ranks_per_node: 1}
"""
STAND_IN = """\
import os, pathlib, shutil, sys, yaml
config = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
with open("trained.txt", "a", encoding="utf-8") as file:
    file.write(f"{config['seed']} {os.environ['OMP_NUM_THREADS']}\\n")
if config["seed"] == 2:
    sys.exit("error: no such store")
folder = pathlib.Path(config["output"])
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
shutil.copyfile(sys.argv[1], folder / "config.yaml")
(folder / "checkpoints" / "last.ckpt").touch()
"""


@pytest.fixture(autouse=True)
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the current directory one with a matrix, and put the stand-ins on PATH."""
    monkeypatch.chdir(tmp_path)
    Path("slurm").mkdir()
    Path("STORE").mkdir()
    Path("slurm/queue").touch()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "srun": SRUN}.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text, encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OUR_ACCOUNT", "m1234")
    files = {
        "base.yaml": "epochs: 1\nbatch_size: 64\nthreads: 3\n",
        "matrix.yaml": MATRIX,
        "machine.yaml": MACHINE,
        "stand_in.py": STAND_IN,
    }
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program stand in for training in the process of a job; seed 2 fails."""
    for module in ("attempt", "matrix_slurm"):
        monkeypatch.setattr(
            f"climlink.training.{module}.training_command",
            lambda run: [sys.executable, "stand_in.py", str(run.jobs / "config.yaml")],
        )
    monkeypatch.setenv("SLURM_JOB_ID", "77")


def _submitted(matrix: Matrix) -> list[tuple[str, str]]:
    outcomes = submit_matrix(matrix.runs, matrix.config.slurm)
    return [(o.state.kind, o.state.note) for o in outcomes]


def _queue(*jobs: str) -> None:
    Path("slurm/queue").write_text("".join(f"{job}\n" for job in jobs), encoding="utf-8")


def test_one_job_for_each_run_with_what_it_needs() -> None:
    matrix = load_matrix("matrix.yaml")
    assert _submitted(matrix) == [("queued", "job 1000"), ("queued", "job 1001")]
    script = Path("slurm/job1000.sh").read_text(encoding="utf-8")
    flags = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", script, re.MULTILINE))
    asked = {
        "job-name": matrix.runs[0].name, "partition": "night", "account": "m1234", "time": "90",
        "nodes": "2", "ntasks-per-node": "4", "gpus-per-node": "4", "cpus-per-task": "8",
        "mem": "64G", "constraint": "gpu", "signal": "USR2@90",
    }  # fmt: skip
    assert asked.items() <= flags.items()
    assert "#SBATCH --requeue\n" in script
    assert "\nmodule load gcc cuda\n" in script
    assert read_record(matrix.runs[0].jobs)["status"] == "submitted"


def test_what_is_in_the_queue_is_not_submitted_or_trained_again() -> None:
    matrix = load_matrix("matrix.yaml")
    _submitted(matrix)
    assert queued_jobs(matrix.runs) == {"1000", "1001"}
    assert run_state(matrix.runs[0], {"1000"}) == ("queued", "job 1000")
    assert _submitted(matrix) == [("queued", "job 1000"), ("queued", "job 1001")]
    assert [o.state.kind for o in run_matrix(matrix.runs)] == ["queued", "queued"]
    # A job that left the queue without an end was lost: its run is submitted again.
    _queue("1001")
    assert _submitted(matrix) == [("queued", "job 1002"), ("queued", "job 1001")]
    assert len(list(Path("slurm").glob("job*.sh"))) == 3


@pytest.mark.usefixtures("stand_in")
def test_a_job_trains_its_run_and_the_next_does_nothing() -> None:
    good, bad = load_matrix("matrix.yaml").runs
    for _ in range(2):
        TrainingJob(good, threads=3)()
    assert Path("trained.txt").read_text(encoding="utf-8") == "1 3\n"
    assert run_state(good).kind == "done"
    assert read_record(good.jobs)["job"] == "77"
    with pytest.raises(TrainingError, match=r"seed2: exit code 1: error: no such store; log: "):
        TrainingJob(bad, threads=3)()
    assert run_state(bad).kind == "failed"
    # What submitit queues when the time limit comes is the same run.
    again = TrainingJob(good, threads=3).checkpoint()
    assert (again.function, again.args) == (TrainingJob(good, threads=3), ())


@pytest.mark.usefixtures("stand_in")
def test_further_processes_of_a_job_leave_the_record_to_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = load_matrix("matrix.yaml").runs[0]
    run.jobs.mkdir(parents=True)
    (run.jobs / "config.yaml").write_text(run.text, encoding="utf-8")
    monkeypatch.setenv("SLURM_PROCID", "1")
    with run_log(run.jobs):  # the first process holds the run
        TrainingJob(run, threads=3)()
    assert Path("trained.txt").read_text(encoding="utf-8") == "1 3\n"
    assert not (run.jobs / "run.json").exists()
    # Where there is nothing to do the first process does nothing, and would be waited for.
    write_record(run.jobs, {}, status="finished")
    TrainingJob(run, threads=3)()
    assert Path("trained.txt").read_text(encoding="utf-8") == "1 3\n"


def test_a_refused_job_is_told_and_the_next_one_submitted() -> None:
    matrix = load_matrix("matrix.yaml")
    Path("machine.yaml").write_text(MACHINE.replace("night", "wrong"), encoding="utf-8")
    told = _submitted(matrix)
    assert [kind for kind, _ in told] == ["failed", "failed"]
    assert "sbatch refused it: sbatch: error: invalid partition" in told[0][1]
    # Nothing says that they were submitted.
    assert [run_state(run).kind for run in matrix.runs] == ["waiting", "waiting"]


def test_what_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    matrix = load_matrix("matrix.yaml")
    monkeypatch.delenv("OUR_ACCOUNT")
    with pytest.raises(ConfigError, match=r"machine here charges .* variable OUR_ACCOUNT names"):
        _submitted(matrix)
    monkeypatch.setenv("OUR_ACCOUNT", "m1234")
    _submitted(matrix)
    (tmp_path / "bin" / "squeue").unlink()
    with pytest.raises(LaunchError, match=r"runs were submitted \(job 1000\), and there is no sq"):
        queued_jobs(matrix.runs)
    _queue()
    for run in matrix.runs:
        (run.jobs / "run.json").unlink()
    (tmp_path / "bin" / "sbatch").unlink()
    with pytest.raises(LaunchError, match="no sbatch and srun on PATH"):
        _submitted(matrix)


@pytest.mark.long
def test_the_script_of_a_job_trains(synthetic_store: ColumnStore) -> None:
    """The script that sbatch was given, run by a shell as Slurm runs it."""
    text = MATRIX.replace("STORE", str(synthetic_store.path))
    text = re.sub(r"nodes: 2|tasks_per_node: 4|gpus_per_node: 4|, cuda", "", text)
    Path("matrix.yaml").write_text(text, encoding="utf-8")
    Path("machine.yaml").write_text(MACHINE.replace("modules: [gcc, cuda]\n", ""), encoding="utf-8")
    matrix = load_matrix("matrix.yaml")
    _submitted(matrix)
    script = Path("slurm/job1000.sh").read_text(encoding="utf-8")
    assert shlex.quote(sys.executable) in script
    environment = {**os.environ, "SLURM_JOB_ID": "1000", "SLURM_PROCID": "0",
                   "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1", "SLURM_NODEID": "0",
                   "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "localhost"}  # fmt: skip
    done = subprocess.run(
        ["bash", "slurm/job1000.sh"],
        env=environment, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    log = matrix.runs[0].jobs / "log.txt"
    assert done.returncode == 0, (done.stdout, done.stderr, log.read_text(encoding="utf-8"))
    _queue("1001")
    assert [run_state(r, {"1001"}).kind for r in matrix.runs] == ["done", "queued"]
