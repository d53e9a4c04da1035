"""Signals that ask a process to end become exceptions, so that files and jobs are left in order."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Sent by a terminal, by batch systems and ``kill``, and by a terminal that goes away."""

# timeout(1) and batch systems signal the process and again its group; a later signal is meant.
_BURST_S = 1.0


class Interrupted(BaseException):
    """A signal asked this process to end.

    Not an Exception: whoever goes on after those must not go on after this.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"ended by {self.signal.name}")

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that the signal ended: 128 + its number."""
        return 128 + self.signal


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupted in the block at SIGINT, SIGTERM and SIGHUP; main thread only.

    A signal that this process was told to ignore (nohup, a background job) stays ignored.
    """
    last_s = -_BURST_S

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal last_s
        before_s, last_s = last_s, time.monotonic()
        if last_s - before_s >= _BURST_S:
            raise Interrupted(number)

    ours = [s for s in ENDING if signal.getsignal(s) is not signal.SIG_IGN]
    before = [signal.signal(s, interrupt) for s in ours]
    try:
        yield
    finally:
        for number, handler in zip(ours, before, strict=True):
            signal.signal(number, handler)
