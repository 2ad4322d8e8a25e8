"""The benchmark: ``python -m bench``, or ``make bench``. What is measured, and how to disagree: README.md."""
