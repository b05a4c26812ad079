# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom to believe that it is the registry: the system's authorities, and those of Docker's
``certs.d``."""

from __future__ import annotations

import ssl
from pathlib import Path

from ...core.errors import DriverError

CERTS_D = Path("/etc/docker/certs.d")


def client_context(host: str, ca: Path | None, certs_d: Path = CERTS_D) -> ssl.SSLContext:
    """Return the TLS settings for *host*; certificates are always verified.

    :param ca: file of authorities that are believed beside the system's.
    :param certs_d: has a folder for a host: ``*.crt`` are authorities, ``NAME.cert`` and
        ``NAME.key`` are what we show the registry, as the engine has it.

    DriverError names a file that cannot be used.
    """
    context = ssl.create_default_context()
    if ca is not None:
        _trust(context, ca)
    folder = certs_d / host
    for path in sorted(folder.glob("*.crt")):
        _trust(context, path)
    for path in sorted(folder.glob("*.cert")):
        try:
            context.load_cert_chain(path, path.with_suffix(".key"))
        except OSError as error:  # ssl.SSLError is one
            raise DriverError(
                f"The certificate {path} and its key cannot be used: {error}."
            ) from error
    return context


def _trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise DriverError(
            f"{path} holds no certificates that can be read: {error}.",
            hint="It must be a file in PEM form; kiln_registry_ca names it.",
        ) from error
