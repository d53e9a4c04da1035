"""ClimSim files to named columns: discovery, split, the column store, statistics, and what a store
holds.
"""
