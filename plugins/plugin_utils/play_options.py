# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that the collection's playbooks take, so that a misspelt one is not ignored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from ..module_utils.core.errors import DriverError

PREFIX = "kiln_"
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
OPTIONS = frozenset(
    f"{PREFIX}{name}"
    for name in """
    abort after approve at attest
    aws_copies aws_deprecate_after aws_encrypted aws_kms_keys aws_name aws_profile aws_region
    aws_shared_with aws_tags
    azure_container azure_definition azure_gallery azure_location azure_name azure_regions
    azure_resource_group azure_storage_account azure_subscription azure_tags
    before break_lock cache_days cache_from cache_to catalog_remote channel expected fail_when
    files folder formats
    google_bucket google_family google_labels google_locations google_name google_project gpg_key
    group home host ignore image images instances keep keep_channel keep_days keep_failed
    keep_last label libvirt_name libvirt_pool libvirt_uri lines load move network parallel
    plan_from plan_to pool_limit reason refresh refresh_only registry registry_ca
    registry_plain_http security security_hours security_keyring signing_command signing_key
    signing_passphrase_file signing_public_key size state taint target tfvars toolbox_mirror
    user version wait
    """.split()
)


def refuse_unknown(extra: Iterable[str], playbook_folder: str | Path) -> None:
    """Raise DriverError when one of the *extra* variables looks like an option and is none.

    :param extra: names of variables of the command line (``-e``).
    :param playbook_folder: where the playbook is; another one than ours may have any variables.
    """
    unknown = sorted(n for n in extra if n.startswith(PREFIX) and n not in OPTIONS)
    if not unknown or Path(playbook_folder).resolve() != PLAYBOOKS:
        return
    names = [option.removeprefix(PREFIX) for option in OPTIONS]
    close = difflib.get_close_matches(unknown[0].removeprefix(PREFIX), names, n=1)
    raise DriverError(
        f"-e {unknown[0]}: the playbooks have no option of that name.",
        hint=f"Write {PREFIX}{close[0]}."
        if close
        else "The first lines of each playbook name its options; variables of your own must not"
        f" begin with {PREFIX}.",
    )
