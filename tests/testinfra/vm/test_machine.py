# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine that booted one of our disks must be like, whatever root and release it has."""

from __future__ import annotations

import re

from ansible_collections.kiln.immutable.plugins.module_utils.build.definition_model import DiskSpec
from testinfra.host import Host


def test_it_runs_the_release_that_was_baked(host: Host, image: str) -> None:
    release = image.removeprefix("vm-")

    assert f"VERSION_CODENAME={release}\n" in host.file("/etc/os-release").content_string


def test_every_unit_is_well(host: Host) -> None:
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""


def test_the_root_is_the_kind_that_was_asked_for(host: Host, disk: DiskSpec) -> None:
    source, kind, options = host.check_output("findmnt -n -o SOURCE,FSTYPE,OPTIONS /").split()
    verified = disk.root == "erofs"

    assert kind == disk.root
    assert "ro" in options.split(",")
    assert (source == "/dev/mapper/root") is verified
    assert bool(re.search(r"\broothash=[0-9a-f]{64}\b", words(host))) is verified


def test_the_firmware_is_the_one_that_was_asked_for(host: Host, disk: DiskSpec) -> None:
    assert (host.run("test -d /sys/firmware/efi").rc == 0) is (disk.boot == "uefi")


def words(host: Host) -> str:
    """Return what the kernel was told."""
    return str(host.check_output("cat /proc/cmdline"))


def test_a_boot_that_fails_gives_nobody_a_shell(host: Host) -> None:
    assert {"rd.shell=0", "rd.emergency=poweroff"} <= set(words(host).split())


def test_not_even_root_writes_the_image(host: Host) -> None:
    assert host.check_output("id -u") == "0"
    for path in ("/usr/forged", "/boot/forged", "/forged", "/usr/lib/systemd/forged"):
        refused = host.run("touch %s", path)
        assert refused.rc != 0
        assert "Read-only file system" in refused.stderr


def test_a_verified_root_cannot_be_made_writable(host: Host, disk: DiskSpec) -> None:
    if disk.root == "erofs":
        assert host.run("mount -o remount,rw /").rc != 0
        assert host.run("dd if=/dev/zero of=/dev/mapper/root bs=512 count=1").rc != 0


def test_what_is_not_declared_is_in_memory(host: Host) -> None:
    for path in ("/etc", "/var", "/home", "/root"):
        host.check_output("touch %s/own", path)
        assert host.check_output("findmnt -n -o FSTYPE %s", path) == "overlay"
    assert host.check_output("findmnt -n -o FSTYPE /tmp") == "tmpfs"


def test_what_is_declared_is_on_the_file_system_that_lasts(host: Host, disk: DiskSpec) -> None:
    assert disk.state is not None
    place = disk.state.device or "/dev/disk/by-label/kiln-state"
    device = host.check_output("readlink -f %s", place)

    for path in ("/var/lib/kept", "/var/lib/ssh", "/var/lib/systemd"):
        mounted = host.check_output("findmnt -n --nofsroot -o SOURCE,FSTYPE,OPTIONS %s", path)
        source, kind, options = mounted.split()
        assert (source, kind, options[:3]) == (device, "ext4", "rw,")
    assert host.file("/var/lib/ssh").mode == 0o700


def test_it_knows_itself_by_an_id_made_at_its_first_boot(host: Host) -> None:
    machine_id = host.check_output("cat /etc/machine-id")

    assert re.fullmatch("[0-9a-f]{32}", machine_id)
    assert host.check_output("cat /run/kiln/state/machine-id") == machine_id


def test_its_host_keys_were_made_by_itself(host: Host) -> None:
    keys = host.check_output("find /var/lib/ssh -name 'ssh_host_*_key'").split()

    assert keys
    offered = host.check_output("/usr/sbin/sshd -T").splitlines()
    assert {f"hostkey {key}" for key in keys} == {one for one in offered if "hostkey /" in one}
    assert host.run("ls /etc/ssh/ssh_host_*_key").rc != 0


def test_cloud_init_told_it_its_name_and_who_may_log_in(host: Host, image: str) -> None:
    assert host.check_output("hostname") == image
    assert "ssh-ed25519" in host.file("/home/admin/.ssh/authorized_keys").content_string


def test_it_knows_its_own_address_without_a_name_server(host: Host, image: str) -> None:
    assert host.run("getent hosts %s", image).rc == 0


def test_cloud_init_has_nothing_to_complain_of(host: Host) -> None:
    assert "WARNING" not in host.check_output("cat /var/log/cloud-init.log")


def test_networkd_gave_it_an_address(host: Host) -> None:
    assert "10.0.2.15" in host.check_output("ip -4 address")
