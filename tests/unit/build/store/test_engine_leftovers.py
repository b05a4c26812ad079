# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images for build containers are left over in an engine that other homes use too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine import Engine
from ansible_collections.kiln.immutable.plugins.module_utils.build.engine_leftovers import (
    chain_leftovers,
)
from ansible_collections.kiln.immutable.plugins.module_utils.core.command import Completed

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z


def image(name: str, named_at: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"Id": f"sha256:{name}", "RepoTags": [f"kiln-chain:{name}"]}
    return found if named_at is None else {**found, "Metadata": {"LastTagTime": named_at}}


class Answers:
    """An engine with images, some of which containers were started from."""

    def __init__(self, images: Sequence[Mapping[str, Any]], used: Sequence[str] = ()) -> None:
        self.images = images
        self.used = used

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Completed:
        match list(argv[1:3]):
            case ["image", "ls"]:
                said = "\n".join(tag for one in self.images for tag in one["RepoTags"])
            case ["image", "inspect"]:
                said = json.dumps(self.images)
            case ["ps", "--all"]:
                said = "\n".join(f"container-{name}" for name in self.used)
            case ["container", "inspect"]:
                said = "\n".join(f"sha256:{name}" for name in self.used)
            case other:
                pytest.fail(f"the engine was asked for {other}")
        return Completed(0, said.encode(), b"")


def leftovers(*images: Mapping[str, Any], used: Sequence[str] = ()) -> list[str]:
    return chain_leftovers(Engine(Answers(images, used)), now=NOON)


def test_an_image_that_nothing_uses_for_a_day_is_left_over() -> None:
    old = image("old", "2026-11-20T11:59:59.369142966Z")
    young = image("young", "2026-11-20T12:00:01.5Z")
    assert leftovers(old, young) == ["kiln-chain:old"]


def test_an_image_that_a_container_was_started_from_is_not() -> None:
    assert leftovers(image("old", "2026-01-01T00:00:00Z"), used=["old"]) == []


@pytest.mark.parametrize("said", [None, "", "0001-01-01T00:00:00Z", "yesterday"])
def test_an_image_of_unknown_age_is_not(said: str | None) -> None:
    assert leftovers(image("old", said)) == []


def test_no_image_is_no_leftover() -> None:
    assert leftovers() == []
