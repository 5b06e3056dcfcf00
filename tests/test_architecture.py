# SPDX-License-Identifier: Apache-2.0
"""The house: imports go one way, public names have one list, versions agree, importing is cheap."""

import ast
import importlib
import pathlib
import pkgutil
import re
import subprocess
import sys
import tomllib

import pytest

import jopt

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "jopt"

# From left to right; a room imports only from groups to the left of its own.
ORDER = [
    {"types", "status", "validate", "console", "scalars"},
    {"tree", "report"},
    {"schedules", "linalg", "linesearch", "univariate", "problems"},
    {"curvature"},
    {"transforms", "autodiff"},
    {"combinators"},
    {"optimizers"},
    {"solvers"},
    {"training"},
    {"viz"},
    {"bench"},
    {"cli"},
]
RANK = {room: i for i, group in enumerate(ORDER) for room in group}
RANK["jopt"] = RANK["solvers"]  # `import jopt` brings all up to the solvers


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(tree):
    """Yield the rooms of jopt that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "jopt":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "jopt":
                    yield [*alias.name.split("."), "jopt"][1]


MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem not in {"__init__", "__main__"})


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    room = room_of(path)
    assert room in RANK, f"{room} has no place in the order"
    for other in imported_rooms(ast.parse(path.read_text())):
        assert other == room or RANK[other] < RANK[room], f"{room} imports {other}"


def test_the_import_test_sees_a_wrong_import():
    rooms = set(imported_rooms(ast.parse("from jopt.solvers import minimize\nimport jopt.cli\nfrom jopt import tree")))
    assert rooms == {"solvers", "cli", "tree"}


def test_only_viz_imports_matplotlib():
    for path in MODULES:
        if room_of(path) != "viz":
            assert not re.search(r"^\s*(import|from) matplotlib", path.read_text(), re.MULTILINE), path


def test_nothing_private_of_jax_is_used():
    for path in PACKAGE.rglob("*.py"):
        assert "jax._src" not in path.read_text(), path


def test_public_names_exist_are_listed_once_and_documented():
    assert len(jopt.__all__) == len(set(jopt.__all__))
    for name in jopt.__all__:
        assert getattr(jopt, name).__doc__, name
    bound = {name for name, value in vars(jopt).items() if not name.startswith("_")}
    modules = {m.name for m in pkgutil.iter_modules(jopt.__path__)}
    assert bound - modules - set(jopt.__all__) == set()


@pytest.mark.parametrize("room", ["transforms", "solvers", "combinators"])
def test_what_a_room_exports_the_package_exports(room):
    exported = set(importlib.import_module(f"jopt.{room}").__all__)
    assert exported <= set(jopt.__all__)


def test_every_file_opens_with_its_licence_and_its_subject():
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "examples").rglob("*.py")]:
        text = path.read_text()
        assert text.startswith("# SPDX-License-Identifier: Apache-2.0\n"), path
        assert ast.get_docstring(ast.parse(text)), path


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE).group(1) == project["version"]
    assert jopt.__version__ == project["version"]
    assert f"## {project['version']} " in (ROOT / "CHANGELOG.md").read_text()


def test_runtime_dependencies_are_three():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert sorted(re.match(r"[a-z]+", d).group() for d in dependencies) == ["jax", "jaxlib", "optax"]


def test_ci_runs_the_oldest_versions_stated():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    script = (ROOT / ".ci" / "run").read_text()
    for dependency in dependencies:
        assert dependency.replace(">=", "==") in script


IMPORT = """
import sys
import jax, optax
before = set(sys.modules)
import jopt
assert not jax._src.xla_bridge._backends, "importing jopt started a backend"
new = {name.split(".")[0] for name in set(sys.modules) - before} - {"jax"}  # its own modules are no new package
print(sorted(new - set(sys.stdlib_module_names)))
"""


def test_importing_starts_no_backend_and_brings_nothing_but_jopt():
    out = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['jopt']"


def test_functions_fit_a_screen_and_files_have_one_subject():
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        assert source.count("\n") <= 450, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                documented = len((ast.get_docstring(node) or "").splitlines())
                assert node.end_lineno - node.lineno + 1 - documented <= 80, (path, node.name)


def test_every_page_of_the_documentation_says_something_and_is_in_the_contents():
    contents = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name in contents, page
        assert len(page.read_text()) > 200, page
