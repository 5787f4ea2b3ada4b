# Each target sets up what it needs: Debian packages (deploy/packages.sh) and .venv.

PYTHON ?= python3
BIN := .venv/bin
# Images of Debian packages are built once; what a clone makes stays in the clone.
export SWARMLITE_IMAGE_CACHE ?= $(CURDIR)/.cache/images

# Without .pyc files each of a test's many processes would compile itself, as on no machine of a user.
unexport PYTHONDONTWRITEBYTECODE

# So many tests may need more than one try, and each so many tries: for a machine that is shared.
FLAKES ?= 0
TRIES ?= 2
LONGEST := tests/integration/ tests/cluster/ tests/testing/
CHAOS := $(addprefix tests/chaos/test_chaos_,$(addsuffix .py,managers nodes checkers processes leaders))
CHAOS_ALL = $(CHAOS) $(filter-out $(CHAOS),$(wildcard tests/chaos/test_*.py) $(shell grep -l mark.chaos tests/cluster/*.py))

.PHONY: help root venv demo test debian13 lint bench chaos soak engines clients deb packages vm-test stubs reference lock clean

help:
	@echo "make demo      three hosts on this machine, the voting example on them, a worker killed (root)"
	@echo "make test      lint, types and all tests (root)"
	@echo "make debian13  the same in a tree of Debian 13 (root, debootstrap)"
	@echo "make engines   the integration tests on hosts in Docker engines, ours and Debian's; builds beside it (root)"
	@echo "make clients   clients of npm, Ansible and compose, fetched once (root)"
	@echo "make deb       dist/swarmlite_VERSION_amd64.deb and _arm64.deb, for Debian 12 and 13"
	@echo "make packages  these, installed and upgraded in bare trees of both (root, debootstrap)"
	@echo "make vm-test   the package on three virtual machines with Debian's kernel (root, qemu)"
	@echo "make chaos     faults on real clusters, minutes (root)"
	@echo "make soak      the same, without end and with new seeds; SEED=N plays a round again (root)"
	@echo "make bench     against Docker's engine, in the same run (root)"
	@echo "make stubs     the protobuf stubs"
	@echo "make reference docs/reference, from the commands' own help"

root:
	@[ "$$(id -u)" = 0 ] || { echo "swarmlite makes namespaces: run this as root, or with sudo make" >&2; exit 1; }

# pip is asked only when what it would install has changed.
.venv/ready: pyproject.toml requirements.lock
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check -r requirements.lock 2>&1 | grep -v '^WARNING' || true
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps -e . 2>&1 | grep -v '^WARNING' || true
	@$(BIN)/python -c 'import grpc, swarmlite'
	@touch $@

venv: .venv/ready

demo: root
	@deploy/packages.sh run test
	@$(MAKE) --no-print-directory venv
	@$(BIN)/python -m swarmlite.testing.demo

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: root
	@deploy/packages.sh run test
	@$(MAKE) --no-print-directory lint
	@touch .venv/started
	@# Tests that pass only at a further try fail the run: more than FLAKES besides known_flakes.txt.
	@# Clusters wait, the rest computes: three at once take all of two cores. The longest begin.
	$(BIN)/python -m swarmlite.testing.retry --allow $(FLAKES) --tries $(TRIES) --durations=20 --durations-min=3 \
		--at-once 3 $(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/[!_.]*/ tests/test_*.py))
	@# pytest keeps its scratch folders; those of this run, which passed, are of no more use.
	@if cd /tmp/pytest-of-root 2>/dev/null; then \
		find . -mindepth 1 -maxdepth 1 -newer $(CURDIR)/.venv/started -exec rm -rf {} +; \
		cd /tmp; rmdir --ignore-fail-on-non-empty pytest-of-root; fi

# In a tree of Debian 13, on a host of another release.
debian13: root
	deploy/debian13.sh make test

# Faults until an invariant is violated or somebody ends it, and 5,000 short containers: each round has a seed
# of its own, and SEED=N is the first one's.
soak: root
	@deploy/packages.sh run test
	@$(MAKE) --no-print-directory venv
	$(BIN)/python -m swarmlite.testing.soak $(if $(SEED),--seed $(SEED)) --at-once 3 -m "chaos or soak" \
		$(CHAOS_ALL) tests/runtime/test_soak.py

chaos: root
	@deploy/packages.sh run test
	@$(MAKE) --no-print-directory venv
	@# Each file has clusters of its own, which mostly wait: three at once, the longest first.
	$(BIN)/python -m swarmlite.testing.retry --tries 1 --at-once 3 -m chaos --durations=12 --durations-min=1 \
		$(CHAOS_ALL)

# Minutes an engine: the same tests as on namespaces, with every command through its API.
engines: root
	@deploy/packages.sh run test bench
	@$(MAKE) --no-print-directory venv
	$(BIN)/python -m pytest -m engines tests/testing tests/build/test_beside_docker.py
	SWARMLITE_TEST_CLUSTER=swarmlite $(BIN)/python -m pytest tests/integration
	SWARMLITE_TEST_CLUSTER=dockerd $(BIN)/python -m pytest tests/integration

# Hundreds of MB from the registries of npm and Python, once; SWARMLITE_CLIENT_CACHE keeps them.
clients: root
	@deploy/packages.sh run test
	@$(MAKE) --no-print-directory venv
	$(BIN)/python -m pytest -m clients tests/clients tests/integration/test_docker_command_line.py

deb:
	deploy/deb/build.sh

packages: root
	@deploy/packages.sh run test debian13
	@$(MAKE) --no-print-directory venv
	$(BIN)/python -m pytest -m packages tests/packages

# A gigabyte of disk for the machines' image, once; emulated where there is no KVM.
vm-test: root
	@deploy/packages.sh run test vm
	@$(MAKE) --no-print-directory venv
	$(BIN)/python -m pytest -m vm tests/vm

bench: root
	@deploy/packages.sh run test bench
	@$(MAKE) --no-print-directory venv
	$(BIN)/python -m benchmarks

stubs: venv
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m swarmlite.proto.generate

reference: venv
	$(BIN)/python -m swarmlite.cli.reference docs/reference

# The newest versions within the ranges of pyproject.toml, and just what these need.
lock:
	@rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install -q --disable-pip-version-check --upgrade setuptools -e '.[dev]'
	.cache/lock/bin/pip freeze --all --exclude-editable | grep -v '^pip==' > requirements.lock
	@rm -rf .cache/lock

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
