"""A box that is started and stopped."""

import os
import signal
import threading
from pathlib import Path

import httpx
import pytest
from membox.errors import BoxError

import membox
from membox import box as boxes


def test_a_box_starts_answers_and_goes_with_its_folder() -> None:
    with membox.Box() as box:
        box.client.collection("notes").create()
        folder = box.data_dir
        assert folder.exists()
        assert box.client.health()["status"]
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(box.url)


def test_a_folder_of_ones_own_stays(tmp_path: Path) -> None:
    for start in range(2):
        with membox.Box(tmp_path / "data") as box:
            notes = box.client.collection("notes")
            if start == 0:
                notes.create()
                notes.upsert([{"id": "a", "text": "x"}])
            assert notes.get("a")["text"] == "x"


async def test_an_asynchronous_client_of_it() -> None:
    with membox.Box() as box:
        async with box.async_client() as client:
            assert await client.collections() == []


def test_what_the_box_says_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(BoxError, match="no-such-option"):
        membox.Box(tmp_path / "data", options=["--no-such-option"])


def test_a_box_that_dies_is_noticed() -> None:
    box = membox.Box()
    os.kill(box._process.pid, signal.SIGKILL)
    box.stop()
    assert not box.data_dir.exists()


def test_the_binary_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEMBOX_BINARY", str(tmp_path / "nothing"))
    with pytest.raises(BoxError, match="which is no program"):
        boxes.binary()
    program = tmp_path / "membox"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv("MEMBOX_BINARY")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert boxes.binary() == program
    program.unlink()
    with pytest.raises(BoxError, match="pip install membox-server"):
        boxes.binary()


def test_two_boxes_at_once() -> None:
    urls: list[str] = []

    def start() -> None:
        with membox.Box() as box:
            urls.append(box.url)
            box.client.collection("a").create()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(urls)) == 2
