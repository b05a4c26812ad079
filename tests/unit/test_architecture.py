# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house that a linter does not know: who may import whom, and what a file is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ROOT / "plugins" / "module_utils"
PACKAGE = "ansible_collections.kiln.immutable.plugins.module_utils"

# Which packages of the driver a package may import, itself apart (docs/architecture.md).
MAY_IMPORT = {
    "core": set[str](),
    "oci": {"core"},
    "build": {"core", "oci"},
    "trust": {"core", "oci"},
    "catalog": {"core", "oci", "trust"},
    "groups": {"core", "oci", "catalog"},
    "drift": {"core", "oci"},
    "publish": {"core", "oci", "build"},
    "report": {"core", "oci", "build", "trust", "catalog", "groups", "drift"},
}

HEADER = (
    "# Copyright: (c) 2026, kiln.immutable contributors",
    "# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License-Identifier: GPL-3.0-or-later",
)
LONGEST = 450  # lines: at about 400 a file has two subjects
# A whole program in one file, because its text is what is sent into a build container.
SENT_WHOLE = {DRIVER / "oci" / "capture.py"}
EMPTY_NAMES = {"common", "helper", "helpers", "manager", "misc", "util", "utils"}

# The hosts that files may name: examples (RFC 2606) and documents that we follow or point to.
# A mirror or registry is the user's own, so none is written down.
EXAMPLE_HOST = re.compile(r"(.+\.)?(example(\.(org|com|net))?|test|invalid|localhost)")
DOCUMENT_HOSTS = {
    "127.0.0.1",
    "checklists.nist.gov",
    "cosign.sigstore.dev",
    "creativecommons.org",
    "cyclonedx.org",
    "docs.ansible.com",
    "docs.docker.com",
    "docs.kernel.org",
    "github.com",
    "in-toto.io",
    "json-schema.org",
    "keepachangelog.com",
    "manpages.debian.org",
    "mypy.readthedocs.io",
    "opencontainers.org",
    "packer.io",
    "reproducible-builds.org",
    "semver.org",
    "slsa.dev",
    "spdx.dev",
    "spdx.org",
    "testinfra.readthedocs.io",
    "uapi-group.org",
    "www.debian.org",
    "www.gnu.org",
    "www.rfc-editor.org",
}
URL = re.compile(r"\bhttps?://([A-Za-z0-9.-]+)")
TEXT_SUFFIXES = {"", ".cfg", ".in", ".j2", ".json", ".md", ".py", ".sh", ".toml", ".yaml", ".yml"}
GENERATED = {"LICENSE"}


def files() -> Iterator[Path]:
    """Yield the files of this checkout, without what tools keep in it."""
    for top in sorted(ROOT.iterdir()):
        if top.is_file():
            yield top
        elif top.name == ".ci" or not top.name.startswith("."):
            yield from (path for path in sorted(top.rglob("*")) if is_ours(path))


def is_ours(path: Path) -> bool:
    """Whether *path* is a file that was written, not one that Python or a tool left."""
    return path.is_file() and not {"__pycache__", "output"} & set(path.parts)


def driver_packages() -> list[str]:
    """Return the names of the driver's packages."""
    return sorted(path.name for path in DRIVER.iterdir() if (path / "__init__.py").is_file())


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute name of each module, or member, that *path* imports."""
    here = (PACKAGE, *path.relative_to(DRIVER).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(here[: len(here) - node.level]) if node.level else ""
            module = ".".join(filter(None, (start, node.module)))
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def where(path: Path, line: int) -> str:
    """Return *path* and *line* as an editor takes them."""
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("package", driver_packages())
def test_a_driver_package_imports_only_those_below_it(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{where(path, line)} imports {name}"
        for path in sorted((DRIVER / package).rglob("*.py"))
        for line, name in imported_modules(path)
        if name.startswith(f"{PACKAGE}.") and name.split(".")[5] not in allowed
    ]
    assert wrong == []


def test_the_import_table_has_no_circle() -> None:
    settled: set[str] = set()
    while free := {name for name, below in MAY_IMPORT.items() if below <= settled} - settled:
        settled |= free
    assert settled == set(MAY_IMPORT)


def test_driver_files_import_each_other_relatively() -> None:
    wrong = [
        where(path, node.lineno)
        for path in sorted(DRIVER.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom)
        and node.level == 0
        and (node.module or "").startswith("ansible_collections.kiln")
    ]
    assert wrong == []


def test_only_the_bridge_knows_ansible_module() -> None:
    wrong = [
        where(path, line)
        for path in sorted(DRIVER.rglob("*.py"))
        for line, name in imported_modules(path)
        if name.startswith("ansible.module_utils.basic") and path != DRIVER / "core" / "module.py"
    ]
    assert wrong == []


def test_the_driver_imports_nothing_of_ours_by_computed_name() -> None:
    """Ansible ships to a target only what is imported statically."""
    wrong = [
        where(path, node.lineno)
        for path in sorted(DRIVER.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"importlib.import_module", "import_module", "__import__"}
        and not is_foreign_name(node.args[0])
    ]
    assert wrong == []


def is_foreign_name(argument: ast.expr) -> bool:
    """Whether *argument* is a literal that names a module of somebody else."""
    return (
        isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and not argument.value.startswith((".", "ansible_collections"))
    )


def test_every_python_file_begins_with_the_header() -> None:
    wrong = []
    for path in files():
        if path.suffix == ".py":
            lines = path.read_text("utf-8").splitlines()
            if lines and lines[0].startswith("#!"):
                lines = lines[1:]
            if tuple(lines[:3]) != HEADER:
                wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_no_driver_file_has_grown_two_subjects() -> None:
    files_judged = set(DRIVER.rglob("*.py")) - SENT_WHOLE
    lengths = {path: len(path.read_bytes().splitlines()) for path in files_judged}
    assert [where(path, lines) for path, lines in lengths.items() if lines > LONGEST] == []


def test_pytest_searches_every_folder_of_tests(pytestconfig: pytest.Config) -> None:
    """It leaves out folders by their names, and would say nothing of the tests in them."""
    left_out = pytestconfig.getini("norecursedirs")
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    names = {part for folder in folders for part in folder.relative_to(ROOT / "tests").parts}
    wrong = {name for name in names if any(fnmatch(name, pattern) for pattern in left_out)}
    assert sorted(wrong) == []


def test_files_are_named_after_their_subject() -> None:
    names = [path for path in files() if path.suffix == ".py" and path.stem in EMPTY_NAMES]
    assert [str(path.relative_to(ROOT)) for path in names] == []


def test_no_file_names_a_mirror_or_registry() -> None:
    wrong = []
    for path in files():
        if path.suffix not in TEXT_SUFFIXES or path.name in GENERATED:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            wrong += [
                f"{where(path, number)} {host}"
                for host in URL.findall(line)
                if host not in DOCUMENT_HOSTS and not EXAMPLE_HOST.fullmatch(host)
            ]
    assert wrong == []


def roles() -> list[str]:
    """Return the names of the roles."""
    return sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


@pytest.mark.parametrize("role", roles())
def test_a_role_declares_every_default_in_its_argument_specs(role: str) -> None:
    folder = ROOT / "roles" / role
    specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text("utf-8"))
    declared = specs["argument_specs"]["main"].get("options", {})
    defaults_file = folder / "defaults" / "main.yml"
    defaults = yaml.safe_load(defaults_file.read_text("utf-8")) if defaults_file.exists() else {}
    assert sorted(set(defaults or {}) - set(declared)) == []
    assert [name for name in declared if not name.startswith((f"{role}_", "kiln_"))] == []
