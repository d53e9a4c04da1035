"""Healing: a hybrid runs, the reference physics labels the states it visits, the network learns
from them, and runs again.
"""
