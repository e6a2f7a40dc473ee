"""Fuzzing: what may come over the border is thrown at each part of it, guided by coverage or by a seed."""

from importlib.util import find_spec
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
"""The inputs that are kept, a directory for each target: found by fuzzing, or written to lead it on."""


def is_guided() -> bool:
    """Whether atheris is here."""
    return find_spec("atheris") is not None
