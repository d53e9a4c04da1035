"""Training through recorded consecutive steps: the emulator's own errors become its inputs, as they
do in a running model.
"""
