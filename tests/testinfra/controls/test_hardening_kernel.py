# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening_kernel left for the kernel that boots from the root."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

# The files that systemd-sysctl reads, each name once, and then in the order of the names.
SYSCTL = """
cd / && for name in $(ls usr/lib/sysctl.d etc/sysctl.d 2>/dev/null | grep '[.]conf$' | sort -u); do
    for place in etc usr/lib; do
        if [ -e $place/sysctl.d/$name ]; then cat $place/sysctl.d/$name; echo; break; fi
    done
done
"""


def assert_set(host: Host, wanted: Mapping[str, str]) -> None:
    """Hold that the boot leaves the parameters *wanted*: of several lines the last one counts."""
    found: dict[str, str] = {}
    for line in host.check_output(SYSCTL).splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.lstrip().startswith(("#", ";")):
            found[name.strip().lstrip("-").replace("/", ".")] = value.strip()
    assert {name: found.get(name, "unset") for name in wanted} == dict(wanted)


def denied(host: Host, module: str) -> bool:
    """Return whether modprobe runs something that fails in place of loading *module*."""
    lines = host.check_output("cat /etc/modprobe.d/*.conf").splitlines()
    return f"install {module} /bin/false" in lines and f"blacklist {module}" in lines


def command_line(host: Host) -> set[str]:
    """Return the options that images give the kernel."""
    return set(host.check_output("cat /etc/kernel/cmdline.d/*.conf").split())


def test_addresses_hidden(host: Host) -> None:
    assert_set(host, {"kernel.kptr_restrict": "2"})


def test_log_hidden(host: Host) -> None:
    assert_set(host, {"kernel.dmesg_restrict": "1"})


def test_address_randomisation(host: Host) -> None:
    assert_set(host, {"kernel.randomize_va_space": "2"})


def test_ptrace(host: Host) -> None:
    assert_set(host, {"kernel.yama.ptrace_scope": "1"})


def test_suid_dumps(host: Host) -> None:
    assert_set(host, {"fs.suid_dumpable": "0"})


def test_links(host: Host) -> None:
    assert_set(host, {"fs.protected_hardlinks": "1", "fs.protected_symlinks": "1"})


def test_shared_files(host: Host) -> None:
    assert_set(host, {"fs.protected_fifos": "2", "fs.protected_regular": "2"})


def test_line_disciplines(host: Host) -> None:
    assert_set(host, {"dev.tty.ldisc_autoload": "0"})


def test_no_kexec(host: Host) -> None:
    assert_set(host, {"kernel.kexec_load_disabled": "1"})


def test_panics(host: Host) -> None:
    assert_set(host, {"kernel.panic": "60", "kernel.panic_on_oops": "1"})


def test_perf(host: Host) -> None:
    assert_set(host, {"kernel.perf_event_paranoid": "3"})


def test_sysrq(host: Host) -> None:
    assert_set(host, {"kernel.sysrq": "0"})


def test_bpf(host: Host) -> None:
    assert_set(host, {"kernel.unprivileged_bpf_disabled": "1", "net.core.bpf_jit_harden": "2"})


def test_user_namespaces(host: Host) -> None:
    assert_set(host, {"kernel.unprivileged_userns_clone": "0"})


def test_null_pages(host: Host) -> None:
    assert_set(host, {"vm.mmap_min_addr": "65536"})


def test_userfaultfd(host: Host) -> None:
    assert_set(host, {"vm.unprivileged_userfaultfd": "0"})


def test_network_no_forwarding(host: Host) -> None:
    assert_set(
        host,
        {
            "net.ipv4.ip_forward": "0",
            "net.ipv4.conf.all.forwarding": "0",
            "net.ipv4.conf.default.forwarding": "0",
            "net.ipv6.conf.all.forwarding": "0",
            "net.ipv6.conf.default.forwarding": "0",
        },
    )


def test_network_no_redirects(host: Host) -> None:
    assert_set(
        host,
        {
            "net.ipv4.conf.all.accept_redirects": "0",
            "net.ipv4.conf.default.accept_redirects": "0",
            "net.ipv6.conf.all.accept_redirects": "0",
            "net.ipv6.conf.default.accept_redirects": "0",
        },
    )


def test_network_no_secure_redirects(host: Host) -> None:
    assert_set(
        host,
        {"net.ipv4.conf.all.secure_redirects": "0", "net.ipv4.conf.default.secure_redirects": "0"},
    )


