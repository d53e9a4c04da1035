"""Offline evaluation of packages: what they predict, what a replay wrote, and their scores."""

from climlink.evaluation.offline.replayed import replay_outputs
from climlink.evaluation.offline.scores import R2Table, r2_table

__all__ = ["R2Table", "r2_table", "replay_outputs"]
