# make demo: from nothing to a judged run on three throwaway hosts. make test: everything that must hold.
# make help: the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
# Debian packages the lab and the tests need; on other systems, install what the lab asks for by hand.
PACKAGES := debian-archive-keyring debootstrap fuse3 gpgv iproute2 iptables nftables openssh-client systemd-container
export PATH := $(BIN):$(PATH)

.PHONY: help demo deploy lab test lint lint-types lint-ansible unit real-tests lab-tests soak-faults soak bench fuzz controls lies lock clean packages gofail-etcd gofail-packages

help:
	@echo "demo        install what is missing, build the lab, deploy, run scenarios/quick.yml"
	@echo "test        lint, unit tests, then tests with real agents, real etcd and real hosts"
	@echo "lint unit real-tests   parts of it"
	@echo "lab-tests   those on real hosts, with the few that deploy again and again"
	@echo "fuzz        checkers against a search through every order; FUZZ=100000 cases"
	@echo "soak-faults every fault in the lab, and SOAK=200 random compositions of them"
	@echo "controls    healthy etcd of each version under every load, with faults by signal; CONTROLS=50 rounds, VERSIONS"
	@echo "lies        every kind of lie, told to the checkers and to the whole tool on lab hosts"
	@echo "soak        MINUTES=60 of random faults on the lab: does anything grow?"
	@echo "bench       measure, each figure beside a control"
	@echo "gofail-etcd build an etcd with failpoints from Debian's sources, into the cache"
	@echo "lock        pin requirements/*.txt anew"
	@echo "clean       remove the lab, the virtual environment and caches; runs/ stays"

demo: deploy
	etcd-chaos run --inventory inventory/ --scenario quick
	@echo "The artefacts are in runs/latest. Again: etcd-chaos run --inventory inventory/ (in $(VENV)/bin); the end: make clean"

deploy: lab
	ansible-playbook playbooks/deploy.yml -i inventory/

lab: $(VENV)/controller.stamp packages
	etcd-chaos lab up

test: lint unit real-tests

# Types and playbooks take a minute each, on one core.
lint: $(VENV)/dev.stamp
	ruff check .
	ruff format --check .
	yamllint --strict .
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-types lint-ansible

lint-types:
	mypy

lint-ansible:
	ansible-lint

unit: $(VENV)/dev.stamp
	pytest -n auto tests/unit

# What go and gofail need; nothing of it is needed on hosts.
GOFAIL_PACKAGES := golang-go golang-etcd-server-dev golang-github-etcd-io-gofail golang-github-etcd-io-gofail-dev
gofail-etcd: $(VENV)/controller.stamp gofail-packages
	python -m tester.orchestration.gofail

# Where this machine cannot hold a lab, its tests are named as skipped, with the reason. What tests of members and agents
# mostly do is wait: three at once keep two processors busy.
real-tests: $(VENV)/dev.stamp packages gofail-etcd
	pytest --no-fold-skipped -n 3 --dist worksteal tests/etcd tests/agent
	$(LAB_TESTS) -m "not again"

lab-tests: $(VENV)/dev.stamp packages
	$(LAB_TESTS)

# A lab each: what tests mostly do is wait for hosts. Those that deploy again and again are in lab-tests alone.
LABS ?= 2
LAB_TESTS := pytest --no-fold-skipped -n $(LABS) --dist worksteal tests/lab

# 200 random compositions with a fixed seed, and every fault with whoever dies while it is held; half an hour.
SOAK ?= 200
soak-faults: $(VENV)/dev.stamp packages
	PYTHONUNBUFFERED=1 ETCD_CHAOS_SOAK=$(SOAK) pytest -s --no-fold-skipped tests/lab/test_every_fault.py tests/lab/test_fingerprint.py

# Memory, files and disk of tester and agents over an hour of random faults on the default lab.
MINUTES ?= 60
soak: deploy
	python -m benchmarks.soak --inventory inventory/ --minutes $(MINUTES)

bench: $(VENV)/dev.stamp packages
	python -m benchmarks.agent_rpc
	python -m benchmarks.channel
	python -m benchmarks.load
	python -m benchmarks.load_alone
	python -m benchmarks.disk
	python -m benchmarks.check
	python -m benchmarks.packet_queue
	python -m benchmarks.orchestration
	python -m benchmarks.faults

# Verdicts against a search through every order, on many small histories; minutes.
FUZZ ?= 100000
fuzz: $(VENV)/dev.stamp
	ETCD_CHAOS_FUZZ=$(FUZZ) pytest --timeout 7200 --hypothesis-show-statistics tests/unit/checkers/test_bruteforce.py

# A healthy etcd is never called a liar: every load, members killed and stopped, each version; minutes for each.
CONTROLS ?= 50
VERSIONS ?= oldest,3.5.0,3.5.1,trixie,newest
controls: $(VENV)/dev.stamp
	ETCD_CHAOS_VERSIONS=$(VERSIONS) ETCD_CHAOS_CONTROLS=$(CONTROLS) ETCD_CHAOS_ONLY=test_controls.py pytest -rP --timeout 3600 tests/etcd

# Every kind of lie told to the checkers on real members, and to the whole tool on lab hosts, to the exit code and what
# it means; most of an hour.
LIES ?= all
lies: $(VENV)/dev.stamp packages
	ETCD_CHAOS_LIES="$(LIES)" ETCD_CHAOS_ONLY=test_lies.py pytest --timeout 3600 tests/etcd
	ETCD_CHAOS_LIES="$(LIES)" pytest --no-fold-skipped tests/lab/test_lies.py

# What a machine adds to pip's settings for itself must not get into files that others install from.
LOCK := env --unset=PIP_FIND_LINKS --unset=PIP_EXTRA_INDEX_URL CUSTOM_COMPILE_COMMAND="make lock" \
	pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: $(VENV)/dev.stamp
	$(LOCK) --output-file=requirements/agent.txt requirements/agent.in
	$(LOCK) --output-file=requirements/controller.txt --constraint=requirements/agent.txt pyproject.toml
	$(LOCK) --output-file=requirements/load.txt requirements/load.in
	$(LOCK) --output-file=requirements/dev.txt requirements/dev.in

clean:
	if [ -x $(BIN)/etcd-chaos ]; then etcd-chaos lab down; fi
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# Debian packages that are missing, of $(1); the environment needs ensurepip besides.
define install
	@command -v dpkg-query >/dev/null || exit 0; \
	missing=$$(for package in $(1); do \
		dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	test -z "$$missing" || { \
		echo "Installing Debian packages:" $$missing; \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $$missing; \
	}
endef

packages:
	$(call install,$(PACKAGES))

# A target of its own: make goes to each target once, and by then packages has been there.
gofail-packages:
	$(call install,$(GOFAIL_PACKAGES))

# An environment that is there is used, unless its Python is gone or another one.
$(VENV)/controller.stamp: requirements/controller.txt pyproject.toml | packages
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
		|| { echo "Making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/controller.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/controller.stamp requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@touch $@
