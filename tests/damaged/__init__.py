"""Stored bytes that were damaged: only our errors, no crash, and what cannot be read is seen to be ``corrupt``."""
