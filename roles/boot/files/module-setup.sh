# dracut sources this file, and has set these variables.
# shellcheck shell=bash disable=SC2154

check() {
    return 0
}

depends() {
    echo systemd-initrd
}

install() {
    inst_multiple basename blkid cat chmod chown cp e2fsck mke2fs mkdir mkfs.ext4 mount mv partx readlink \
        resize2fs sfdisk sleep sync tr
    inst_simple /etc/mke2fs.conf
    inst_simple /etc/systemd/system.conf.d/60-kiln.conf
    inst_script "$moddir/kiln-state" /usr/lib/kiln/kiln-state
    inst_simple "$moddir/kiln-state.service" "$systemdsystemunitdir/kiln-state.service"
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target kiln-state.service
}
