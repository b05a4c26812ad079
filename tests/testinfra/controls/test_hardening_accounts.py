# Copyright: (c) 2026, kiln.immutable contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role hardening_accounts left: accounts, passwords, su and sudo."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ansible://as_root"]

TMOUT = 'declare -rx TMOUT="900"'


def passwd(host: Host) -> list[list[str]]:
    """Return the accounts, each as its fields."""
    return [line.split(":") for line in host.check_output("cat /etc/passwd").splitlines()]


def shadow(host: Host) -> dict[str, list[str]]:
    """Return what is secret of the accounts, each as its fields."""
    lines = [line.split(":") for line in host.check_output("cat /etc/shadow").splitlines()]
    return {line[0]: line for line in lines}


def login_defs(host: Host, name: str) -> list[str]:
    """Return the values of *name* in login.defs."""
    lines = [line.split() for line in host.check_output("cat /etc/login.defs").splitlines()]
    return [line[1] for line in lines if len(line) > 1 and line[0] == name]


def settings(host: Host, name: str) -> list[str]:
    """Return the lines of a file in /etc/security."""
    lines: list[str] = host.check_output(f"cat /etc/security/{name}.conf").splitlines()
    return lines


def stack(host: Host, name: str) -> list[str]:
    """Return the modules of a stack of PAM, with one space between words."""
    lines = host.check_output(f"cat /etc/pam.d/common-{name}").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and line[0] != "#"]


def sudoers(host: Host) -> list[str]:
    """Return the lines of the rules of sudo."""
    lines: list[str] = host.check_output("cat /etc/sudoers.d/60-kiln").splitlines()
    return lines


def test_root_is_locked(host: Host) -> None:
    assert shadow(host)["root"][1].startswith(("!", "*"))


def test_system_accounts_have_no_shell(host: Host) -> None:
    shells = {line[6] for line in passwd(host) if 0 < int(line[2]) < 1000 or line[0] == "nobody"}
    assert {shell.rpartition("/")[2] for shell in shells} <= {"nologin", "false"}


def test_login_umask(host: Host) -> None:
    assert login_defs(host, "UMASK") == ["027"]


def test_login_hash(host: Host) -> None:
    assert login_defs(host, "ENCRYPT_METHOD") == ["YESCRYPT"]


def test_login_maximum_age(host: Host) -> None:
    assert login_defs(host, "PASS_MAX_DAYS") == ["365"]


def test_login_minimum_age(host: Host) -> None:
    assert login_defs(host, "PASS_MIN_DAYS") == ["1"]


def test_login_warning(host: Host) -> None:
    assert login_defs(host, "PASS_WARN_AGE") == ["7"]


def test_login_homes(host: Host) -> None:
    assert login_defs(host, "HOME_MODE") == ["0700"]


def test_login_logged(host: Host) -> None:
    assert login_defs(host, "LOG_OK_LOGINS") == ["yes"]


def test_unused_accounts_are_closed(host: Host) -> None:
    assert "INACTIVE=45" in host.check_output("cat /etc/default/useradd").splitlines()


def test_password_length(host: Host) -> None:
    assert "minlen = 14" in settings(host, "pwquality")


def test_password_classes(host: Host) -> None:
    assert "minclass = 4" in settings(host, "pwquality")


def test_password_digits(host: Host) -> None:
    assert "dcredit = -1" in settings(host, "pwquality")


def test_password_small_letters(host: Host) -> None:
    assert "lcredit = -1" in settings(host, "pwquality")


def test_password_signs(host: Host) -> None:
    assert "ocredit = -1" in settings(host, "pwquality")


def test_password_capitals(host: Host) -> None:
    assert "ucredit = -1" in settings(host, "pwquality")


def test_password_difference(host: Host) -> None:
    assert "difok = 2" in settings(host, "pwquality")


def test_password_repeats(host: Host) -> None:
    assert "maxrepeat = 3" in settings(host, "pwquality")


