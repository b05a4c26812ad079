# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSCAP on the finished root of an image: its rules, and what became of each."""

from __future__ import annotations

from ..core.errors import DriverError
from .boot_view import PRELUDE, READ_FSTAB, boot_options
from .compliance_result import Scan, read_scan
from .finished_root import TARGET, FinishedRoot
from .toolbox import Toolbox, ToolboxSpec

# Debian 13's own content knows neither CIS profiles nor Debian 13 itself, so the content alone is
# of the release after it; see docs/decisions/compliance.md.
CONTENT = ("ssg-base", "ssg-debian")


def scanner_spec(mirror: str | None = None) -> ToolboxSpec:
    """Return the toolbox with OpenSCAP and the content for Debian."""
    return ToolboxSpec(
        "compliance",
        ("openscap-scanner", "ssg-debian"),
        mirror=mirror,
        newer=CONTENT,
        newer_suite="forky",
    )


_CONTENTS = {"bookworm": "debian12", "trixie": "debian13"}
_FOLDER = "/usr/share/xml/scap/ssg/content"
_PROFILE = "xccdf_org.ssgproject.content_profile_"

# The results go to a file of the container first: oscap tells its progress on standard output.
_SCAN = """\
set -u
/bin/sh -c "$1" scan "$2" "$3" > /tmp/said 2>&1
status=$?
case $status in
  0|2) cat /tmp/results.xml ;;
  *) grep -v '^WARNING' /tmp/said >&2; exit 1 ;;
esac
"""

_OSCAP = 'exec oscap xccdf eval --profile "$1" --results /tmp/results.xml "$2"\n'


def scan_root(toolbox: Toolbox, root: FinishedRoot, *, suite: str, profile: str) -> Scan:
    """Compare *root* with a profile of the content for Debian *suite*.

    The scanner sees the root read-only and no network; by ``OSCAP_PROBE_ROOT`` it asks that root,
    and nothing of what runs. Of a VM it is told what the boot makes of the root. Raises
    DriverError for a release or profile that the content lacks.
    """
    product = _CONTENTS.get(suite)
    if product is None:
        raise DriverError(
            f"There is no compliance content for Debian {suite}.",
            hint=f"Leave seal.compliance out; there is content for {' and '.join(_CONTENTS)}.",
        )
    content = f"{_FOLDER}/ssg-{product}-ds.xml"
    fstab = toolbox.run(READ_FSTAB, options=root.options).text
    done = toolbox.run(
        ["/bin/sh", "-c", _SCAN, "scan", PRELUDE + _OSCAP, _PROFILE + profile, content],
        env={"OSCAP_PROBE_ROOT": TARGET},
        options=[*root.options, *boot_options(fstab)],
        check=False,
    )
    if done.status != 0:
        known = profiles(toolbox, suite)
        if profile not in known:
            raise DriverError(
                f"The content for {suite} has no profile {profile}.",
                hint=f"Its profiles are {', '.join(known)}.",
            )
        said = done.stderr.decode("utf-8", "replace").strip()
        raise DriverError(f"OpenSCAP could not scan the finished root: {said}")
    return read_scan(done.stdout, profile=profile, product=product)


def profiles(toolbox: Toolbox, suite: str) -> list[str]:
    """Return the profiles that the content for Debian *suite* has."""
    content = f"{_FOLDER}/ssg-{_CONTENTS[suite]}-ds.xml"
    said = toolbox.run(["oscap", "info", "--profiles", content]).text
    names = [line.partition(":")[0] for line in said.splitlines() if line.startswith(_PROFILE)]
    return [name.removeprefix(_PROFILE) for name in names]
