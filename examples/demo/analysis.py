"""What is in a Python file. Plain functions; nothing here knows of queues."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from dataclasses import dataclass

#: Under this name the parser meets the file, so that its remarks about other people's code can be told from ours.
_UPLOAD = "uploaded_file"
warnings.filterwarnings("ignore", module=_UPLOAD)

#: What real files make the tokenizer and the parser raise: odd encodings, null bytes, Python 2, nesting without end.
_UNREADABLE = (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Report:
    """What was found. ``longest`` is the longest function; ``problem`` says why a file could not be parsed."""

    name: str
    bytes: int
    lines: int
    tokens: int = 0
    functions: int = 0
    longest: str = ""
    longest_lines: int = 0
    problem: str | None = None
    pid: int = 0
    attempt: int = 0


def examine(name: str, source: bytes) -> Report:
    """The report on one file. A file that is no Python of today gets one too, with its problem."""
    size, lines = len(source), len(source.splitlines())
    try:
        tokens = sum(1 for _ in tokenize.tokenize(io.BytesIO(source).readline))
        functions, longest, longest_lines = _functions(source)
    except _UNREADABLE as error:
        return Report(name, size, lines, problem=f"not parseable: {_first_line(error)}")
    return Report(name, size, lines, tokens, functions, longest, longest_lines)


def _functions(source: bytes) -> tuple[int, str, int]:
    """How many functions there are; the name and the lines of the longest."""
    nodes = ast.walk(ast.parse(source, filename=f"{_UPLOAD}.py"))
    found = [node for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    if not found:
        return 0, "", 0
    longest = max(found, key=_length)
    return len(found), longest.name, _length(longest)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    # A text from the depths of a strange file may hold what UTF-8, and with it JSON, cannot.
    return (lines[0] if lines else type(error).__name__).encode("utf-8", "backslashreplace").decode()
