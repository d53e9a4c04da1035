"""Evaluation of packages: array kernels, and labelled offline scores. Never of bare networks."""
