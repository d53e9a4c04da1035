"""Figures, by kind of evaluation; what they share is in style."""
