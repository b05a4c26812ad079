# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that makes one tar of layers reads all that a layer can be, and refuses the rest."""

from __future__ import annotations

import gzip
import inspect
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.build.disk import root_merge
from hypothesis import given
from hypothesis import strategies as st

FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def tar_of(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def asked(layer: bytes, as_is: list[str], special: dict[str, Any] | None = None) -> bytes:
    """Return what the program is given to make a tar of one layer."""
    one = {"digest": "sha256:1", "bytes": len(layer), "as_is": as_is, "special": special or {}}
    return json.dumps({"head": 0, "layers": [one]}).encode() + b"\n" + layer


def merged(given: bytes) -> dict[str, bytes]:
    made = io.BytesIO()
    root_merge.merge(io.BytesIO(given), made.write)
    with tarfile.open(fileobj=io.BytesIO(made.getvalue())) as archive:
        return {
            info.name: stream.read()
            for info in archive
            if (stream := archive.extractfile(info)) is not None
        }


@given(
    files=st.dictionaries(
        st.lists(st.text("abä.-", min_size=1, max_size=60), min_size=1, max_size=4)
        .map("/".join)
        .filter(lambda name: root_merge.member_path(name) == name),
        st.binary(max_size=2000),
        max_size=8,
    ),
    form=st.sampled_from(FORMS[1:]),
    data=st.data(),
)
def test_what_is_asked_for_goes_along_whatever_its_name_is_long(
    files: dict[str, bytes], form: int, data: st.DataObject
) -> None:
    wanted = [name for name in files if data.draw(st.booleans())]
    layer = gzip.compress(tar_of(files, form), 1)

    assert merged(asked(layer, wanted)) == {name: files[name] for name in wanted}


def test_a_name_in_two_parts_is_one() -> None:
    name = "a" * 90 + "/" + "b" * 90
    layer = gzip.compress(tar_of({name: b"1"}, tarfile.USTAR_FORMAT))

    assert merged(asked(layer, [name])) == {name: b"1"}


def test_names_may_begin_with_a_dot_as_others_write_them() -> None:
    layer = gzip.compress(tar_of({"./etc/a": b"1"}))

    assert merged(asked(layer, ["etc/a"])) == {"./etc/a": b"1"}


def test_a_layer_may_be_compressed_in_parts() -> None:
    tar = tar_of({"a": b"1" * 3000, "b": b"2"})
    layer = gzip.compress(tar[:1000]) + gzip.compress(tar[1000:])

    assert merged(asked(layer, ["b"])) == {"b": b"2"}


def test_what_is_kept_and_rewritten_is_so(tmp_path: Path) -> None:
    place = tmp_path / "it"
    special = {"header": "", "links": "", "kept": [str(place)], "content": "new"}
    layer = gzip.compress(tar_of({"a": b"old", "b": b"2"}))

    assert merged(asked(layer, ["b"], {"a": special})) == {"b": b"2"}
    assert place.read_bytes() == b"new"


def test_a_layer_that_lacks_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="sha256:1 lacks b"):
        merged(asked(gzip.compress(tar_of({"a": b"1"})), ["a", "b"]))


@pytest.mark.parametrize("missing", [1, 10, 40])
def test_a_layer_that_ends_early_is_refused(missing: int) -> None:
    given = asked(gzip.compress(tar_of({"a": b"1"})), ["a"])

    with pytest.raises(EOFError):
        merged(given[:-missing])


@pytest.mark.parametrize("as_pax", [True, False])
def test_a_sparse_file_is_refused(as_pax: bool) -> None:
    info = tarfile.TarInfo("a")
    if as_pax:
        info.pax_headers = {"GNU.sparse.major": "1"}
    else:
        info.type = tarfile.GNUTYPE_SPARSE
    layer = gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))

    with pytest.raises(ValueError, match="sparse"):
        merged(asked(layer, ["a"]))


def run(given: bytes, *argv: str) -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-I", "-c", inspect.getsource(root_merge), *argv]
    return subprocess.run(program, input=given, capture_output=True, check=False)


def test_the_tool_gets_the_tar_and_its_status_counts() -> None:
    given = asked(gzip.compress(tar_of({"a": b"12"})), ["a"])

    assert run(given, "tar", "--extract", "--to-stdout", "--file=-").stdout == b"12"
    assert run(given, "sh", "-c", "cat > /dev/null; exit 3").returncode == 3


def test_a_tool_that_ends_before_it_has_all_says_why() -> None:
    content = bytes(range(256)) * 40_000
    given = asked(gzip.compress(tar_of({"a": content}), 1), ["a"])
    done = run(given, "sh", "-c", "echo full >&2; exit 4")

    assert (done.returncode, done.stderr) == (4, b"full\n")


def test_a_tool_does_not_take_half_a_tar_for_a_whole_one() -> None:
    given = asked(gzip.compress(tar_of({"a": b"12"})), ["a"])

    assert run(given[:-9], "cat").returncode != 0
