# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads at the end of a bake."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.report.bake_summary import (
    human_bytes,
    render_failure,
    render_nothing,
    render_summary,
)

IMAGE: dict[str, Any] = {
    "name": "web",
    "version": "1.0.3",
    "digest": "sha256:abc",
    "image": "kiln/web:1.0.3",
    "run": "docker run kiln/web:1.0.3",
    "seconds": 12.34,
    "layers": [
        {"name": "base bookworm", "done": "base", "seconds": 0.0, "bytes": 2048, "stored": 1024},
        {"name": "nginx", "done": "run", "seconds": 3.21, "bytes": 3 << 20, "stored": 1 << 20},
        {"name": "checks", "done": "cached", "seconds": 0.4, "bytes": 0, "stored": 0},
    ],
}

FAILURE = {"name": "web", "task": "Install", "message": "no such package\n", "layers": 0}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (2 << 40, "2.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_bytes_are_given_in_a_unit_that_people_read(count: int, text: str) -> None:
    assert human_bytes(count) == text


def test_an_image_that_is_as_it_should_be_takes_one_line() -> None:
    assert render_nothing({"name": "web", "version": "1.0.3"}) == "web 1.0.3: nothing to do."


def test_a_summary_says_what_was_made_and_how_to_run_it() -> None:
    lines = [line.strip() for line in render_summary(IMAGE).splitlines()]
    assert "web 1.0.3, baked in 12.3 s" in lines
    assert "digest  sha256:abc" in lines
    assert "size    3.0 MiB, 1.0 MiB compressed" in lines
    assert "image   kiln/web:1.0.3 (in the engine)" in lines
    assert [line for line in lines if line][-1] == "docker run kiln/web:1.0.3"


def test_a_summary_has_a_row_for_each_layer() -> None:
    rows = [line.split() for line in render_summary(IMAGE).splitlines()]
    assert ["nginx", "run", "3.2", "3.0", "MiB", "1.0", "MiB"] in rows
    assert ["checks", "cached", "0.4", "0", "B", "0", "B"] in rows


def test_a_summary_shows_each_waiver_with_its_reason() -> None:
    waived = [["control kernel-modules", "It loads one."], ["rule tmp", "In memory."]]
    text = render_summary({**IMAGE, "waived": waived})
    assert "\n  Waived:\n  control kernel-modules: It loads one.\n  rule tmp: In memory.\n" in text
    assert "Waived" not in render_summary(IMAGE)


def test_the_columns_of_a_summary_stand_below_each_other() -> None:
    lines = render_summary(IMAGE).splitlines()
    (head,) = (line for line in lines if "seconds" in line and "compressed" in line)
    rows = [line for line in lines if line.strip().startswith(("base ", "nginx", "checks"))]
    assert {len(row) for row in rows} == {len(head)}


def test_a_failure_ends_with_the_task_s_own_message() -> None:
    text = render_failure({**FAILURE, "layers": 3, "layers_done": 2})
    assert text.startswith("web was not baked.")
    assert "2 of 3 layers are in the cache; the next run goes on after them." in text
    assert "kiln_keep_failed=true" in text
    assert text.endswith("Failed task: Install\nno such package\n")


def test_a_failure_with_a_kept_container_says_how_to_look_and_how_to_remove_it() -> None:
    text = render_failure(
        {**FAILURE, "layers": 3, "layers_done": 0, "kept": "k", "shell": "exec k", "remove": "rm k"}
    )
    assert "A shell in it:  exec k" in text
    assert "rm k" in text
    assert "kiln_keep_failed" not in text
    assert text.endswith("no such package\n")


def test_a_failure_before_any_layer_speaks_of_none() -> None:
    assert render_failure({"name": "web", "message": "lost"}) == "web was not baked.\nlost"


def test_what_was_found_out_is_said_in_a_line_each() -> None:
    scan = {"profile": "cis_level1_server", "counts": {"passed": 128, "failed": 0, "waived": 2}}
    lynis = {"hardening_index": 67, "warnings": [], "suggestions": [{}, {}]}
    goss = {"counts": {"passed": 4, "failed": 0, "skipped": 0}}
    findings = {"compliance": scan, "goss": goss, "lynis": lynis}
    text = render_summary({**IMAGE, "findings": findings})
    assert "  compliance: cis_level1_server, 128 passed, 2 waived\n" in text
    assert "  goss: 4 passed\n" in text
    assert "  lynis: hardening index 67, 0 warnings, 2 suggestions\n" in text


def test_the_page_of_the_version_is_named() -> None:
    assert "  report  /home/reports/web/1.html\n" in render_summary(
        {**IMAGE, "report": "/home/reports/web/1.html"}
    )
