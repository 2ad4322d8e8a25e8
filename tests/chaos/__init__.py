"""Jobs under ``kill -9``: ``python -m tests.chaos --duration 30 --seed 1``, and what other tests borrow from it."""
