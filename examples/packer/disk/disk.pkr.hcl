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
  description = "A folder with meta-data, vendor-data and user-data, of which the last lets private_key in."
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
  disk_cache           = "unsafe" # a build that is interrupted begins anew
  boot_wait            = "1s"
  http_directory       = var.cloud_init
  output_directory     = var.output
  vm_name              = "server.qcow2"
  ssh_username         = "admin"
  ssh_private_key_file = var.private_key
  ssh_timeout          = "20m"
  # What cloud-init made of this one boot must be made anew at the next: the user, and who the machine is. A forced end
  # has the file systems unmounted, and nothing written at the last moment, such as a seed that all machines would share.
  shutdown_command = <<-EOT
    sudo sh -c '
      userdel --force --remove admin
      rm -rf /etc/sudoers.d/packer /etc/sudoers.d/90-cloud-init-users /etc/*- /root/.ssh/authorized_keys /usr/sbin/policy-rc.d
      rm -rf /var/lib/cloud /var/lib/ssh/ssh_host_* /var/lib/systemd/linger /var/lib/systemd/random-seed /var/lib/systemd/timers /var/log/journal/*
      chmod 755 /etc/sudoers.d
      : > /etc/machine-id
      systemctl poweroff --force
    '
  EOT
  qemuargs = [
    # Where the processor is translated, these would cost more than they give.
    ["-cpu", var.accelerator == "kvm" ? "host" : "max,la57=off,svm=off,aes=off,vaes=off,pclmulqdq=off"],
    ["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{.HTTPIP}}:{{.HTTPPort}}/"],
  ]
}

build {
  sources = ["source.qemu.server"]

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
}
