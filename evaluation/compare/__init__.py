"""Packages against runs: does offline skill say what runs do."""
