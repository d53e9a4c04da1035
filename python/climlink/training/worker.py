"""One of the processes that a run on this machine starts itself:
``python -m climlink.training.worker CONFIG OPTIONS``, both as JSON.
"""

from __future__ import annotations

import json
import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import record

from climlink.signals import Interrupted
from climlink.training.config import TrainingConfig
from climlink.training.run import Options, run_process
from climlink.wrappers.errors import ClimlinkError


@record  # leaves the error to the process that started this one
def main(config: str, options: str) -> None:
    """Do the part of this process in a run."""
    run_process(TrainingConfig.model_validate_json(config), Options(**json.loads(options)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    # Without a traceback: who started the processes tells what the first to fail said.
    except ClimlinkError:
        sys.exit(1)
    except Interrupted as end:
        sys.exit(end.exit_code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
