#!/bin/sh
# After ansible-local, which cannot remove what it runs on.
#   PYTHON  remove, or keep where something else needs it
set -eu
[ "$(id -u)" -eq 0 ] || exec sudo -E sh "$0" "$@"
rm -rf /opt/kiln-build /tmp/packer-provisioner-ansible-local
if [ "$PYTHON" = remove ]; then
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
    tooling=$(dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' 'python3*' 'libpython3*' 'python-apt-common' 2>/dev/null | sed -n 's/ ii *$//p')
    # The names are words of their own.
    # shellcheck disable=SC2086
    packages=$(apt-get --simulate --quiet=2 -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dir::Log::Planner=/dev/null \
        --auto-remove purge $tooling | sed -n 's/^Purg \([^ ]*\).*/\1/p')
    # As the seal does where it runs from outside: the list is complete, so dpkg will do, and apt logs nothing.
    # shellcheck disable=SC2086
    dpkg --purge $packages >/dev/null
    rm -rf /usr/lib/python3 /usr/local/lib/python3*
    rm -f /var/log/dpkg.log /var/log/alternatives.log /var/cache/ldconfig/aux-cache /var/cache/apt/archives/lock /var/cache/apt/*.bin \
        /var/lib/dpkg/*-old /var/cache/debconf/*-old
fi
rm -f /usr/sbin/policy-rc.d
