"""What is built from this repository works where the repository is not: a wheel, and an editable install.

Both are built from a copy, so that no build folder appears here and none that lies here is picked up.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("dface_hf", "hub_cards", "spaces_demo")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
CHECKPOINT = "dface_hf/checkpoints/dface-mini"

# Run by a Python that knows only the dependencies and the folder under test: -I hides the current directory,
# -S the .pth files, one of which may hold an editable install of this repository.
PROBE = """
import sys
sys.path += {dependencies!r}
sys.path.insert(0, {folder!r})
import site
site.addsitedir({folder!r})
import importlib, importlib.metadata, importlib.resources, json, pathlib
import dface_hf

def resources(package):
    files = importlib.resources.files(package).iterdir()
    return {{file.name: len(file.read_bytes()) for file in files if file.is_file()}}

checkpoint = pathlib.Path(dface_hf.DEFAULT_CHECKPOINT)
[command] = importlib.metadata.distribution("dface-hf").entry_points.select(group="console_scripts")
print(json.dumps({{
    "package": str(pathlib.Path(dface_hf.__file__).resolve()),
    "version": [dface_hf.__version__, importlib.metadata.version("dface-hf")],
    "command": [command.name, command.value],
    "main": callable(command.load()) if {load_command} else None,
    "hub_cards": resources("dface_hf.hub_cards"),
    "spaces_demo": resources("dface_hf.spaces_demo"),
    "checkpoint": {{file.name: file.stat().st_size for file in checkpoint.glob("*")}},
}}))
"""


def shipped(folder: Path) -> dict[str, int]:
    """Relative path and size of each file below a folder, but for caches and hidden files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path.stat().st_size for path in files}
    return {
        path.as_posix(): size
        for path, size in names.items()
        if "__pycache__" not in path.parts and not any(part.startswith(".") for part in path.parts)
    }


def probe(folder: Path, cwd: Path) -> dict:
    dependencies = list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
    load_command = (ROOT / "dface_hf" / "cli").exists()
    script = PROBE.format(dependencies=dependencies, folder=str(folder), load_command=load_command)
    return json.loads(run([sys.executable, "-I", "-S", "-c", script], cwd).splitlines()[-1])


def run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command[:5]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is packaged."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    """Built by way of the source distribution, so that this one is known to be complete."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."], source)
    [path] = (source / "dist").glob("*.whl")
    return path


def test_wheel_holds_every_file_and_nothing_else(source, wheel):
    """A new kind of data file in dface_hf/ needs an entry in `package_data` of setup.py."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
    packaged = {name: size for name, size in sizes.items() if ".dist-info/" not in name}
    expected = {f"dface_hf/{name}": size for name, size in shipped(source / "dface_hf").items()}
    for beside in ("hub_cards", "spaces_demo"):
        expected |= {f"dface_hf/{beside}/{name}": size for name, size in shipped(source / beside).items()}
    assert packaged == expected
    assert sum(name.endswith("/licenses/LICENSE") for name in sizes) == 1


def test_every_requirement_is_pinned_and_explained(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode().splitlines()
    requirements = [
        Requirement(line.split(":", 1)[1]) for line in metadata if line.startswith("Requires-Dist:")
    ]
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    explained = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(requirements) > 20
    for requirement in requirements:
        assert requirement.name in explained, f"CONTRIBUTING.md does not say what {requirement.name} is for"
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": e}) for e in ("dev", "space")
        ):
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin and requirement.specifier.contains(pin), (
                f"constraints.txt has {requirement.name}=={pin}"
            )


def test_installed_wheel_works_outside_the_repository(source, wheel, tmp_path):
    folder = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile"]
    run([*pip, "--target", str(folder), str(wheel)], tmp_path)
    found = probe(folder, tmp_path)
    assert found["package"] == str(folder.resolve() / "dface_hf" / "__init__.py")
    assert found["version"][0] == found["version"][1]
    assert found["command"] == ["dface", "dface_hf.cli:main"] and found["main"] in (True, None)
    assert found["hub_cards"] == shipped(source / "hub_cards")
    assert found["spaces_demo"] == shipped(source / "spaces_demo")
    assert found["checkpoint"] == shipped(source / CHECKPOINT)


def test_editable_install_finds_cards_and_space(source, tmp_path):
    folder = tmp_path / "site"
    hook = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
    run([sys.executable, "-c", hook], source)
    [editable] = tmp_path.glob("*.whl")
    zipfile.ZipFile(editable).extractall(folder)
    found = probe(folder, tmp_path)
    assert found["package"] == str(source.resolve() / "dface_hf" / "__init__.py")
    assert found["hub_cards"] == shipped(source / "hub_cards")
    assert found["spaces_demo"] == shipped(source / "spaces_demo")
    assert found["checkpoint"] == shipped(source / CHECKPOINT)
