# make        builds the site, makes the assignments, grades a sample class, and says where everything lies
# make test   runs every check
# Both set up what they need: a virtual environment in .venv and, where they may, packages of the system.

PYTHON ?= python3
EDITION ?= full
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export EDITION PYTHON
export PYTHONPATH := $(CURDIR)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# without this, tools that are started by name (jupyter, alembic, npm) would be those of the system
export PATH := $(CURDIR)/$(BIN):$(PATH)

SOURCES := $(shell find book solutions kernels autograder benchmarks -type f -not -name '*.pyc' -not -path '*/.*' 2>/dev/null)

SAMPLE := $(CURDIR)/_build/sample_course

.PHONY: all setup site pdf assignments class lab formgrader test lint machine-code bench-cpu bench-gpu bench-site clean

all: site assignments class
	@echo
	@echo "The site             $(CURDIR)/_build/html/index.html"
	@echo "The assignments      $(CURDIR)/course/release/"
	@echo "A sample class       $(SAMPLE)/submitted/"
	@echo "  its gradebook      $(SAMPLE)/gradebook.db"
	@echo "  its feedback       $(SAMPLE)/feedback/"
	@echo "  its reports        $(SAMPLE)/report/"
	@echo "Next                 make test, make lab, or $(BIN)/python -m autograder --help"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt .ci/system-packages
	@.ci/system-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@touch $@

site: _build/site-$(EDITION)

_build/site-$(EDITION): $(VENV)/.ready $(SOURCES) _config.yml _toc.yml
	$(BIN)/python book/_ext/install_katex.py
	$(BIN)/jupyter-book build -n -W --keep-going .
	@rm -f _build/site-*
	@touch $@

# Each chapter, each page of exercises and the whole book on paper, through Chromium: some minutes.
pdf: site
	$(BIN)/python -m book.pdf

# The course of a real class: what lies in submitted/ and in its gradebook is never touched.
assignments: course/.released

course/.released: $(VENV)/.ready $(SOURCES) _toc.yml
	@if [ -d course/submitted ]; then \
	  echo "course/ has submissions, so its assignments stay as they are: see python -m autograder release --help"; \
	else \
	  $(BIN)/python -m autograder build && $(BIN)/python -m autograder release; \
	fi
	@touch $@

class: $(SAMPLE)/.graded

$(SAMPLE)/.graded: $(VENV)/.ready $(SOURCES) _toc.yml tests/sample_class.py
	$(BIN)/python -m tests.sample_class $(SAMPLE)
	@touch $@

lab: assignments
	$(BIN)/jupyter lab --notebook-dir course/release

# JupyterLab for instructors: started here, it reads nbgrader_config.py, and Nbgrader > Formgrader opens course/.
formgrader: assignments
	$(BIN)/jupyter lab

# The exercise notebooks with their solutions, executed: what nbval runs again. course/ may belong to a class.
_build/exercises/.executed: $(VENV)/.ready $(SOURCES) _toc.yml
	@rm -rf _build/exercises && mkdir -p _build/exercises
	@$(BIN)/python -m autograder build --course _build/exercises/course
	@cd _build/exercises && cp -r course/source/. course/handout/. . && rm -r course
	$(BIN)/jupyter nbconvert --log-level=WARN --to notebook --execute --inplace _build/exercises/*/*.ipynb
	@touch $@

test: all lint _build/exercises/.executed
	$(BIN)/python -m pytest -n 2 --dist loadgroup
	$(BIN)/python -m pytest -c /dev/null --rootdir . -p no:cacheprovider -n 2 --dist loadfile --nbval --nbval-current-env _build/notebooks _build/exercises

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# What every kernel becomes on two GPUs: kernels/machine_code.json. No GPU is needed.
machine-code: $(VENV)/.ready
	TRITON_INTERPRET=1 $(BIN)/python -m tests.ahead_of_time

# Speed, into benchmarks/results/, from where the book shows it.
bench-cpu: $(VENV)/.ready
	$(BIN)/python -m benchmarks.cpu

# A machine with a GPU often has a torch and a triton of its own, and no network: they will do.
bench-gpu:
	@python3 -c "import rich, torch, triton" 2>/dev/null || $(MAKE) --no-print-directory setup
	@python3 -m benchmarks.gpu

# What each page of the site weighs, and how soon a reader sees it.
bench-site: site
	$(BIN)/python -m benchmarks.site

# course/ stays: it may hold the gradebook of a class.
clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache
