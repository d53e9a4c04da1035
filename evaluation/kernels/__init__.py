"""Scores of plain arrays in float64: of rows at hand, of pairs as they stream past, and of
probabilities.
"""

from climlink.evaluation.kernels.rows import bias, mae, r2, rmse

__all__ = ["bias", "mae", "r2", "rmse"]
