"""Offline evaluation of packages: predictions, what a replay wrote, and their scores."""

from climlink.evaluation.offline.prediction import predict_package, replay_outputs
from climlink.evaluation.offline.scores import R2Table, r2_table

__all__ = ["R2Table", "predict_package", "r2_table", "replay_outputs"]
