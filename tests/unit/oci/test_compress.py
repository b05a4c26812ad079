# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parallel gzip: any reader unpacks it, and threads do not show in its bytes."""

from __future__ import annotations

import gzip
import os
import zlib

import pytest
from ansible_collections.kiln.immutable.plugins.module_utils.oci.compress import Compressor
from hypothesis import given, settings
from hypothesis import strategies as st

BLOCK = 128 * 1024


def compressed(parts: list[bytes], *, level: int = 1, threads: int | None = None) -> bytes:
    out: list[bytes] = []
    with Compressor(out.append, level, threads) as compressor:
        for part in parts:
            compressor.write(part)
    return b"".join(out)


# Sizes around the block, as runs of one byte, so that examples stay small.
runs = st.builds(
    lambda byte, size: bytes([byte]) * size,
    st.integers(0, 3),
    st.one_of(st.integers(0, 2000), st.integers(BLOCK - 3, BLOCK + 3), st.just(3 * BLOCK)),
)


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=500), runs), max_size=6))
def test_gzip_unpacks_what_was_written(parts: list[bytes]) -> None:
    assert gzip.decompress(compressed(parts)) == b"".join(parts)


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=500), runs), max_size=6), st.integers(1, 9))
def test_neither_threads_nor_the_cut_of_the_input_show(parts: list[bytes], level: int) -> None:
    whole = compressed([b"".join(parts)], level=level, threads=1)
    assert compressed(parts, level=level, threads=3) == whole
    assert compressed(parts, level=level, threads=8) == whole


def test_it_is_one_member_that_says_nothing_about_its_origin() -> None:
    out = compressed([os.urandom(3 * BLOCK)])
    assert out[:10] == bytes.fromhex("1f8b08000000000000ff")
    inflater = zlib.decompressobj(wbits=31)
    inflater.decompress(out)
    assert inflater.eof
    assert inflater.unused_data == b""


def test_a_block_finds_its_matches_in_the_one_before() -> None:
    noise = os.urandom(16 * 1024)
    repeated = compressed([noise * 8 + noise])
    alone = compressed([noise * 8])
    assert len(repeated) - len(alone) < 1000


def test_long_runs_of_zeros_unpack_and_stay_small() -> None:
    size = 40 * BLOCK
    out = compressed([b"start", bytes(size), b"end"])
    assert gzip.decompress(out) == b"start" + bytes(size) + b"end"
    assert len(out) < size // 200


def test_what_the_sink_raises_reaches_the_writer() -> None:
    class Full(Exception):
        pass

    def sink(content: bytes) -> None:
        if len(content) > 10:
            raise Full

    def write() -> None:
        with Compressor(sink, 1, 2) as compressor:
            for _block in range(10):
                compressor.write(os.urandom(BLOCK))

    with pytest.raises(Full):
        write()


def test_few_blocks_wait_in_memory() -> None:
    arrived: list[int] = []
    with Compressor(lambda content: arrived.append(len(content)), 1, 2) as compressor:
        for _block in range(20):
            compressor.write(os.urandom(BLOCK))
        assert sum(arrived) >= 15 * BLOCK
