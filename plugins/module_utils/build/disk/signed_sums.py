# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signature of a folder's checksums, as systemd-sysupdate verifies it: by gpg, beside them."""

from __future__ import annotations

from pathlib import Path

from ...core.command import Runner, run
from ...core.errors import DriverError
from ...core.files import locked, write_whole
from .files import SUMS

SIGNATURE = f"{SUMS}.gpg"
_GPG = ("gpg", "--batch", "--no-tty", "--quiet")
_GOOD = "[GNUPG:] VALIDSIG "


def is_signed(folder: Path, key: str, runner: Runner = run) -> bool:
    """Whether the list in *folder* as it stands is signed by *key*."""
    if not (folder / SIGNATURE).exists():
        return False
    verify = [*_GPG, "--status-fd", "1", "--verify", str(folder / SIGNATURE), str(folder / SUMS)]
    done = runner(verify, check=False)
    signers = {
        word
        for line in done.text.splitlines()
        if line.startswith(_GOOD)
        for word in (line.split()[2], line.split()[-1])
    }
    return done.status == 0 and bool(signers & _fingerprints(key, runner))


def sign_sums(folder: Path, key: str, runner: Runner = run) -> None:
    """Sign the list in *folder* by *key*; DriverError when gpg does not."""
    with locked(folder / f".{SUMS}.lock"):
        sign = [*_GPG, "--local-user", key, "--detach-sign", "--output", "-", str(folder / SUMS)]
        done = runner(sign, check=False)
        if done.status != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise DriverError(
                f"{folder / SUMS} could not be signed by {key}: {said}",
                hint="gpg --list-secret-keys shows the keys that there are.",
            )
        write_whole(folder / SIGNATURE, done.stdout)


def _fingerprints(key: str, runner: Runner) -> set[str]:
    listed = runner([*_GPG, "--with-colons", "--list-keys", key], check=False).text
    return {line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")}
