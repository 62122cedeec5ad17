"""The binary of membox. `membox.Box()` finds it by `binary`; the script `membox` starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

__version__ = "0.2.0"
__all__ = ["binary", "main"]


def binary() -> Path:
    """Where the binary is."""
    return Path(__file__).parent / "bin" / "membox"


def main() -> NoReturn:
    """Becomes the binary: it gets the signals of this process, and its exit code is that of the script."""
    os.execv(binary(), ["membox", *sys.argv[1:]])
