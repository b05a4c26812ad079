# make bake    bake the images that IMAGES defines (ARGS goes to ansible-playbook)
# make test    run every check (ONLY=unit,ruff selects; see docs/development.md)
# make lint    the static checks alone
# make bench   measure a bake against Packer (BENCH=NAME for another of tests/bench); see docs/performance.md
# make docs    write docs/hardening.md and the roles' READMEs anew from their data
# make lock    write the pinned requirements anew from requirements*.in
# make clean   remove what the above put into this checkout (not images, nor caches in the engine)

IMAGES ?= examples/images
ARGS ?=
ONLY ?=
BENCH ?= packer

# Tools expand ~; a user without HOME gets the one that the password file names.
export HOME := $(or $(HOME),$(shell getent passwd "$$(id -u)" | cut -d: -f6),/tmp)
export ANSIBLE_CONFIG ?= $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.collections$(if $(ANSIBLE_COLLECTIONS_PATH),:$(ANSIBLE_COLLECTIONS_PATH))

.DEFAULT_GOAL := help
.PHONY: help bake test lint bench docs lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

bake:
	@scripts/prepare bake && exec .venv/bin/ansible-playbook playbooks/bake.yml -e '{"kiln_images": "$(IMAGES)"}' $(ARGS)

test:
	@exec .ci/run $(if $(ONLY),--only '$(ONLY)')

lint:
	@exec .ci/run --only static

# Packer and its Ansible's docker connection are among what the tests need.
bench:
	@scripts/prepare test && PYTHONPATH=.collections exec .venv/bin/python -m tests.bench.$(BENCH) --write docs/performance.md $(ARGS)

# What role writers say once, in argument_specs and controls, is what people read.
docs:
	@scripts/prepare bake && PYTHONPATH=.collections exec .venv/bin/python scripts/documents.py

UV := .cache/uv/bin/uv
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --upgrade
$(UV):
	python3 -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv==0.13.8

lock: $(UV)
	$(COMPILE) --output-file requirements.txt requirements.in
	$(COMPILE) --constraint requirements.txt --output-file requirements-test.txt requirements-test.in
	$(COMPILE) --no-deps --output-file requirements-collections.txt requirements-collections.in

clean:
	rm -rf .venv .collections .cache .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis
