#!/bin/sh
# Make the image that scenarios start from: a minimal Debian of SUITE with the Python that Ansible needs.
#   base_image.sh SUITE IMAGE
# KILN_MOLECULE_CACHE names a directory whose SUITE.tar is used when it is there, and made when it is not, so
# that engines which start empty need no new bootstrap.
set -eu
suite=$1
image=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cache=${KILN_MOLECULE_CACHE:-$work}
tar=$cache/$suite.tar
mkdir -p "$cache"
if [ ! -f "$tar" ]; then
    # Unpacked in memory where this may mount something: on a disk it takes twice as long.
    mkdir "$work/root"
    chmod 755 "$work"
    set -- mmdebstrap --quiet --variant=minbase --include=python3,python3-apt "$suite" "$work/partial.tar"
    if unshare --mount true 2>/dev/null; then
        # shellcheck disable=SC2016  # for the shell that unshare starts
        set -- unshare --mount sh -c 'mount -t tmpfs kiln "$0" && export TMPDIR="$0"; exec "$@"' "$work/root" "$@"
    fi
    "$@"
    mv "$work/partial.tar" "$tar"
fi
# Packages must not start services in a container that only stands in for a build host.
mkdir -p "$work/usr/sbin"
printf '#!/bin/sh\nexit 101\n' >"$work/usr/sbin/policy-rc.d"
chmod 755 "$work/usr/sbin/policy-rc.d"
docker import --message "base for Molecule scenarios" "$tar" "$image" >/dev/null
container=$(docker create "$image" true)
docker cp "$work/usr/sbin/policy-rc.d" "$container:/usr/sbin/policy-rc.d"
docker commit "$container" "$image" >/dev/null
docker rm "$container" >/dev/null
