# The roles of this collection in a Packer template: three builders, each with both of Ansible's provisioners.
#
#   Packer 1.7 and newer:   packer init . && packer build -only='docker.*' .
#   Packer 1.6 (Debian 12): packer build -only=docker.remote image.pkr.hcl

variable "base_image" {
  type        = string
  description = "The docker image to start from: a Debian 12 or 13 with Python, held by the engine already."
  default     = "debian:bookworm"
}

variable "pull" {
  type        = bool
  description = "Whether base_image is pulled first."
  default     = true
}

variable "repository" {
  type        = string
  description = "Names of the docker images that are made: REPOSITORY-remote and REPOSITORY-local."
  default     = "packer-web"
}

variable "ansible_playbook" {
  type        = string
  description = "The ansible-playbook that the provisioner ansible calls on this machine."
  default     = "ansible-playbook"
}

variable "collection" {
  type        = string
  description = "For ansible-local: the collection's archive, made by ansible-galaxy collection build."
  default     = "kiln-immutable.tar.gz"
}

variable "wheels" {
  type        = string
  description = "For ansible-local in docker: a folder of this machine with ansible-core's wheels; empty to ask PyPI."
  default     = ""
}

variable "disk" {
  type        = string
  description = "For qemu: a Debian cloud image (generic, amd64) as a file or URL."
  default     = "debian-12-generic-amd64.qcow2"
}

variable "disk_checksum" {
  type        = string
  description = "For qemu: the digest of disk, such as sha512:HEX."
  default     = "none"
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

locals {
  # Packer 1.6's key is of a kind that OpenSSH takes only when told so, and its server knows scp's old protocol alone. Newer
  # ones do not mind.
  ssh_arguments = [
    "--ssh-extra-args=-o IdentitiesOnly=yes -o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedKeyTypes=+ssh-rsa",
    "--scp-extra-args=-O",
  ]
  ansible_variables = ["ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_SSH_TRANSFER_METHOD=scp"]
  docker_changes = [
    "USER www-data",
    "ENTRYPOINT [\"/usr/sbin/nginx\", \"-e\", \"stderr\", \"-g\", \"daemon off;\"]",
    "CMD []",
    "EXPOSE 8080",
    "HEALTHCHECK --interval=10s --timeout=3s --start-period=2s --retries=3 CMD [\"/usr/local/bin/nginx-healthcheck\"]",
  ]
  # As on a machine, /run is in memory: what is made there while Packer builds stays out of the image. So that nothing is
  # left of what is mounted, either, it is mounted where Debian has a directory for that (/mnt, /media).
  # The signal to stop by stays in it; no instruction for commit sets one.
  docker_run = ["-d", "-i", "-t", "--tmpfs=/run:exec", "--stop-signal=SIGQUIT", "--entrypoint=/bin/sh", "--", "{{.Image}}"]
  # The account that Packer logs in as must not be in the image.
  qemu_shutdown = "sudo sh -c 'userdel --force --remove packer; rm -f /etc/sudoers.d/packer; systemctl poweroff'"
}

source "docker" "remote" {
  image         = var.base_image
  pull          = var.pull
  commit        = true
  changes       = local.docker_changes
  run_command   = local.docker_run
  container_dir = "/mnt"
}

source "docker" "local" {
  image         = var.base_image
  pull          = var.pull
  commit        = true
  changes       = local.docker_changes
  run_command   = local.docker_run
  container_dir = "/mnt"
  volumes       = { for folder in compact([var.wheels]) : folder => "/media" }
}

source "qemu" "remote" {
  disk_image       = true
  iso_url          = var.disk
  iso_checksum     = var.disk_checksum
  format           = "qcow2"
  disk_size        = "8192M"
  headless         = true
  http_directory   = "cloud-init"
  qemuargs         = [["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{.HTTPIP}}:{{.HTTPPort}}/"]]
  ssh_username     = "packer"
  ssh_password     = "packer"
  ssh_timeout      = "10m"
  shutdown_command = local.qemu_shutdown
  output_directory = "output-qemu-remote"
}

source "qemu" "local" {
  disk_image       = true
  iso_url          = var.disk
  iso_checksum     = var.disk_checksum
  format           = "qcow2"
  disk_size        = "8192M"
  headless         = true
  http_directory   = "cloud-init"
  qemuargs         = [["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{.HTTPIP}}:{{.HTTPPort}}/"]]
  ssh_username     = "packer"
  ssh_password     = "packer"
  ssh_timeout      = "10m"
  shutdown_command = local.qemu_shutdown
  output_directory = "output-qemu-local"
}

source "amazon-ebs" "remote" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "admin"
  ami_name      = "kiln-server-remote-{{timestamp}}"
  # The key that Packer made for this machine.
  ssh_clear_authorized_keys = true
  # Debian's own account.
  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
}

