# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening_filesystem left: permissions, and what new files and mounts get."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

# One file system is walked: what is mounted is not the image's.
FIND = "find / -xdev"
ALLOWED = {
    "/usr/bin/chage",
    "/usr/bin/expiry",
    "/usr/bin/passwd",
    "/usr/bin/ssh-agent",
    "/usr/bin/sudo",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/sbin/unix_chkpwd",
}


def mount_options(host: Host, place: str) -> set[str]:
    """Return the options that the boot mounts *place* with."""
    lines = [line.split() for line in host.check_output("cat /etc/fstab").splitlines()]
    (found,) = [line for line in lines if len(line) > 3 and line[1] == place]
    return set(found[3].split(","))


def test_umask_of_login_shells(host: Host) -> None:
    assert host.check_output("env -i sh -c '. /etc/profile; umask'") == "0027"


def test_umask_of_interactive_shells(host: Host) -> None:
    assert "umask 027" in host.check_output("cat /etc/bash.bashrc").splitlines()


def test_no_core_dumps(host: Host) -> None:
    lines = host.check_output("cat /etc/security/limits.d/60-kiln.conf").splitlines()
    assert {"* hard core 0", "root hard core 0"} <= set(lines)


def test_no_file_lifts_the_core_limit(host: Host) -> None:
    text = host.check_output("cat /etc/security/limits.conf /etc/security/limits.d/*.conf")
    rules = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    hard = [rule for rule in rules if len(rule) == 4 and rule[1] in ("hard", "-")]
    assert {value for _who, _type, item, value in hard if item == "core"} == {"0"}


def test_no_stored_core_dumps(host: Host) -> None:
    lines = host.check_output("cat /etc/systemd/coredump.conf.d/60-kiln.conf").splitlines()
    assert lines == ["[Coredump]", "Storage=none", "ProcessSizeMax=0"]


def test_root_has_no_terminal(host: Host) -> None:
    assert host.check_output("stat -c '%%s %%a %%U' %s", "/etc/securetty") == "0 600 root"


def test_no_other_set_user_id_program(host: Host, kind: str) -> None:
    found = host.check_output(f"{FIND} -type f -perm /6000").splitlines()
    assert set(found) <= (ALLOWED if kind == "vm" else set())


def test_swept_programs_are_recorded(host: Host) -> None:
    lines = host.check_output("cat /var/lib/dpkg/statoverride").splitlines()
    assert "root root 755 /usr/bin/newgrp" in lines


def test_no_file_is_written_by_all(host: Host) -> None:
    assert host.check_output(f"{FIND} -type f -perm -0002") == ""


def test_shared_directories_are_sticky(host: Host) -> None:
    assert host.check_output(f"{FIND} -type d -perm -0002 ! -perm -1000") == ""


def test_logs_are_kept_from_others(host: Host) -> None:
    assert host.check_output("find /var/log -type f -perm /0137") == ""


def test_login_records_stay_closed(host: Host) -> None:
    lines = host.check_output("cat /etc/tmpfiles.d/60-kiln-logs.conf").splitlines()
    assert {f"f /var/log/{name} 0640 root utmp -" for name in ("btmp", "lastlog", "wtmp")} == set(
        lines
    )


def test_tmp_is_mounted_nosuid(host: Host) -> None:
    assert "nosuid" in mount_options(host, "/tmp")


def test_tmp_is_mounted_nodev(host: Host) -> None:
    assert "nodev" in mount_options(host, "/tmp")


def test_tmp_is_mounted_noexec(host: Host) -> None:
    assert "noexec" in mount_options(host, "/tmp")


def test_var_tmp_is_mounted_nosuid(host: Host) -> None:
    assert "nosuid" in mount_options(host, "/var/tmp")


def test_var_tmp_is_mounted_nodev(host: Host) -> None:
    assert "nodev" in mount_options(host, "/var/tmp")


def test_var_tmp_is_mounted_noexec(host: Host) -> None:
    assert "noexec" in mount_options(host, "/var/tmp")


def test_dev_shm_is_mounted_nosuid(host: Host) -> None:
    assert "nosuid" in mount_options(host, "/dev/shm")


def test_dev_shm_is_mounted_nodev(host: Host) -> None:
    assert "nodev" in mount_options(host, "/dev/shm")


def test_dev_shm_is_mounted_noexec(host: Host) -> None:
    assert "noexec" in mount_options(host, "/dev/shm")
