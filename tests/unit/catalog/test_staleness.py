# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far behind images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.changes import (
    Promotion,
    Withdrawal,
    promote,
    revoke,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.documents import (
    write_document,
)
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.group_record import GroupRecord
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.repository import Catalog
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.staleness import Row, rows
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.transaction import Change
from ansible_collections.kiln.immutable.plugins.module_utils.catalog.version import Version
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.report.catalog_tables import (
    render_status,
)


def none(_version: Version) -> tuple[Sequence[str] | None, str]:
    return (), ""


def passes(_version: Version, _channel: str) -> Sequence[str]:
    return ()


def status(catalog: Catalog, **more: Any) -> list[Row]:
    given = {"updates": none, "failures": passes, **more}
    return list(rows(catalog, catalog.images(), **given))


@pytest.fixture
def catalog(shelf: Any) -> Catalog:
    """Three versions of web, the last two on channels, seen ten days later."""
    made = shelf.catalog()
    for number in (1, 2, 3):
        shelf.record(made, number)
    promote(made, Promotion("web", "why", "1.0.2", "prod"))
    promote(made, Promotion("web", "why", "1.0.3", "dev"))
    seen: Catalog = replace(made, now=lambda: shelf.catalog().now() + timedelta(days=10))
    return seen


def test_there_is_a_row_for_each_channel_in_the_order_of_promotion(catalog: Catalog) -> None:
    found = status(catalog)
    assert [(row.channel, row.version, row.newest, row.age) for row in found] == [
        ("dev", "1.0.3", "1.0.3", 10.0),
        ("prod", "1.0.2", "1.0.3", 10.0),
    ]


def test_a_newest_version_that_no_channel_has_gets_a_row(catalog: Catalog, shelf: Any) -> None:
    shelf.record(catalog, 4)
    assert [(row.channel, row.version) for row in status(catalog)][-1] == (None, "1.0.4")


def test_where_it_runs_is_said(catalog: Catalog) -> None:
    group = GroupRecord("blue", "web", ("1.0.2",), ("1.0.1",))
    content = write_document(group.as_document())
    catalog.change(lambda: Change({catalog.group_path("blue"): content}, "blue runs web"))
    assert catalog.groups() == [group]
    assert [row.runs for row in status(catalog)] == [(), ("blue",)]


def test_a_base_that_is_behind_is_said_but_not_for_a_revoked_newer_one(
    catalog: Catalog, shelf: Any
) -> None:
    shelf.record(catalog, 9, image="shop", parent="web", parent_version="1.0.2")
    (row,) = (row for row in status(catalog) if row.image == "shop")
    assert (row.base, row.base_newest, row.needs_rebuild) == ("web 1.0.2", "1.0.3", True)
    revoke(catalog, Withdrawal("web", "1.0.3", "bad"))
    (row,) = (row for row in status(catalog) if row.image == "shop")
    assert (row.base_newest, row.needs_rebuild) == (None, False)


def test_updates_failures_and_revocations_are_in_the_row_and_the_table(catalog: Catalog) -> None:
    revoke(catalog, Withdrawal("web", "1.0.2", "bad"))
    found = status(
        catalog,
        updates=lambda v: (["openssl 1 -> 2"], "") if v.number == "1.0.3" else (None, "it is away"),
        failures=lambda _version, channel: [f"Not for {channel}."] if channel == "prod" else [],
    )
    assert [row.needs_rebuild for row in found] == [True, False]
    assert found[1].revoked == "web 1.0.2: bad"
    text = "\n".join(render_status([row.as_json() for row in found]))
    assert "web    dev      1.0.3" in text
    assert "web 1.0.3 waits for openssl 1 -> 2." in text
    assert "web 1.0.2: security updates are not known, as it is away." in text
    assert "web 1.0.2 in prod: Not for prod." in text
    assert "web 1.0.2 is revoked (web 1.0.2: bad)." in text


def test_only_what_is_in_use_is_read(catalog: Catalog, shelf: Any) -> None:
    for number in range(10, 13):
        shelf.record(catalog, number)
    (catalog.root / "images/web/versions/1.0.4.yml").write_text("not read")
    assert [row.version for row in status(catalog)] == ["1.0.3", "1.0.2", "1.0.6"]


def test_a_record_of_a_group_that_is_damaged_is_named(catalog: Catalog) -> None:
    (catalog.root / "groups").mkdir()
    (catalog.root / "groups/blue.yml").write_text("name: blue\n")
    with pytest.raises(DriverError, match=r"blue.yml is no record of a group"):
        catalog.groups()
