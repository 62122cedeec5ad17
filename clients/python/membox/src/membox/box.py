"""A box of one's own: finds the binary, starts it, and stops it."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from membox._client import AsyncClient, Client
from membox.errors import BoxError, MemboxError

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_START_S = 60.0
OURS = ("MEMBOX_BINARY", "MEMBOX_MODELS", "MEMBOX_URL", "MEMBOX_KEY")
"""Variables of the client. A box takes each `MEMBOX_…` for a setting, and refuses those that it does not know."""
STOP_S = 35.0
"""A box finishes its requests for 30 s at most."""
LISTENING = re.compile(r"listening.*?address.*?(\d+\.\d+\.\d+\.\d+:\d+)")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def binary() -> Path:
    """The binary: `MEMBOX_BINARY`, that of the package `membox-server`, or `membox` of the PATH."""
    named = os.environ.get("MEMBOX_BINARY")
    if named:
        if not os.access(named, os.X_OK):
            raise BoxError(f"MEMBOX_BINARY is {named}, which is no program")
        return Path(named)
    try:
        return Path(importlib.import_module("membox_server").binary())
    except ModuleNotFoundError:
        pass
    # The scripts of this environment come first: its `bin` need not be in the PATH.
    found = shutil.which("membox", path=str(Path(sys.executable).parent)) or shutil.which("membox")
    if not found:
        raise BoxError("no membox was found: pip install membox-server, or set MEMBOX_BINARY to a binary")
    return Path(found)


class Box:
    """A box that runs beside this program, on a free port of 127.0.0.1.

        with membox.Box() as box:
            box.client.collection("notes").create()

    `data_dir` is where it keeps everything; left out, that is a folder that goes with the box. `models` is a folder
    of models (or `MEMBOX_MODELS`), linked into a new data folder: not each box downloads them. Where the embedding
    model is not there, it is installed by `membox models pull`. `options` are further ones of `membox serve`.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        models: str | os.PathLike[str] | None = None,
        options: Sequence[str] = (),
        start_s: float = DEFAULT_START_S,
    ) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="membox-") if data_dir is None else None
        self.data_dir = Path(self._own.name if self._own else data_dir or "").absolute()
        self.log: deque[str] = deque(maxlen=200)
        """The last lines that the box has said."""
        self._program = binary()
        self._environment = {name: value for name, value in os.environ.items() if name not in OURS}
        self._clients: list[Client] = []
        try:
            self._provide(Path(models or os.environ.get("MEMBOX_MODELS") or self.data_dir / "models").absolute())
            self._start(options, start_s)
        except BaseException:
            self.stop()
            raise

    def _provide(self, models: Path) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        own = self.data_dir / "models"
        if models != own and not own.exists():
            own.symlink_to(models)
        if not (own / DEFAULT_MODEL).exists():
            command = [str(self._program), "models", "pull", DEFAULT_MODEL, "--data-dir", str(self.data_dir)]
            pulled = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
            if pulled.returncode:
                raise BoxError(f"the model {DEFAULT_MODEL} was not installed: {pulled.stderr.strip()}")

    def _start(self, options: Sequence[str], start_s: float) -> None:
        command = [str(self._program), "serve", "--listen", "127.0.0.1:0", "--data-dir", str(self.data_dir), *options]
        # In a session of its own: Ctrl-C ends this program, which then stops the box.
        self._process = subprocess.Popen(
            command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, name="membox-log", daemon=True)
        self._reader.start()
        deadline = time.monotonic() + start_s
        self._listening.wait(start_s)
        if not hasattr(self, "url"):
            raise BoxError("the box did not start: " + "".join(self.log).strip())
        while True:
            try:
                self.client.ready()
                return
            except MemboxError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BoxError(f"the box is not ready: {error}") from error
            time.sleep(0.05)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            plain = COLOURS.sub("", line)
            self.log.append(plain)
            found = None if self._listening.is_set() else LISTENING.search(plain)
            if found:
                self.url = f"http://{found[1]}"
                self._listening.set()
        self._listening.set()  # it has ended: nobody waits for it

    @property
    def client(self) -> Client:
        """A client of this box, which goes with it."""
        if not self._clients:
            self._clients.append(Client(self.url, key=""))
        return self._clients[0]

    def async_client(self) -> AsyncClient:
        """A new asynchronous client of this box, which the caller closes."""
        return AsyncClient(self.url, key="")

    def stop(self) -> None:
        """Stops the box: requests are finished, and all that was accepted is written."""
        for client in self._clients:
            client.close()
        self._clients.clear()
        process = getattr(self, "_process", None)
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process and process.stdout:
            self._reader.join(1.0)
            process.stdout.close()
        if self._own:
            self._own.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
