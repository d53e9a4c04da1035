"""Stability of a package before it runs: linear response, gravity waves, semi-online replay."""
