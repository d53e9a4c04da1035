"""Training of wrapped emulators on a column store: configuration, data, Lightning module, runs and
their checkpoints.
"""
