"""Imports point one way: a package imports only what stands before it here, never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import tvmcomp

ROOT = Path(tvmcomp.__file__).parent
#: The packages, those that others build on first. Modules beside them are values that all may use,
#: but for those that stand here.
ORDER = (
    "targets", "frontend", "artifact", "schedules", "passes", "runtime", "codegen", "export",
    "devices", "quantize", "tuning", "formats", "report", "reference_run", "api", "compress",
    "search", "cli", "__main__",
)  # fmt: skip


def test_packages_import_only_what_stands_before_them() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        own = package(module_name(path))
        for imported in imports(path):
            other = package(imported)
            if other != own and other in ORDER:
                allowed = ORDER[: ORDER.index(own)] if own in ORDER else ()
                if other not in allowed and module_name(path) != "tvmcomp":
                    wrong.append(f"{module_name(path)} imports {imported}")
    assert not wrong


def test_every_package_has_its_place() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(ORDER)


def test_no_module_imports_itself_through_others() -> None:
    graph = {module_name(path): set(imports(path)) for path in ROOT.rglob("*.py")}
    del graph["tvmcomp"]
    TopologicalSorter(graph).prepare()  # raises CycleError


def module_name(path: Path) -> str:
    parts = ("tvmcomp", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports when it runs, wherever in it."""
    for node in running(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tvmcomp"):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found = name if is_module(name) else str(node.module)
                if found != module_name(path):
                    yield found


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All below ``node`` but what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from running(child)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()