def test_password_sequences(host: Host) -> None:
    assert "maxsequence = 3" in settings(host, "pwquality")


def test_password_words(host: Host) -> None:
    assert "dictcheck = 1" in settings(host, "pwquality")


def test_password_names(host: Host) -> None:
    assert "usercheck = 1" in settings(host, "pwquality")


def test_password_enforced(host: Host) -> None:
    assert "enforcing = 1" in settings(host, "pwquality")


def test_password_enforced_for_root(host: Host) -> None:
    assert "enforce_for_root" in settings(host, "pwquality")


def test_pam_quality(host: Host) -> None:
    assert any("requisite pam_pwquality.so" in one for one in stack(host, "password"))


def test_pam_history(host: Host) -> None:
    assert any(
        "requisite pam_pwhistory.so remember=24 enforce_for_root" in one
        for one in stack(host, "password")
    )


def test_pam_lock(host: Host) -> None:
    assert any("required pam_faillock.so preauth" in one for one in stack(host, "auth"))


def test_pam_count(host: Host) -> None:
    assert any("[default=die] pam_faillock.so authfail" in one for one in stack(host, "auth"))


def test_pam_forget(host: Host) -> None:
    assert any("sufficient pam_faillock.so authsucc" in one for one in stack(host, "auth"))


def test_pam_lock_account(host: Host) -> None:
    assert any("required pam_faillock.so" in one for one in stack(host, "account"))


def test_pam_yescrypt(host: Host) -> None:
    assert any(
        "pam_unix.so obscure use_authtok try_first_pass yescrypt" in one
        for one in stack(host, "password")
    )


def test_empty_passwords_open_nothing(host: Host) -> None:
    lines = [line for part in ("auth", "password") for line in stack(host, part)]
    assert any("pam_unix.so" in line for line in lines)
    assert not any("nullok" in line for line in lines)
    assert not [name for name, fields in shadow(host).items() if not fields[1]]


def test_lock_failures(host: Host) -> None:
    assert "deny = 4" in settings(host, "faillock")


def test_lock_unlock(host: Host) -> None:
    assert "unlock_time = 900" in settings(host, "faillock")


def test_lock_interval(host: Host) -> None:
    assert "fail_interval = 900" in settings(host, "faillock")


def test_lock_audit(host: Host) -> None:
    assert "audit" in settings(host, "faillock")


def test_lock_silent(host: Host) -> None:
    assert "silent" in settings(host, "faillock")


def test_su_is_for_one_group(host: Host) -> None:
    lines = host.check_output("cat /etc/pam.d/su").splitlines()
    wheel = lines.index("auth required pam_wheel.so use_uid group=sugroup")
    assert wheel < lines.index("@include common-auth")


def test_nobody_is_in_the_group_of_su(host: Host) -> None:
    lines = host.check_output("cat /etc/group").splitlines()
    (members,) = [line.split(":")[3] for line in lines if line.startswith("sugroup:")]
    assert members == ""


def test_sudo_terminal(host: Host) -> None:
    assert "Defaults use_pty" in sudoers(host)


def test_sudo_log(host: Host) -> None:
    assert 'Defaults logfile="/var/log/sudo.log"' in sudoers(host)


def test_sudo_again(host: Host) -> None:
    assert "Defaults timestamp_timeout=15" in sudoers(host)


def test_sudo_umask(host: Host) -> None:
    assert "Defaults umask=0077" in sudoers(host)


def test_sudo_path(host: Host) -> None:
    assert "Defaults ignore_dot" in sudoers(host)


def test_sudo_rules_are_for_root(host: Host) -> None:
    assert host.check_output("stat -c '%%a %%U' %s", "/etc/sudoers.d/60-kiln") == "440 root"
    assert host.run("test -x /usr/bin/sudo").rc == 0


def test_idle_shells_end(host: Host) -> None:
    assert host.check_output("env -i bash -c '. /etc/profile; declare -p TMOUT'") == TMOUT
