"""The house's law, read from the imports themselves."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"batching", "models", "train", "service", "loadtest", "ui"}
ALLOWED = {
    "batching": set[str](),
    "models": set[str](),
    "train": {"models"},
    "service": {"batching", "models"},
    "loadtest": set[str](),
    "ui": set[str](),
}
# The forecast runs the service's own policy under a simulated clock.
EXCEPTIONS = {("loadtest/plan.py", "batching")}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_imports_only_the_packages_it_may(package: str) -> None:
    assert sources(package)
    for path in sources(package):
        name = path.relative_to(ROOT).as_posix()
        for other in set(imported(path)) & PACKAGES - {package} - ALLOWED[package]:
            assert (name, other) in EXCEPTIONS, f"{name} imports {other}"


def test_batching_imports_the_standard_library_only() -> None:
    for path in sources("batching"):
        assert set(imported(path)) <= sys.stdlib_module_names | {"batching"}, path


def test_models_know_nothing_of_http_and_the_service_nothing_of_training() -> None:
    web = {"fastapi", "flask", "starlette", "uvicorn", "asgiref", "asyncio"}
    for path in sources("models"):
        assert not set(imported(path)) & web, path


def test_the_page_s_streamlit_is_only_in_its_shell() -> None:
    shell = {path.name for path in sources("ui") if "streamlit" in set(imported(path))}
    assert shell == {"page.py", "classify_view.py", "live_view.py", "model_view.py", "record_view.py"}


def test_ray_is_optional_and_in_one_module() -> None:
    for package in PACKAGES:
        importing = {path.name for path in sources(package) if "ray" in set(imported(path))}
        assert importing == ({"on_ray.py"} if package == "service" else set())
    others = [path for path in sources("service") if path.name != "on_ray.py"]
    assert not [path for path in others if "on_ray" in path.read_text()]


def test_what_serves_a_model_knows_no_route_and_nothing_of_the_edge() -> None:
    asking = {"edge", "native", "v2", "flask_app", "record", "workers"}
    for path in sources("service/serving"):
        assert not asking & set(re.findall(r"^\s*from service\.(\w+)", path.read_text(), re.MULTILINE)), path


def test_the_design_names_every_file_of_the_service_in_its_folder() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    tree = page[page.index("\nservice/") : page.index("\nloadtest/")]
    named = set[str]()
    for entry in re.split(r"\n  (?=\w)", tree):
        folder = match[0] if (match := re.match(r"\w+/", entry)) else ""
        named |= {folder + name for name in re.findall(r"\w+\.py", entry)}
    files = {path.relative_to(ROOT / "service").as_posix() for path in sources("service")}
    assert named == {file for file in files if not file.endswith("__.py")}


def test_settings_are_read_in_one_place() -> None:
    folder = ROOT / "service"
    readers = {
        path.relative_to(folder).as_posix() for path in sources("service") if "environ" in path.read_text()
    }
    assert readers == {"settings.py", "flask_app/adapter.py", "flask_app/routes.py"}  # of the latter: WSGI's


def test_no_test_package_is_imported_by_the_product() -> None:
    for package in PACKAGES:
        for path in sources(package):
            assert "tests" not in set(imported(path)), path
