# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills that are drafted once say what bills say that are written for one image."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.core.errors import DriverError
from ansible_collections.kiln.immutable.plugins.module_utils.trust import sbom
from ansible_collections.kiln.immutable.plugins.module_utils.trust.bills import Bills
from ansible_collections.kiln.immutable.plugins.module_utils.trust.materials import (
    ImageLayer,
    Materials,
)
from ansible_collections.kiln.immutable.plugins.module_utils.trust.packages import Package
from hypothesis import given, settings
from hypothesis import strategies as st

DIGESTS = st.binary(min_size=32, max_size=32).map(lambda content: f"sha256:{content.hex()}")
NAMES = st.from_regex(r"[a-z][a-z0-9+.-]{1,6}", fullmatch=True)


def materials(*digests: str, versions: tuple[str, ...] = ("1.0",)) -> Materials:
    """Materials of an image of the first digest, with a layer for each of the others."""
    image, *layers = digests
    return Materials(
        name="web",
        digest=image,
        epoch=1_700_000_000,
        layers=[ImageLayer(f"layer {number}", one) for number, one in enumerate(layers)],
        packages=[
            Package(f"part{number}", version, "amd64", f"part{number}", version, layer=0)
            for number, version in enumerate(versions)
        ],
        system={"ID": "debian", "VERSION_ID": "12"},
    )


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


@settings(deadline=None, max_examples=40)
@given(digests=st.lists(DIGESTS, min_size=2, max_size=5), versions=st.lists(NAMES, max_size=4))
def test_a_filled_in_draft_is_what_the_libraries_write(
    tmp_path_factory: pytest.TempPathFactory, digests: list[str], versions: list[str]
) -> None:
    made_of = materials(*digests, versions=tuple(versions))
    desk = Bills(tmp_path_factory.mktemp("bills"))
    wanted = [sbom.cyclonedx(made_of), sbom.spdx(made_of)]
    assert desk.of(made_of) == wanted  # drafted
    assert desk.of(made_of) == wanted  # kept


def test_another_image_of_the_same_packages_is_not_drafted_again(tmp_path: Path) -> None:
    Bills(tmp_path).of(materials(digest("a"), digest("1"), digest("2")))
    (kept,) = tmp_path.iterdir()
    before = kept.stat().st_ino
    other = materials(digest("b"), digest("1"), digest("3"))
    # With nothing of the libraries: what is not kept cannot be made.
    program = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2].split(':');"
        "sys.modules['cyclonedx'] = sys.modules['spdx_tools'] = None;"
        "import test_bills as t;"
        "t.Bills(Path(sys.argv[1])).of(t.materials(*map(t.digest, 'b13')));"
        "assert 'beartype' not in sys.modules"
    )
    path = ":".join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", program, str(tmp_path), path], check=True)
    assert kept.stat().st_ino == before
    assert Bills(tmp_path).of(other) == [sbom.cyclonedx(other), sbom.spdx(other)]
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    "changed",
    [
        {"packages": materials(digest("a"), versions=("1.1",)).packages},
        {"system": {"ID": "debian", "VERSION_ID": "13"}},
        {"name": "other"},
        {"epoch": 1_700_000_001},
        {"layers": [ImageLayer("another name", digest("1"))]},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_a_draft_says_makes_another_draft(tmp_path: Path, changed: dict[str, object]) -> None:
    first = materials(digest("a"), digest("1"))
    other = replace(first, **changed)  # type: ignore[arg-type]  # each is of its field's type
    Bills(tmp_path).of(first)
    assert Bills(tmp_path).of(other) == [sbom.cyclonedx(other), sbom.spdx(other)]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"no draft", b"\x78\x01cut"])
def test_a_damaged_draft_is_made_anew(tmp_path: Path, content: bytes) -> None:
    made_of = materials(digest("a"), digest("1"))
    wanted = Bills(tmp_path).of(made_of)
    (kept,) = tmp_path.iterdir()
    good = kept.read_bytes()
    kept.write_bytes(content)
    assert Bills(tmp_path).of(made_of) == wanted
    assert kept.read_bytes() == good


def test_a_folder_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    made_of = materials(digest("a"), digest("1"))
    assert Bills(file / "bills").of(made_of) == [sbom.cyclonedx(made_of), sbom.spdx(made_of)]


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    desk = Bills(tmp_path, libraries=("no-such-library",))
    with pytest.raises(DriverError, match="needs the Python library no-such-library"):
        desk.of(materials(digest("a"), digest("1")))
