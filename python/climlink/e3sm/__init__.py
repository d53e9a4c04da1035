"""Into E3SM: cases, machines, source modifications, namelists and the check of a case before its
job is queued.
"""
