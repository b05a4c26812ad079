#!/bin/sh
# For ansible-local: Ansible and the collection below /opt/kiln-build, which remove-ansible.sh takes away again.
#   COLLECTION  the collection's archive, as `ansible-galaxy collection build` made it
#   WHEELS      a folder with ansible-core and what it needs; empty to ask PyPI
set -eu
[ "$(id -u)" -eq 0 ] || exec sudo -E sh "$0" "$@"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 ANSIBLE_COLLECTIONS_PATH=/opt/kiln-build/collections
apt-get update -qq
apt-get install -qq --yes --no-install-recommends python3-apt python3-venv >/dev/null
python3 -m venv /opt/kiln-build
/opt/kiln-build/bin/pip install --quiet ${WHEELS:+--no-index --find-links "$WHEELS"} 'ansible-core>=2.19,<2.20'
# What the collection needs beside itself is for the machine that bakes, not for its roles.
/opt/kiln-build/bin/ansible-galaxy collection install --no-deps --offline -p /opt/kiln-build/collections "$COLLECTION" >/dev/null
rm -f "$COLLECTION"
# The provisioner calls this one: on a VM it is not root who is logged in.
cat >/opt/kiln-build/playbook <<'END'
#!/bin/sh
[ "$(id -u)" -eq 0 ] || exec sudo "$0" "$@"
export LC_ALL=C.UTF-8 ANSIBLE_COLLECTIONS_PATH=/opt/kiln-build/collections ANSIBLE_HOME=/opt/kiln-build/home
export ANSIBLE_PYTHON_INTERPRETER=/usr/bin/python3
exec /opt/kiln-build/bin/ansible-playbook "$@"
END
chmod 755 /opt/kiln-build/playbook
