# dracut sources this file, and has set these variables.
# shellcheck shell=bash disable=SC2154

check() {
    return 0
}

depends() {
    return 0
}

install() {
    inst_script "$moddir/init" /init
    inst_script "$moddir/kiln-state" /usr/lib/kiln/kiln-state
    inst_multiple blkid chmod chown cp e2fsck findfs mke2fs mkdir mkfs.ext4 modprobe mount mv partx readlink \
        resize2fs sfdisk sleep switch_root sync udevadm veritysetup
    inst_simple /etc/mke2fs.conf
    # For those who name a disk by a link that udev makes.
    inst_multiple -o /lib/systemd/systemd-udevd /usr/lib/systemd/systemd-udevd /lib/udev/ata_id /lib/udev/scsi_id
    inst_rules 60-persistent-storage.rules
}
