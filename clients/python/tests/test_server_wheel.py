"""The wheel that carries the binary, in a fresh environment that has no other."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLACE = Path(sys.prefix).parent
CLEAN = {name: value for name, value in os.environ.items() if name != "MEMBOX_BINARY"} | {"PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def wheel() -> Path:
    [found] = (PLACE / "server").glob("membox_server-*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheels of the client and of the server, and what the box needs."""
    folder = tmp_path_factory.mktemp("server")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    found: Path = folder / "venv/bin/python"
    [client] = (PLACE / "dist").glob("membox-*.whl")
    command = [found, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    subprocess.run([*command, client, wheel], check=True)
    return found


def test_a_box_starts_and_recalls_as_the_readme_says(python: Path, tmp_path: Path) -> None:
    readme = (ROOT / "membox-server/README.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "readme.py").write_text(program, encoding="utf-8")
    said = subprocess.run([python, "readme.py"], cwd=tmp_path, env=CLEAN, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "The spare key is under the blue pot."


def test_the_script_is_the_binary(python: Path) -> None:
    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = python.with_name("membox")
        return subprocess.run([script, *arguments], env=CLEAN, capture_output=True, text=True, check=False)

    cargo = (ROOT.parent.parent / "Cargo.toml").read_text(encoding="utf-8")
    [version] = re.findall(r'^version = "(.+)"', cargo, re.MULTILINE)
    assert ran("--version").stdout == f"membox {version}\n"
    assert ran("nonsense").returncode == 2


def test_what_systems_may_lack_comes_from_the_wheel(python: Path) -> None:
    asked = [python, "-c", "import membox_server; print(membox_server.binary())"]
    path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
    of_the_system = re.findall(r"=> (?!\S*membox_server\.libs)\S*/(lib[^/\s]+?)\.so", linked)
    assert set(of_the_system) <= {"libc", "libm", "libstdc++", "libgcc_s"}


def test_it_fits_the_index_and_has_its_licences(wheel: Path) -> None:
    assert re.search(r"-py3-none-manylinux_2_\d+_x86_64\.whl$", wheel.name)
    assert wheel.stat().st_size < 100 << 20  # what PyPI takes
    names = zipfile.ZipFile(wheel).namelist()
    notices = [name for name in names if name.startswith("membox_server/licenses/")]
    assert any("THIRD-PARTY-NOTICES" in name for name in notices)
    assert any("openblas" in name for name in notices)
