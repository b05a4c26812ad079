# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to a server that a group's definition names."""

from __future__ import annotations

from ..core.errors import DriverError

_LARGEST = 1 << 20


def exchange(method: str, url: str, timeout: float, body: bytes | None = None) -> bytes:
    """Return what the server at *url* answers, at most a mebibyte of it.

    :param body: JSON to send.
    :param timeout: seconds, for connecting and for each part of the answer.

    Raises DriverError when it cannot be reached or answers with an error.
    """
    # It takes long to load, and most groups ask nobody.
    import urllib3

    shown = url.partition("?")[0]
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    try:
        with urllib3.PoolManager() as pools:
            answer = pools.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = bytes(answer.read(_LARGEST))
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise DriverError(f"{shown} does not answer: {error}.") from error
    if not 200 <= answer.status < 300:
        raise DriverError(f"{shown} answers with status {answer.status}.")
    return content
