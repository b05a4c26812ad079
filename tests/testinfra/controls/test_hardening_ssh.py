# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening_ssh left, read as sshd and ssh do; they cannot be asked without a key."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

KEX = {"mlkem768x25519-sha256", "sntrup761x25519-sha512@openssh.com"}
CIPHERS = {"aes256-gcm@openssh.com", "aes256-ctr"}
MACS = {"hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com"}
KEYS = {"ssh-ed25519", "sk-ssh-ed25519@openssh.com", "rsa-sha2-512", "rsa-sha2-256"}
WARNING = "Authorized users only. All activity may be monitored and reported."


def server(host: Host, name: str) -> str:
    """Return the value that sshd takes for *name*: the first, by the order of its files."""
    return first(
        host, "cat $(ls /etc/ssh/sshd_config.d/*.conf 2>/dev/null) /etc/ssh/sshd_config", name
    )


def client(host: Host, name: str) -> str:
    """Return the value that ssh takes for *name*."""
    return first(host, "cat /etc/ssh/ssh_config.d/*.conf /etc/ssh/ssh_config", name)


def first(host: Host, command: str, name: str) -> str:
    holds = True  # within a block for some hosts only it does not
    for line in host.check_output(command).splitlines():
        key, _space, value = line.strip().partition(" ")
        if key.lower() in ("host", "match"):
            holds = value == "*"
        elif holds and key.lower() == name.lower():
            return str(value)
    return ""


def only(value: str, allowed: set[str]) -> bool:
    """Return whether *value* is a list of *allowed* names, their certificates included."""
    names = {name.replace("-cert-v01@openssh.com", "") for name in value.split(",") if name}
    plain = {name.removesuffix("@openssh.com") for name in allowed} | allowed
    return bool(names) and names <= plain


def greeting(host: Host, path: str) -> bool:
    """Return whether *path* is the warning and nothing else, and only root may change it."""
    status = host.check_output("stat -c '%%a %%U %%G' %s", path)
    return (host.check_output("cat %s", path).strip(), status) == (WARNING, "644 root root")


def test_key_exchange(host: Host) -> None:
    assert only(server(host, "KexAlgorithms"), KEX)


def test_ciphers(host: Host) -> None:
    assert only(server(host, "Ciphers"), CIPHERS)


def test_macs(host: Host) -> None:
    assert only(server(host, "MACs"), MACS)


def test_host_key_algorithms(host: Host) -> None:
    assert only(server(host, "HostKeyAlgorithms"), KEYS)


def test_user_key_algorithms(host: Host) -> None:
    assert only(server(host, "PubkeyAcceptedAlgorithms"), KEYS)


def test_rsa_size(host: Host) -> None:
    assert int(server(host, "RequiredRSASize") or 0) >= 3072


def test_no_root_login(host: Host) -> None:
    assert server(host, "PermitRootLogin") == "no"


def test_no_passwords(host: Host) -> None:
    assert server(host, "PasswordAuthentication") == "no"


def test_no_empty_passwords(host: Host) -> None:
    assert server(host, "PermitEmptyPasswords") == "no"


def test_who_may_log_in(host: Host) -> None:
    assert any(server(host, name) for name in ("AllowUsers", "AllowGroups", "DenyUsers"))


def test_no_host_based_login(host: Host) -> None:
    assert server(host, "HostbasedAuthentication") == "no"


def test_no_rhosts(host: Host) -> None:
    assert server(host, "IgnoreRhosts") == "yes"


def test_no_gssapi(host: Host) -> None:
    assert server(host, "GSSAPIAuthentication") == "no"


def test_pam(host: Host) -> None:
    assert server(host, "UsePAM") == "yes"


def test_no_user_environment(host: Host) -> None:
    assert server(host, "PermitUserEnvironment") == "no"


def test_no_forwarding(host: Host) -> None:
    assert server(host, "AllowTcpForwarding") == "no"


def test_no_agent_forwarding(host: Host) -> None:
    assert server(host, "AllowAgentForwarding") == "no"


def test_no_x11(host: Host) -> None:
    assert server(host, "X11Forwarding") == "no"


def test_log_level(host: Host) -> None:
    assert server(host, "LogLevel") in ("INFO", "VERBOSE")


def test_login_grace(host: Host) -> None:
    assert 0 < int(server(host, "LoginGraceTime") or 0) <= 60


def test_auth_tries(host: Host) -> None:
    assert 0 < int(server(host, "MaxAuthTries") or 0) <= 4


def test_max_sessions(host: Host) -> None:
    assert 0 < int(server(host, "MaxSessions") or 0) <= 10


def test_max_startups(host: Host) -> None:
    assert server(host, "MaxStartups") == "10:30:60"


def test_idle(host: Host) -> None:
    assert 0 < int(server(host, "ClientAliveInterval") or 0) <= 300


def test_idle_count(host: Host) -> None:
    assert 0 < int(server(host, "ClientAliveCountMax") or 0) <= 3


def test_banner(host: Host) -> None:
    assert server(host, "Banner") == "/etc/issue.net"


def test_no_version(host: Host) -> None:
    assert server(host, "DebianBanner") == "no"


def test_client_key_exchange(host: Host) -> None:
    assert only(client(host, "KexAlgorithms"), KEX)


def test_client_ciphers(host: Host) -> None:
    assert only(client(host, "Ciphers"), CIPHERS)


def test_client_macs(host: Host) -> None:
    assert only(client(host, "MACs"), MACS)


def test_client_host_keys(host: Host) -> None:
    assert only(client(host, "HostKeyAlgorithms"), KEYS)


def test_client_asks(host: Host) -> None:
    assert client(host, "StrictHostKeyChecking") in ("ask", "yes")


def test_client_no_agent(host: Host) -> None:
    assert client(host, "ForwardAgent") == "no"


def test_config_mode(host: Host) -> None:
    found = host.check_output("find /etc/ssh/sshd_config* -type f -printf '%m %u %g\\n'")
    assert set(found.splitlines()) == {"600 root root"}


def test_moduli(host: Host) -> None:
    lines = [line.split() for line in host.check_output("cut -c 1-60 /etc/ssh/moduli").splitlines()]
    sizes = [int(line[4]) for line in lines if line and line[0].isdigit()]
    assert sizes
    assert min(sizes) >= 3071  # the column is the bits less one


def test_no_shared_host_key(host: Host) -> None:
    assert host.check_output("find /etc/ssh /var/lib/ssh -name 'ssh_host_*' 2>/dev/null; :") == ""


def test_own_host_keys(host: Host) -> None:
    key = server(host, "HostKey")
    script = "/usr/local/lib/kiln/ssh-host-keys"
    assert host.run("test -x %s", script).rc == 0
    assert f"directory={key.rpartition('/')[0]}\n" in host.check_output("cat %s", script)


def test_own_host_keys_at_boot(host: Host) -> None:
    unit = "/etc/systemd/system/ssh.service.requires/kiln-ssh-host-keys.service"
    assert "Before=ssh.service" in host.run("cat %s", unit).stdout


def test_issue(host: Host) -> None:
    assert greeting(host, "/etc/issue")


def test_issue_net(host: Host) -> None:
    assert greeting(host, "/etc/issue.net")


def test_motd(host: Host) -> None:
    assert greeting(host, "/etc/motd")
