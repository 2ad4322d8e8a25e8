"""What releases have stored, kept for ever: later ones have to read it, finish it, and find nothing wrong with it.

``python -m tests.golden`` writes ``tests/golden/<version>.jsonl`` for the version at hand; a release adds its own and
changes none of the others. The tasks in ``app.py`` are part of them: they keep their names and what they return.
"""
