# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that ansible-core itself defines; its version is part of every key."""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    """Return the words of *text*."""
    return frozenset(text.split())


FILTERS = names(
    """
    abs attr b64decode b64encode basename batch bool capitalize center checksum combinations combine
    comment commonpath count d default dict2items dictsort difference dirname e escape expanduser
    expandvars extract fileglob filesizeformat first flatten float forceescape format from_json
    from_yaml from_yaml_all groupby hash human_readable human_to_bytes indent int intersect items
    items2dict join last length list log lower mandatory map max md5 min normpath password_hash
    path_join permutations pow pprint product quote random realpath regex_escape regex_findall
    regex_replace regex_search reject rejectattr rekey_on_member relpath replace reverse root round
    safe select selectattr sha1 shuffle slice sort split splitext strftime string striptags
    subelements sum symmetric_difference ternary title to_datetime to_json to_nice_json
    to_nice_yaml to_uuid to_yaml tojson trim truncate type_debug union unique unvault upper
    urldecode urlencode urlize urlsplit vault win_basename win_dirname win_splitdrive wordcount
    wordwrap xmlattr zip zip_longest
    """
)

TESTS = names(
    """
    abs all any boolean callable change changed contains defined directory divisibleby eq equalto
    escaped even exists failed failure false falsy file filter finished float ge greaterthan gt in
    integer is_abs is_dir is_file is_link is_mount is_same_file isnan issubset issuperset iterable
    le lessthan link link_exists lower lt mapping match mount nan ne none number odd reachable regex
    same_file sameas search sequence skip skipped started string subset succeeded success
    successful superset test timedout true truthy undefined unreachable upper uri url urn
    vault_encrypted vaulted_file version version_compare None True False
    """
)

TASK_KEYWORDS = names(
    """
    action always any_errors_fatal args async async_val become become_exe become_flags become_method
    become_user block changed_when check_mode collections connection debugger delay delegate_facts
    delegate_to diff environment failed_when ignore_errors ignore_unreachable listen local_action
    loop loop_control module_defaults name no_log notify poll port register remote_user rescue
    retries run_once tags throttle timeout until vars when
    """
)

#: Keywords and options whose text is an expression without braces.
CONDITIONS = names("when changed_when failed_when until that var break_when")

#: Lookups that only rearrange what they are given.
PURE_LOOKUPS = names(
    """
    dict flattened indexed_items items list nested cartesian sequence subelements together vars
    """
)

#: Facts that `setup` and its kin read from the image itself: the parent layer's key covers them.
IMAGE_FACTS = names(
    """
    local distribution distribution_file_parsed distribution_file_path distribution_file_variety
    distribution_major_version distribution_minor_version distribution_release distribution_version
    os_family pkg_mgr service_mgr packages services lsb python python_version system
    """
)

#: Names that Ansible gives the same value in every bake, or that only name what is in the role.
STEADY_NAMES = names(
    """
    ansible_check_mode ansible_diff_mode ansible_failed_result ansible_failed_task ansible_index_var
    ansible_loop ansible_loop_var ansible_parent_role_names ansible_parent_role_paths
    ansible_role_name ansible_dependent_role_names ansible_role_names role_names ansible_version
    """
)

#: Facts of the machine that happens to run the build: they never belong in an image.
HOST_FACTS = names(
    """
    all_ipv4_addresses all_ipv6_addresses apparmor bios_date bios_vendor bios_version board_name
    board_serial chassis_serial cmdline date_time default_ipv4 default_ipv6 device_links devices dns
    domain env fibre_channel_wwn fips form_factor fqdn hostname hostnqn interfaces iscsi_iqn
    is_chroot kernel kernel_version locally_reachable_ips loadavg lvm machine_id memfree_mb
    memory_mb memtotal_mb mounts nodename proc_cmdline processor processor_cores processor_count
    processor_nproc processor_threads_per_core processor_vcpus product_name product_serial
    product_uuid product_version ssh_host_key_ecdsa_public ssh_host_key_ed25519_public
    ssh_host_key_rsa_public swapfree_mb swaptotal_mb system_vendor uptime_seconds
    virtualization_role virtualization_type virtualization_tech_guest virtualization_tech_host
    """
)
