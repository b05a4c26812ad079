# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the seal finds in a root, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.residue import (
    INVISIBLE,
    SEALED,
    UNSEEN,
    Matcher,
    is_invisible,
)
from ansible_collections.kiln.immutable.plugins.module_utils.build.sweep import (
    Finding,
    apply_finding,
    find_residue,
    running_paths,
)


def make(root: Path, *paths: str, content: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)


def found(root: Path, **options: tuple[str, ...]) -> set[str]:
    return {finding.path for finding in find_residue(root, Matcher.of(SEALED), **options)}


RESIDUE = (
    "etc/passwd-",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "home/ann/.bash_history",
    "root/.bash_history",
    "var/backups/dpkg.status.0",
    "var/cache/apt/archives/nginx.deb",
    "var/cache/apt/pkgcache.bin",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/deb_InRelease",
    "var/lib/dpkg/status-old",
    "var/lib/systemd/random-seed",
    "var/log/dpkg.log",
    "var/log/syslog.1",
)
KEPT = (
    "etc/passwd",
    "etc/ssh/sshd_config",
    "home/ann/.bashrc",
    "srv/www/index.html",
    "usr/lib/x/core.py",
    "var/cache/debconf/templates.dat",
    "var/lib/apt/extended_states",
    "var/lib/dpkg/status",
)


def test_residue_goes_and_the_rest_stays(tmp_path: Path) -> None:
    make(tmp_path, *RESIDUE, *KEPT)
    assert found(tmp_path) == set(RESIDUE)


def test_every_finding_has_a_reason(tmp_path: Path) -> None:
    make(tmp_path, *RESIDUE)
    assert all(finding.reason for finding in find_residue(tmp_path, Matcher.of(SEALED)))
    assert all(residue.reason for residue in (*SEALED, *UNSEEN))


def test_after_the_sweep_nothing_is_found_and_directories_are_there(tmp_path: Path) -> None:
    make(tmp_path, *RESIDUE, "var/log/nginx/access.log", "etc/machine-id", "tmp/a/b")
    for finding in find_residue(tmp_path, Matcher.of(SEALED)):
        apply_finding(tmp_path, finding)
    assert found(tmp_path) == set()
    assert (tmp_path / "var/lib/apt/lists").is_dir()
    assert (tmp_path / "var/log/nginx/access.log").read_text() == ""
    assert (tmp_path / "etc/machine-id").read_text() == ""
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_whole_tree_is_one_finding(tmp_path: Path) -> None:
    make(tmp_path, "tmp/a/b/c", "tmp/a/d")
    assert [finding.path for finding in find_residue(tmp_path, Matcher.of(SEALED))] == ["tmp/a"]


def test_what_is_in_use_stays_with_all_above_it(tmp_path: Path) -> None:
    make(tmp_path, "root/.ansible/tmp/now/module.py", "root/.ansible/tmp/before/module.py")
    assert found(tmp_path, spare=("root/.ansible/tmp/now",)) == {"root/.ansible/tmp/before"}


def test_kept_patterns_stay_inside_of_trees_too(tmp_path: Path) -> None:
    make(tmp_path, "var/tmp/seed/data", "var/tmp/seed/other", "var/log/app.log")
    assert found(tmp_path, keep=("var/tmp/seed/data", "var/log/app.log")) == {"var/tmp/seed/other"}


def test_links_to_nowhere_in_logs_and_histories_stay(tmp_path: Path) -> None:
    make(tmp_path, "var/log/nginx/error.log")
    (tmp_path / "var/log/nginx/access.log").symlink_to("/dev/stdout")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.bash_history").symlink_to("/dev/null")
    assert found(tmp_path) == {"var/log/nginx/error.log"}


def test_compiled_python_goes_when_its_source_is_gone(tmp_path: Path) -> None:
    make(
        tmp_path,
        "usr/lib/a/here.py",
        "usr/lib/a/__pycache__/here.cpython-311.pyc",
        "usr/lib/a/__pycache__/gone.cpython-311.pyc",
        "usr/lib/b/old.pyc",
    )
    assert found(tmp_path) == {"usr/lib/a/__pycache__/gone.cpython-311.pyc", "usr/lib/b/old.pyc"}


def test_a_path_that_vanished_is_no_error(tmp_path: Path) -> None:
    apply_finding(tmp_path, Finding("tmp/gone", "temporary files"))
    apply_finding(tmp_path, Finding("var/log/gone", "logs", emptied=True))


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("/tmp/ansible_x_payload_1/ansible_x_payload.zip/a/b.py", "tmp/ansible_x_payload_1"),
        ("/root/.ansible/tmp/ansible-tmp-1/AnsiballZ_x.py", "root/.ansible/tmp/ansible-tmp-1"),
    ],
)
def test_the_running_module_is_spared(name: str, directory: str) -> None:
    assert running_paths(name) == (directory,)


@pytest.mark.parametrize("name", ["", "<stdin>", "master:/x/y.py", "/tmp"])
def test_what_is_no_file_spares_nothing(name: str) -> None:
    assert running_paths(name) == ()


@pytest.mark.parametrize(
    "path", ["var/log/apt/history.log", "root/.ansible", "tmp/x", "usr/sbin/policy-rc.d"]
)
def test_capture_does_not_see_what_differs_from_run_to_run(path: str) -> None:
    assert is_invisible(path)


@pytest.mark.parametrize("path", ["var/log/nginx", "tmp", "var/log/apt", "etc/passwd"])
def test_capture_sees_the_rest(path: str) -> None:
    assert not is_invisible(path)


def test_patterns_are_relative_to_the_root() -> None:
    patterns = [*INVISIBLE, *(residue.pattern for residue in SEALED)]
    assert not any(pattern.startswith("/") or pattern.endswith("/") for pattern in patterns)
