"""Packages: reading, export, import of foreign graphs, golden columns, verification, constraint
switches.
"""
