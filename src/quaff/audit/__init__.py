"""Looks whether what a partition holds is what the engine promises: for ``quaff audit``, and for the tests' dumps."""
