"""The rules of CONTRIBUTING.md, "How the code is laid out", read from the import statements."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "dface_hf"
FLOORS = (
    {"actions", "whole_files"},
    {"faces"},
    {"synthesis"},
    {"models"},
    {"data"},
    {"metrics"},
    {"training", "analysis"},
    {"hub", "pipelines"},
    {"cli"},
)
LEVELS = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, anywhere in it."""
    package = ("dface_hf", *path.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def rooms_used(path: Path) -> set[str]:
    parts = (name.split(".") for name in imported(path))
    return {part[1] for part in parts if part[0] == "dface_hf" and len(part) > 1 and part[1] in LEVELS}


def libraries_used(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)} - {"dface_hf"} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_run_downward_only(path):
    room = room_of(path)
    if path == PACKAGE / "__init__.py":  # the front door: it names what users import
        return
    assert room in LEVELS, f"{room} has no floor; add it to FLOORS and to CONTRIBUTING.md"
    upward = {used for used in rooms_used(path) - {room} if LEVELS[used] >= LEVELS[room]}
    assert not upward, f"{path.name} imports {upward}, which stand no lower than {room}"


GROUND = [PACKAGE / "whole_files.py", *sorted((PACKAGE / "actions").rglob("*.py"))]


@pytest.mark.parametrize("path", GROUND, ids=lambda path: path.name)
def test_the_ground_floor_needs_only_the_standard_library(path):
    assert libraries_used(path) == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "faces").rglob("*.py")), ids=lambda path: path.name)
def test_faces_need_no_torch(path):
    assert "torch" not in libraries_used(path)


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").glob("*/*.py")), ids=lambda path: path.name)
def test_models_can_be_pushed_as_remote_code(path):
    """Flat folders: single-dot imports of siblings; of dface_hf nothing but the folder itself.

    Converters are never pushed, and read their files as all of them do.
    """
    own = (f"dface_hf.models.{path.parent.name}",)
    if path.name.startswith(("convert_", "reading_")):
        own += ("dface_hf.models.weight_files",)
    outside = {name for name in imported(path) if name.startswith("dface_hf") and not name.startswith(own)}
    assert not outside
    if path.name.startswith(("modeling_", "configuration_")):
        assert libraries_used(path) <= {"torch", "transformers", "huggingface_hub"}


def test_no_utils():
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "common", "misc")]
