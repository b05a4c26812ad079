#!/bin/sh
# After ansible-local: it cannot remove the Python that it runs on, so this does, and what dpkg and apt write meanwhile.
set -eu
[ "$(id -u)" -eq 0 ] || exec sudo -E sh "$0" "$@"
rm -rf /opt/kiln-build
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
logs=$(find /var/log -type f)
python=$(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' 'python3*' 'libpython3*' 'python-apt-common' 'python-pip-whl' 2>/dev/null | sed -n 's/ ii *$//p')
# The names are words of their own.
# shellcheck disable=SC2086
apt-get purge -qq --yes --auto-remove -o Dir::Log= -o DPkg::Options::=--log=/dev/null $python >/dev/null
find /var/log -type f | while read -r log; do
    case $logs in *"$log"*) ;; *) rm -f "$log" ;; esac
done
rm -rf /var/cache/apt/*.bin /var/lib/dpkg/*-old /var/cache/debconf/*-old /usr/lib/python3 /usr/local/lib/python3*
rm -f /usr/sbin/policy-rc.d
