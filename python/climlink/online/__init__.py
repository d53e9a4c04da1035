"""Online runs: a case file becomes a namelist, a run folder with a record, and an MPI job of a host
model.
"""
