"""Run a command that gets SIGTERM when the process that started it ends, however that ends.

run_with_parent.py PARENT COMMAND... with the number of that process. A program of its own: between
fork and exec a process with threads may do next to nothing.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; it stays over exec

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # A parent that ended before the call sends no signal; this process has another parent by now.
    if os.getppid() != int(parent):
        sys.exit("the process that wanted this job has ended")
    # Python ignores these, and exec would hand that down.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(command[0], command)
