# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that a definition refers to reach an instance, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.groups.backends.values import (
    Once,
    References,
    environment,
    marks,
)
from ansible_collections.kiln.immutable.plugins.module_utils.groups.definition_model import (
    GroupDefinition,
    ImageChoice,
    Reference,
    Secret,
    Variable,
)


def test_a_value_is_found_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"from a file")
    find = References(tmp_path, environ={"DB": "from the environment"})
    assert find(Reference("env", "DB")) == b"from the environment"
    assert find(Reference("file", "password")) == b"from a file"
    assert find(Reference("command", command=("echo", "said"))) == b"said"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (Reference("env", "DB"), "variable DB"),
        (Reference("file", "nowhere"), "nowhere, which the group refers to, cannot be read"),
        (Reference("command", command=("sh", "-c", "echo secret; exit 3")), "status 3"),
    ],
)
def test_a_value_that_is_not_there_is_told_and_never_shown(
    tmp_path: Path, reference: Reference, said: str
) -> None:
    with pytest.raises(DriverError, match=said) as error:
        References(tmp_path, environ={})(reference)
    assert "secret" not in str(error.value)


def test_a_value_that_is_referred_to_is_no_argument() -> None:
    variables = (Variable("TZ", "UTC"), Variable("DB", reference=Reference("env", "X")))
    options, needed = environment(variables, lambda _reference: b"hidden\n")
    assert options == ["--env", "TZ=UTC", "--env", "DB"]
    assert needed == {"DB": "hidden"}


def test_the_marks_of_values_tell_others_apart_and_nothing_of_them() -> None:
    where = Reference("file", "db")
    group = GroupDefinition(
        "web",
        ImageChoice("web", version="1.0.1"),
        1,
        secrets=(Secret("db", where, "/run/secrets/db"),),
        environment=(Variable("TZ", "UTC"), Variable("DB", reference=where)),
    )
    first = marks(group, lambda _reference: b"hidden", b"key")
    names = [word.split("=")[0] for word in first.split()]
    assert names == ["key", "secret:db", "variable:DB"]
    assert "hidden" not in first
    assert len({word.split("=")[1] for word in first.split()}) == 3
    assert marks(group, lambda _reference: b"hidden", b"key") == first
    assert marks(group, lambda _reference: b"other", b"key") != first
    assert marks(group, lambda _reference: b"hidden", b"another group's") != first
    assert marks(replace(group, secrets=(), environment=()), References(), b"key") == ""


def test_a_value_is_read_once_for_all_instances() -> None:
    values = iter([b"first", b"second"])
    resolve = Once(lambda _reference: next(values))
    assert [resolve(Reference("env", "DB")) for _again in range(2)] == [b"first", b"first"]
