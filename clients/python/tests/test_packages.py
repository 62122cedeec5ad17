"""Each package as its users get it: its wheel in a fresh environment, what its README shows, its examples."""

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DIST = Path(sys.prefix).parent / "dist"
BESIDE = {
    "membox": ("core", ["numpy"]),
    "langchain-membox": ("langchain", []),
    "langgraph-checkpoint-membox": ("langchain", ["langgraph"]),
    "llama-index-vector-stores-membox": ("llama-index", []),
    "llama-index-storage-chat-store-membox": ("llama-index", []),
}
"""Of each package: the lock that says which versions it gets, and what its README and its examples need besides."""
PACKAGES = sorted(BESIDE)
TESTED_APART = {"membox-server"}
"""By tests of their own."""
FIRST_RECALL = """
import membox
with membox.Box() as box:
    notes = box.client.collection("notes")
    notes.create()
    notes.upsert([{"text": "The spare key is under the blue pot."}])
    assert notes.recall("where is the key?")["hits"]
"""


def version() -> str:
    """The version of the server."""
    cargo = (ROOT.parent.parent / "Cargo.toml").read_text(encoding="utf-8")
    [found] = re.findall(r'^version = "([^"]+)"', cargo, re.MULTILINE)
    return found


def wheel(package: str) -> Path:
    """The wheel of a package."""
    [found] = DIST.glob(f"{package.replace('-', '_')}-*.whl")
    return found


def constraints(lock: str, folder: Path) -> Path:
    """The versions of a lock, without its hashes: our own wheels have none."""
    text = (ROOT / "locks" / f"{lock}.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([\w.\[\]-]+==[^\\\n]+?)\s*\\?$", text, re.MULTILINE)
    target = folder / "constraints.txt"
    target.write_text("\n".join(re.sub(r"\[[^]]*\]", "", one) for one in found) + "\n", encoding="utf-8")
    return target


@pytest.fixture(scope="session", params=PACKAGES)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A package, and the interpreter of a fresh environment that has it."""
    package: str = request.param
    folder = tmp_path_factory.mktemp(package)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv/bin/python"
    lock, beside = BESIDE[package]
    wheels = [wheel("membox")] if package == "membox" else [wheel("membox"), wheel(package)]
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    begun = time.monotonic()
    subprocess.run([*command, "-c", constraints(lock, folder), *wheels], check=True)
    if package == "membox":
        subprocess.run([python, "-c", FIRST_RECALL], check=True, cwd=folder)
        took = f"from pip install to the first recall: {time.monotonic() - begun:.1f} s"
        (DIST.parent / "first-recall.txt").write_text(took + "\n", encoding="utf-8")
    if beside:
        subprocess.run([*command, "-c", constraints(lock, folder), *beside], check=True)
    return package, python


def test_each_package_is_tested() -> None:
    assert {path.parent.name for path in ROOT.glob("*/pyproject.toml")} == set(PACKAGES) | TESTED_APART


def ran(python: Path, arguments: list[str], folder: Path) -> str:
    """What a program has said."""
    ended = subprocess.run(
        [python, *arguments], cwd=folder, env=os.environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, f"{arguments[0]}: {ended.stdout}{ended.stderr}"
    return ended.stdout


def test_what_a_readme_shows_runs(installed: tuple[str, Path], tmp_path: Path) -> None:
    package, python = installed
    text = (ROOT / package / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert snippets
    program = "\n".join(snippets).replace("http://127.0.0.1:8420", os.environ["MEMBOX_URL"])
    (tmp_path / "readme.py").write_text(program, encoding="utf-8")
    ran(python, ["readme.py"], tmp_path)


def test_examples_run(installed: tuple[str, Path], tmp_path: Path) -> None:
    package, python = installed
    examples = sorted((ROOT / package / "examples").glob("*.py"))
    assert examples
    for example in examples:
        assert ran(python, [str(example)], tmp_path).strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_has_what_it_needs_and_no_more(package: str) -> None:
    names = zipfile.ZipFile(wheel(package)).namelist()
    assert any(name.endswith("/py.typed") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if "test" in name]
    assert version() in wheel(package).name


@pytest.mark.parametrize("package", PACKAGES)
def test_versions_are_those_of_the_server(package: str) -> None:
    text = (ROOT / package / "pyproject.toml").read_text(encoding="utf-8")
    assert f"{'membox-server' if package == 'membox' else 'membox'}=={version()}" in text
    assert f"## {version()}" in (ROOT / package / "CHANGELOG.md").read_text(encoding="utf-8")


def test_versions_of_typescript_are_those_of_the_server() -> None:
    found = sorted((ROOT.parent / "typescript").glob("*/package.json"))
    assert found
    for path in found:
        package = json.loads(path.read_text(encoding="utf-8"))
        assert package["version"] == version()
        assert package.get("dependencies", {}) in ({}, {"membox": version()})
        assert f"## {version()}" in (path.parent / "CHANGELOG.md").read_text(encoding="utf-8")