source "amazon-ebs" "local" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "admin"
  ami_name      = "kiln-server-local-{{timestamp}}"
  # The key that Packer made for this machine.
  ssh_clear_authorized_keys = true
  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
}

build {
  sources = [
    "source.docker.remote",
    "source.docker.local",
    "source.qemu.remote",
    "source.qemu.local",
    "source.amazon-ebs.remote",
    "source.amazon-ebs.local",
  ]

  # Packages must not start their services in the machine that is built. The directory is what the lock of
  # hardening_packages lets pass. The role seal takes away what cloud-init lets its user do, and more is to be done then.
  provisioner "shell" {
    inline = [
      "if [ $(id -u) -eq 0 ]; then as=; else as=sudo; fi",
      "[ -z \"$as\" ] || echo \"$(id -un) ALL=(ALL) NOPASSWD: ALL\" | sudo tee /etc/sudoers.d/packer > /dev/null",
      "[ -z \"$as\" ] || sudo chmod 440 /etc/sudoers.d/packer",
      "$as mkdir -p /run/kiln",
      "printf '#!/bin/sh\\nexit 101\\n' | $as tee /usr/sbin/policy-rc.d > /dev/null",
      "$as chmod 755 /usr/sbin/policy-rc.d",
      "$as apt-get update -qq",
      "$as apt-get install -qq --yes --no-install-recommends python3 python3-apt > /dev/null",
    ]
  }

  # From this machine.

  provisioner "ansible" {
    only             = ["docker.remote"]
    command          = var.ansible_playbook
    playbook_file    = "${path.root}/web.yml"
    user             = "root"
    extra_arguments  = local.ssh_arguments
    ansible_env_vars = local.ansible_variables
  }

  provisioner "ansible" {
    only             = ["qemu.remote", "amazon-ebs.remote"]
    command          = var.ansible_playbook
    playbook_file    = "${path.root}/server.yml"
    extra_arguments  = concat(local.ssh_arguments, ["--become"])
    ansible_env_vars = local.ansible_variables
  }

  provisioner "shell" {
    only   = ["docker.remote", "qemu.remote", "amazon-ebs.remote"]
    inline = ["if [ $(id -u) -eq 0 ]; then as=; else as=sudo; fi", "$as rm -f /usr/sbin/policy-rc.d"]
  }

  # Inside of the machine that is built.

  provisioner "file" {
    only        = ["docker.local", "qemu.local", "amazon-ebs.local"]
    source      = var.collection
    destination = "/tmp/kiln-immutable.tar.gz"
  }

  provisioner "shell" {
    only             = ["docker.local", "qemu.local", "amazon-ebs.local"]
    environment_vars = ["COLLECTION=/tmp/kiln-immutable.tar.gz", "WHEELS=${var.wheels != "" ? "/media" : ""}"]
    script           = "${path.root}/install-ansible.sh"
  }

  provisioner "ansible-local" {
    only                    = ["docker.local"]
    command                 = "/opt/kiln-build/playbook"
    playbook_file           = "${path.root}/web.yml"
    playbook_dir            = path.root
    extra_arguments         = ["--extra-vars", "seal_python=keep"]
    clean_staging_directory = true
  }

  provisioner "ansible-local" {
    only                    = ["qemu.local", "amazon-ebs.local"]
    command                 = "/opt/kiln-build/playbook"
    playbook_file           = "${path.root}/server.yml"
    playbook_dir            = path.root
    clean_staging_directory = true
  }

  provisioner "shell" {
    only             = ["docker.local"]
    environment_vars = ["PYTHON=remove"]
    script           = "${path.root}/remove-ansible.sh"
  }

  provisioner "shell" {
    only             = ["qemu.local", "amazon-ebs.local"]
    environment_vars = ["PYTHON=keep"]
    script           = "${path.root}/remove-ansible.sh"
  }

  # The shutdown command of qemu does it there.
  provisioner "shell" {
    only   = ["amazon-ebs.remote", "amazon-ebs.local"]
    inline = ["sudo rm -f /etc/sudoers.d/packer"]
  }

  post-processor "docker-tag" {
    only       = ["docker.remote"]
    repository = "${var.repository}-remote"
  }

  post-processor "docker-tag" {
    only       = ["docker.local"]
    repository = "${var.repository}-local"
  }
}
