"""Members out of one training: the checkpoints of epochs that it kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from climlink.ensembles.errors import EnsembleError


def epoch_files(run: Path, epochs: Sequence[int]) -> list[Path]:
    """Return the checkpoints of some epochs of a run folder; EnsembleError for an epoch that is
    given twice or was not kept, saying which were.
    """
    from climlink.training.callbacks import EPOCH_FILES, kept_epochs
    from climlink.training.checkpoint import CHECKPOINT_FOLDER

    if len(set(epochs)) != len(epochs):
        raise EnsembleError(f"epochs {list(epochs)}: give each once")
    folder = run / CHECKPOINT_FOLDER
    known = [number for _, number in kept_epochs(folder)]
    lacking = [n for n in epochs if n not in known]
    if lacking:
        there = ", ".join(map(str, known)) or "none: train with `keep_checkpoints`"
        raise EnsembleError(
            f"{folder} has no checkpoint of epoch {', '.join(map(str, lacking))}; kept: {there}"
        )
    return [folder / EPOCH_FILES.format(n) for n in epochs]
