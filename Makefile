# Regularization You Can Run. `make book` builds the site and `make test` runs every test, on a machine that has
# only make and Python 3.11 to 3.13: every target first makes the environment .venv if it is not there.
#
#   PYTHON=python3.12   the Python to make it with       LOCK=no   newest versions instead of requirements.lock
#   NAMES="dropout"     only these chapters (notebooks)  FORCE=1   execute unchanged chapters too (notebooks)
#   PORT=8000           where `make serve` serves        JOBS=2    how many tests and chapters run at once

PYTHON ?= .venv/bin/python python3 python3.13 python3.12 python3.11
PORT ?= 8000
JOBS ?= 2
TORCH = torch==2.13.0

export LOCK
# One BLAS thread: with more, the small products of this book are slower. Without .pyc files kernels start slowly.
export OPENBLAS_NUM_THREADS = 1
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME

RUN = .venv/bin/python -m
BOOTSTRAP = @for python in $(PYTHON); do \
	if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	then exec $$python lib/bookbuild/bootstrap.py $(1); fi; done; \
	echo "Python 3.11, 3.12 or 3.13 is needed; tried: $(PYTHON). Name yours: make ... PYTHON=/path/to/python3.12" >&2; \
	exit 1

.DEFAULT_GOAL = help
.PHONY: help env book serve test check notebooks lab machines bench lint torch ci-torch lock clean

help: ## show this list
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1	\2/p' Makefile | expand -t 14

env: ## only make the environment .venv
	$(call BOOTSTRAP)

book: env ## build the site into _build/html (nothing to do when nothing changed)
	@$(RUN) bookbuild.build

serve: book ## build the site and serve it on http://localhost:8000 (PORT=...)
	@echo "http://localhost:$(PORT)/ - stop with Ctrl-C"
	@$(RUN) http.server $(PORT) --bind 127.0.0.1 --directory _build/html

test: env $(if $(CI),ci-torch) ## run every test, and every chapter against its stored outputs
	@$(RUN) pytest -n $(JOBS) --durations 12 tests chapters

check: env ## do the notebooks belong to their sources? (executes nothing)
	@$(RUN) bookbuild.execute --check $(NAMES)

notebooks: env ## execute the chapters that changed (NAMES="..." FORCE=1)
	@$(RUN) bookbuild.execute --jobs $(JOBS) $(if $(FORCE),--force) $(NAMES)

lab: env ## open the chapters in JupyterLab, ready to run
	@cd chapters && ../.venv/bin/jupyter lab

machines: env ## run every notebook as on other processors, with one and two threads
	@$(RUN) bookbuild.machines

bench: env ## measure the library against its rivals
	@$(RUN) bookbuild.bench

lint: env ## check the style and the types of the Python code
	@.venv/bin/ruff check lib tests
	@.venv/bin/ruff format --check lib tests
	@.venv/bin/mypy

# On Linux the plain package is the CUDA build, of several GB. The CPU build is not on PyPI:
#   make torch PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
torch: env ## install PyTorch (CPU build), a third opinion in the tests
	@$(RUN) pip --disable-pip-version-check install --quiet "$(TORCH)$(if $(filter Linux,$(shell uname -s)),+cpu)"

ci-torch: env
	@$(MAKE) --no-print-directory torch || echo "notice: no CPU build of PyTorch to be had; its tests will be skipped"

lock: ## write requirements.lock anew (remove it first to move to the newest versions)
	$(call BOOTSTRAP,lock)

clean: ## remove what was built; the environment .venv stays
	rm -rf _build .pytest_cache .hypothesis .ruff_cache
