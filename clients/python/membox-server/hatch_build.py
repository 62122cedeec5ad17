"""Puts the binary and its notices into the wheel: those of the folder MEMBOX_WHEEL_FILES, which build.sh fills."""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BinaryHook(BuildHookInterface[Any]):
    """What goes beside the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """The wheel is one of a platform; auditwheel says later of which."""
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-linux_x86_64"
        build_data["force_include"][os.environ["MEMBOX_WHEEL_FILES"]] = "membox_server"