def test_network_sends_no_redirects(host: Host) -> None:
    assert_set(
        host, {"net.ipv4.conf.all.send_redirects": "0", "net.ipv4.conf.default.send_redirects": "0"}
    )


def test_network_no_source_routes(host: Host) -> None:
    assert_set(
        host,
        {
            "net.ipv4.conf.all.accept_source_route": "0",
            "net.ipv4.conf.default.accept_source_route": "0",
            "net.ipv6.conf.all.accept_source_route": "0",
            "net.ipv6.conf.default.accept_source_route": "0",
        },
    )


def test_network_source_addresses(host: Host) -> None:
    assert_set(host, {"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.default.rp_filter": "1"})


def test_network_martians(host: Host) -> None:
    assert_set(
        host, {"net.ipv4.conf.all.log_martians": "1", "net.ipv4.conf.default.log_martians": "1"}
    )


def test_network_no_router_advertisements(host: Host) -> None:
    assert_set(host, {"net.ipv6.conf.all.accept_ra": "0", "net.ipv6.conf.default.accept_ra": "0"})


def test_network_no_loopback_routes(host: Host) -> None:
    assert_set(host, {"net.ipv4.conf.all.route_localnet": "0"})


def test_network_broadcast_echo(host: Host) -> None:
    assert_set(host, {"net.ipv4.icmp_echo_ignore_broadcasts": "1"})


def test_network_bogus_errors(host: Host) -> None:
    assert_set(host, {"net.ipv4.icmp_ignore_bogus_error_responses": "1"})


def test_network_syn_cookies(host: Host) -> None:
    assert_set(host, {"net.ipv4.tcp_syncookies": "1"})


def test_network_time_wait(host: Host) -> None:
    assert_set(host, {"net.ipv4.tcp_rfc1337": "1"})


def test_no_cramfs(host: Host) -> None:
    assert denied(host, "cramfs")


def test_no_freevxfs(host: Host) -> None:
    assert denied(host, "freevxfs")


def test_no_hfs(host: Host) -> None:
    assert denied(host, "hfs")


def test_no_hfsplus(host: Host) -> None:
    assert denied(host, "hfsplus")


def test_no_jffs2(host: Host) -> None:
    assert denied(host, "jffs2")


def test_no_usb_storage(host: Host) -> None:
    assert denied(host, "usb-storage")


def test_no_firewire_core(host: Host) -> None:
    assert denied(host, "firewire-core")


def test_no_atm(host: Host) -> None:
    assert denied(host, "atm")


def test_no_can(host: Host) -> None:
    assert denied(host, "can")


def test_no_dccp(host: Host) -> None:
    assert denied(host, "dccp")


def test_no_rds(host: Host) -> None:
    assert denied(host, "rds")


def test_no_sctp(host: Host) -> None:
    assert denied(host, "sctp")


def test_no_tipc(host: Host) -> None:
    assert denied(host, "tipc")


def test_command_line_apparmor(host: Host) -> None:
    assert {"apparmor=1", "security=apparmor"} <= command_line(host)


def test_command_line_audit(host: Host) -> None:
    assert {"audit=1", "audit_backlog_limit=8192"} <= command_line(host)


def test_command_line_debugfs(host: Host) -> None:
    assert {"debugfs=off"} <= command_line(host)


def test_command_line_memory(host: Host) -> None:
    assert {"init_on_alloc=1", "page_alloc.shuffle=1"} <= command_line(host)


def test_command_line_slabs(host: Host) -> None:
    assert {"slab_nomerge"} <= command_line(host)


def test_command_line_page_tables(host: Host) -> None:
    assert {"pti=on"} <= command_line(host)


def test_command_line_stacks(host: Host) -> None:
    assert {"randomize_kstack_offset=on"} <= command_line(host)


def test_command_line_vsyscall(host: Host) -> None:
    assert {"vsyscall=none"} <= command_line(host)


def test_network_parameters_are_set_again(host: Host) -> None:
    units = "/etc/systemd/system"
    unit = f"{units}/sysctl-reapply-network.service"
    wanted = host.check_output(f"readlink {units}/multi-user.target.wants/{PurePath(unit).name}")
    assert wanted == unit
    lines = host.check_output(f"cat {unit}").splitlines()
    assert "ExecStart=/usr/lib/systemd/systemd-sysctl --prefix=/net" in lines
