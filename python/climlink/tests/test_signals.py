"""Signals as exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from climlink.signals import ENDING, Interrupted, interruptible

# A command of the real command line that waits, so that a signal finds it at work.
WAITING = """
import sys, time
from climlink.cli import main
@main.app.command("wait")
def wait():
    try:
        print("at work", flush=True)
        time.sleep(60)
    except Exception:
        print("went on")
    finally:
        print("cleaned up")
sys.argv = ["climlink", "wait"]
main.main()
"""


def waiting(before: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    """Start the command and return once it is at work; ``before`` runs in its process."""
    command = [sys.executable, "-c", WAITING]
    pipe = subprocess.PIPE
    job = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=before)
    assert job.stdout is not None
    assert job.stdout.readline() == "at work\n"
    return job


@pytest.mark.parametrize("number", ENDING)
def test_exit_code_of_a_command_that_a_signal_ends(number: signal.Signals) -> None:
    job = waiting()
    job.send_signal(number)
    said, errors = job.communicate(timeout=30)
    assert (job.returncode, said, errors) == (
        128 + number,
        "cleaned up\n",
        f"ended by {number.name}\n",
    )


def test_a_signal_that_comes_twice_lets_the_clean_up_finish() -> None:
    cleaned_up = []

    def interrupted_twice() -> None:
        with interruptible():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                cleaned_up.append(True)

    with pytest.raises(Interrupted, match="SIGTERM"):
        interrupted_twice()
    assert cleaned_up


def test_what_is_ignored_stays_ignored() -> None:
    job = waiting(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    job.send_signal(signal.SIGHUP)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=30)
    assert job.returncode == 128 + signal.SIGTERM


def test_handlers_come_back() -> None:
    before = [signal.getsignal(s) for s in ENDING]
    with interruptible():
        assert [signal.getsignal(s) for s in ENDING] != before
    assert [signal.getsignal(s) for s in ENDING] == before
