"""The direction of the house: which room may import which."""

import ast
from pathlib import Path

import diffvqa

PACKAGE = Path(diffvqa.__file__).parent
BASE = {"errors", "cells", "files", "sealed", "sealed_folder", "arrays", "records", "findings", "boxes", "images"}
BASE |= {"parsing", "progress", "pool", "workers", "runs", "termination", "threads"}
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    "allocator": set(),
    "data": BASE,
    "phantom": BASE,
    "tasks": BASE,
    "evaluation": BASE,
    "models": {"errors", "files", "parsing", "sealed", "sealed_folder"},
    "inference": BASE | {"data", "tasks", "models"},
    "training": BASE | {"data", "tasks", "models", "inference"},
    "evaluating": BASE | {"data", "tasks", "models", "inference"},
    "answering": BASE | {"data", "tasks", "models", "inference"},
    "demo": BASE | {"data", "phantom", "inference", "training", "evaluating", "evaluation", "answering"},
    "study": BASE | {"data", "phantom", "inference", "training", "evaluating", "evaluation"},
    "serving": BASE | {"phantom", "answering"},
    "cli": BASE
    | {"data", "phantom", "tasks", "models", "inference", "training", "evaluating", "answering", "evaluation"}
    | {"demo", "study", "serving"},
}
ONLY_LIBRARIES = {"models": {"torch", "transformers", "safetensors"}}


def imports(room: str) -> set[str]:
    """Every module that the files of a room import, in full."""
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else (PACKAGE / room).rglob("*.py")
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file.name}: relative import"
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_of(modules: set[str]) -> set[str]:
    return {module.split(".")[1] for module in modules if module.startswith("diffvqa.")} - {"__version__"}


def test_every_room_is_known():
    others = ("__init__.py", "__main__.py", "__pycache__", "py.typed", "shipped")
    there = {path.stem for path in PACKAGE.iterdir() if path.name not in others}
    assert there == set(MAY_IMPORT)


def test_no_arrow_runs_uphill():
    for room, allowed in MAY_IMPORT.items():
        uphill = rooms_of(imports(room)) - allowed - {room}
        assert not uphill, f"{room} imports {', '.join(sorted(uphill))}"


def test_models_import_torch_and_transformers_only():
    standard = set(__import__("sys").stdlib_module_names)
    libraries = {module.split(".")[0] for module in imports("models")} - standard - {"diffvqa"}
    assert libraries <= ONLY_LIBRARIES["models"]


def test_only_leaves_know_the_phantom():
    knowing = {room for room in MAY_IMPORT if "phantom" in rooms_of(imports(room))}
    assert knowing <= {"cli", "demo", "study", "serving", "phantom"}
