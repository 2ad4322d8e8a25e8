"""What releases have stored, kept for ever: later ones have to read it, finish it, and find nothing wrong with it.

``python -m tests.golden`` writes ``tests/golden/<version>.jsonl`` for the version at hand, with every key of
``quaff.store.keys``, or ``<version>-2.jsonl`` where that is there; none is ever changed. The tasks in ``app.py`` are
part of them: they keep their names and what they return.
"""
