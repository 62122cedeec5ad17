"""Vectors as base64 of little-endian float32, which is a quarter of their JSON."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Any


def encode(vector: Sequence[float] | bytes | str | Any) -> str:
    """A vector as base64: numbers, a NumPy array, or little-endian float32 bytes. A text is taken as it is."""
    if isinstance(vector, str):
        return vector
    if isinstance(vector, (bytes, bytearray, memoryview)):
        return base64.b64encode(vector).decode("ascii")
    as_type: Any = getattr(vector, "astype", None)
    if as_type:  # an array of NumPy, or one that is like it
        return base64.b64encode(as_type("<f4").tobytes()).decode("ascii")
    return base64.b64encode(little_endian(array("f", vector)).tobytes()).decode("ascii")


def decode(text: str) -> list[float]:
    """The numbers of a vector that is base64."""
    numbers = array("f")
    numbers.frombytes(base64.b64decode(text, validate=True))
    return little_endian(numbers).tolist()


def little_endian(numbers: array[float]) -> array[float]:
    """Swaps bytes on machines whose numbers are big-endian."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
