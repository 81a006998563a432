# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEBIAN_PACKAGES := systemd-container iproute2 util-linux mount bpftrace strace python3 python3-venv
DEMO_PACKAGES := redis-server
LARGER_PACKAGES := postgresql mosquitto mosquitto-clients unbound dns-root-data openssh-server openssh-client nodejs \
	python3-uvicorn python3-wsproto
TEST_PACKAGES := redis-server nginx curl openssl chromium nix-bin ansible-core \
	apache2 cron dbus mosquitto openssh-server rsyslog unbound
GUEST_PACKAGES := mmdebstrap qemu-system-x86 e2fsprogs

.DELETE_ON_ERROR:
.PHONY: setup demo flask-mongo test test-larger test-v2 test-v2-short test-quick lint bench bench-limits bench-fits bench-review clean help

help:
	@echo "make setup       Debian packages and a virtual environment with the command $(BIN)/harness"
	@echo "make demo        tunes Debian's redis-server from its stripped unit to a hardened drop-in"
	@echo "make flask-mongo Python packages of the scenario flask-mongo, beside it"
	@echo "make test        linters, types, and all tests, with real boots (root)"
	@echo "make test-larger the scenarios of postgresql, mosquitto, unbound, sshd, asgi and node"
	@echo "make test-v2     harness in a guest with Debian 13, systemd 257 and cgroup v2 alone (test-v2-short: the main parts)"
	@echo "make test-quick  the tests that need no root"
	@echo "make bench       trial overhead, search quality, 200 boots"
	@echo "make bench-review page, listing and index at size; a service changed on purpose; 50 kills (about an hour)"
	@echo "make bench-limits limits of real services beside two rules of thumb (about 15 minutes)"
	@echo "make bench-fits  how far ten whole fits of each of three services lie apart (about 30 minutes)"

setup: $(BIN)/.dev

# policy-rc.d: what is installed to be tuned must not start on this machine.
define install
	@missing=""; for p in $(1); do dpkg-query -W -f='$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then tools/apt-install $$missing; fi
endef

$(BIN)/.base: pyproject.toml constraints.txt
	$(call install,$(DEBIAN_PACKAGES))
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(BIN)/.dev: $(BIN)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Python packages of a scenario, from the package registry; machines are shown them. Debian's own Python runs them inside.
TREE := scenarios/trees/flask-mongo
flask-mongo: $(TREE).made
$(TREE).made: scenarios/flask-mongo/requirements.txt
	rm -rf $(TREE)
	mkdir -p $(TREE)
	/usr/bin/python3 -m venv $(TREE)/venv
	$(TREE)/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	chmod -R go+rX $(TREE)
	@touch $@

demo: $(BIN)/.base
	$(call install,$(DEMO_PACKAGES))
	$(BIN)/harness tune scenarios/redis.toml --only directives

lint: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(call install,$(TEST_PACKAGES))
	$(BIN)/pytest -n 3 --dist worksteal -m "not alone and not larger and not v2"
	$(BIN)/pytest -m "alone and not larger and not v2"

test-larger: lint flask-mongo
	$(call install,$(TEST_PACKAGES) $(LARGER_PACKAGES))
	$(BIN)/pytest -m larger

test-v2: $(BIN)/.dev
	$(call install,$(GUEST_PACKAGES))
	V2=all $(BIN)/pytest -m v2

test-v2-short: $(BIN)/.dev
	$(call install,$(GUEST_PACKAGES))
	$(BIN)/pytest -m v2

test-quick: lint
	$(BIN)/pytest -m "not boots and not larger and not v2"

bench: $(BIN)/.dev
	$(call install,$(TEST_PACKAGES))
	$(BIN)/python -m bench.search
	$(BIN)/python -m bench.trial
	$(BIN)/python -m bench.boots

bench-review: $(BIN)/.dev
	$(BIN)/python -m bench.review
	$(BIN)/python -m bench.changed
	KILLS=50 $(BIN)/pytest tests/cli/test_kills.py

bench-limits: $(BIN)/.dev
	$(call install,$(TEST_PACKAGES) postgresql python3-uvicorn python3-wsproto)
	$(BIN)/python -m bench.limits

bench-fits: $(BIN)/.dev
	$(BIN)/python -m bench.fits

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
