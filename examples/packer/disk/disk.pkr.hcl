# A disk that a bake made, with `writable: true`, as the source of Packer's qemu builder; README.md says how it is run.

variable "disk" {
  type        = string
  description = "The disk, in the format qcow2: a file of this machine, or a URL."
}

variable "disk_checksum" {
  type        = string
  description = "Its digest, as SHA256SUMS beside a published disk has it: sha256:HEX."
}

variable "disk_size" {
  type        = string
  description = "Of the disk that is made; the root grows to its end at the first boot."
  default     = "4096M"
}

variable "cloud_init" {
  type        = string
  description = "A folder with meta-data and user-data, of which the latter lets private_key in."
  default     = "cloud-init"
}

variable "private_key" {
  type        = string
  description = "The key that Packer logs in with, of the type ed25519: not only Packer 1.6 has trouble with RSA."
  default     = "key"
}

variable "accelerator" {
  type        = string
  description = "Of QEMU: kvm, or tcg where there is none."
  default     = "kvm"
}

variable "ansible_playbook" {
  type    = string
  default = "ansible-playbook"
}

variable "output" {
  type        = string
  description = "The folder that the disk is written to; it must not be there yet."
  default     = "output"
}

source "qemu" "server" {
  disk_image           = true
  iso_url              = var.disk
  iso_checksum         = var.disk_checksum
  disk_size            = var.disk_size
  format               = "qcow2"
  accelerator          = var.accelerator
  headless             = true
  boot_wait            = "1s"
  http_directory       = var.cloud_init
  output_directory     = var.output
  vm_name              = "server.qcow2"
  ssh_username         = "admin"
  ssh_private_key_file = var.private_key
  ssh_timeout          = "20m"
  # What cloud-init made of this one boot must be made anew at the next: the user, and who the machine is.
  shutdown_command = "sudo sh -c 'cloud-init clean --logs --seed; userdel --force --remove admin; rm -f /etc/sudoers.d/packer /root/.ssh/authorized_keys; : > /etc/machine-id; rm -f /var/lib/ssh/ssh_host_*; systemctl poweroff'"
  qemuargs = [
    # Where the processor is translated, these would cost more than they give.
    ["-cpu", var.accelerator == "kvm" ? "host" : "max,la57=off,svm=off,aes=off,vaes=off,pclmulqdq=off"],
    ["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{.HTTPIP}}:{{.HTTPPort}}/"],
  ]
}

build {
  sources = ["source.qemu.server"]

  # Packages must not start their services in the machine that is built. The directory is what the lock of
  # hardening_packages lets pass. The role seal takes away what cloud-init lets its user do, and more is to be done then.
  provisioner "shell" {
    inline = [
      "echo 'admin ALL=(ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/packer > /dev/null",
      "sudo chmod 440 /etc/sudoers.d/packer",
      "sudo mkdir -p /run/kiln",
      "printf '#!/bin/sh\\nexit 101\\n' | sudo tee /usr/sbin/policy-rc.d > /dev/null",
      "sudo chmod 755 /usr/sbin/policy-rc.d",
    ]
  }

  provisioner "ansible" {
    command       = var.ansible_playbook
    playbook_file = "${path.root}/server.yml"
    user          = "admin"
    # Packer 1.6's own key is of a kind that OpenSSH takes only when told so, and its server knows scp's old protocol alone.
    extra_arguments = [
      "--ssh-extra-args=-o IdentitiesOnly=yes -o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedKeyTypes=+ssh-rsa",
      "--scp-extra-args=-O",
      "--become",
    ]
    ansible_env_vars = ["ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_SSH_TRANSFER_METHOD=scp", "ANSIBLE_PIPELINING=True"]
  }

  provisioner "shell" {
    inline = ["sudo rm -f /usr/sbin/policy-rc.d"]
  }
}
