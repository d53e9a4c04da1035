"""The command line; each file holds one group of commands and imports what it needs when it
runs.
"""
