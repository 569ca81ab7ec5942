# Weir. `make` lists what there is to make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Go may be missing from the PATH that sudo leaves.
GO := $(or $(shell command -v go),/usr/local/go/bin/go)
export GO
export PATH := $(dir $(GO)):$(PATH)

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
PROGRAMS := weir dpip ipvsadm keepalived weir-rs

# Two at a time: the tests drive real packets and are made for two cores.
P ?= 2
# How long a fuzz target runs, and how long a benchmark.
T ?= 30s
BENCHTIME ?= 1x
# What bench and fuzz look at.
PKG ?= ./...

TOOL := $(GO) tool -modfile=tools/go.mod
NEED := scripts/need.sh

# What runs how often on the walk, by which the compiler chooses what it inlines: `make profile`
# measures it. Only Weir's own packages are built by it, so that the rest stays in go build's
# cache. That cache knows a file given this way by its name alone, so the name has its sum.
PROFILE := cmd/weir/walk.pprof
PREPROFILE := $(CURDIR)/bin/profile/$(shell sha256sum $(PROFILE) | cut -c 1-16)
BY_PROFILE := -gcflags=weir/...=-pgoprofile=$(PREPROFILE)
FOR_DEMO := curl nginx-light
FOR_BENCH := iproute2 ethtool nftables
FOR_PEERS := $(FOR_BENCH) haproxy nginx-light libnginx-mod-stream iperf3
FOR_TEST := $(FOR_DEMO) iproute2 iputils-ping iputils-arping ethtool haproxy libnginx-mod-stream gcc libc6-dev python3 tcpdump tshark iperf3 dnsmasq-base dnsutils nftables clang llvm libbpf-dev protobuf-compiler ca-certificates user-mode-linux kmod net-tools traceroute keepalived frr openssh-server openssh-client
FOR_LONG := $(FOR_TEST) openvswitch-switch
FOR_RACE := $(FOR_TEST) gcc libc6-dev
FOR_GENERATE := clang llvm libbpf-dev protobuf-compiler ca-certificates

.PHONY: help
help:
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

.PHONY: build
build: $(PREPROFILE) ## the programs, into bin/
	@$(NEED) go
	CGO_ENABLED=0 $(GO) build -p $(P) -trimpath -buildvcs=false $(BY_PROFILE) -ldflags '$(LDFLAGS)' -o bin/ $(PROGRAMS:%=./cmd/%)

$(PREPROFILE): $(PROFILE)
	@$(NEED) go
	@rm -rf $(@D) && mkdir -p $(@D)
	$(GO) tool preprofile -i $< -o $@

.PHONY: profile
profile: ## measures by which profile the programs are built: rewrites cmd/weir/walk.pprof (root, a minute)
	@$(NEED) root go
	$(GO) build -trimpath -buildvcs=false -o bin/bench-profile ./bench
	bin/bench-profile new -reps 2 -sustain 4 -tcp 5 -linger 2 -kinds 0 -cpuprofile bin/new.pprof
	bin/bench-profile walk -flows 1,1000,100000 -reps 3 -packets 2097152 -tcp 0 -cpuprofile bin/walk.pprof
	$(GO) tool pprof -proto bin/bench-profile bin/new.pprof bin/walk.pprof >$(PROFILE)

.PHONY: demo
demo: ## full-NAT between network namespaces, with the tutorial's commands (root)
	@$(NEED) root go $(FOR_DEMO)
	@$(MAKE) --no-print-directory build
	bin/weir demo

.PHONY: test
test: ## everything that has to pass: vet, format, laws, unit and end-to-end tests (root)
	@$(NEED) root go $(FOR_TEST)
	@$(MAKE) --no-print-directory vet unit e2e

.PHONY: vet
vet: ## go vet and the format of the files
	@$(NEED) go
	$(GO) vet ./...
	@bad=$$(find . -name '*.go' -not -path './bin/*' -exec gofmt -l {} +); \
	[ -z "$$bad" ] || { echo "not in gofmt's format, run 'make fmt':" >&2; echo "$$bad" >&2; exit 1; }

.PHONY: unit
unit: ## the laws of the house and all tests beside the code (root)
	@$(NEED) root go keepalived
	$(GO) test -p $(P) -timeout 15m $$($(GO) list ./... | grep -v '^weir/e2e')

.PHONY: e2e
e2e: ## the real programs between network namespaces (root)
	@$(NEED) root go $(FOR_TEST)
	@$(MAKE) --no-print-directory build
	$(GO) test -count=1 -timeout 25m ./e2e/...

.PHONY: race
race: ## the tests beside the code under the race detector, in random order (root)
	@$(NEED) root go $(FOR_RACE)
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -p $(P) -timeout 30m ./internal/...

.PHONY: fuzz
fuzz: ## each fuzz target in turn, T=30s each (PKG=./internal/... for a part)
	@$(NEED) go
	@scripts/fuzz.sh $(T) $(PKG)

.PHONY: bench
bench: $(PREPROFILE) ## what a packet costs: the walk in memory, then veth beside Linux's own ways (root)
	@$(NEED) root go $(FOR_BENCH)
	$(GO) run $(BY_PROFILE) ./bench walk
	$(GO) run $(BY_PROFILE) ./bench veth

# Where what bench-peers measured is kept, for the next run to be compared with.
PEERS_RAW := docs/performance.json
.PHONY: bench-peers
bench-peers: $(PREPROFILE) ## Weir, Linux's own ways, HAProxy and nginx in one run of half an hour: rewrites docs/performance.md (root)
	@$(NEED) root go $(FOR_PEERS)
	@mkdir -p bin
	$(GO) build $(BY_PROFILE) -o bin/bench ./bench
	bin/bench peers -write . -raw $(PEERS_RAW) -against $(PEERS_RAW) $(PEERS)

.PHONY: benchmarks
benchmarks: ## the benchmarks beside the code, BENCHTIME=1x each (PKG=./internal/... for a part)
	@$(NEED) go
	$(GO) test -p 1 -run '^$$' -bench . -benchtime $(BENCHTIME) $(PKG)

.PHONY: fmt
fmt: ## write all Go files in the format that make vet asks for
	@$(NEED) go
	find . -name '*.go' -not -path './bin/*' -exec gofmt -l -w {} +

.PHONY: lint
lint: ## golangci-lint with .golangci.yml: none of make test, as it is fetched and built first
	@$(NEED) go
	GOMAXPROCS=$(P) $(TOOL) golangci-lint run --concurrency $(P)

.PHONY: vuln
vuln: ## known weaknesses in what the programs use (asks vuln.go.dev)
	@$(NEED) go
	$(TOOL) govulncheck ./...

.PHONY: generate
generate: ## code from the API's schema, C and the flow table's layout
	@$(NEED) go $(FOR_GENERATE)
	cd tools && $(GO) build -o ../bin/tools/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
	PATH=$(CURDIR)/bin/tools:$$PATH protoc -I api \
		--go_out=api --go_opt=paths=source_relative \
		--connect-go_out=api --connect-go_opt=paths=source_relative,package_suffix= \
		weirv1/director.proto
	$(GO) generate ./...

.PHONY: long
long: ## what does not fit into the 30 minutes of make test: the sections over bonds, Open vSwitch, forwarding by XDP, restarts, the peers' benchmark, a narrow tunnel (root)
	@$(NEED) root go $(FOR_LONG)
	@$(MAKE) --no-print-directory build
	$(GO) vet -tags long ./e2e ./bench
	$(GO) test -tags long -count=1 -timeout 10m -run 'TestPeers$$' ./bench
	WEIR_E2E_FULL=1 $(GO) test -tags long -count=1 -timeout 50m -run 'TestTraffic$$|TestBond(Keepalived|FullNAT|SNAT|OSPF|OpenVSwitch)$$|TestTunnelPathMTU|TestOffload|TestRestart' ./e2e

.PHONY: generate-check
generate-check: generate ## fails if generated files are not what make generate writes
	git diff --exit-code
	@new=$$(git ls-files --others --exclude-standard); [ -z "$$new" ] || { echo "generated, but not committed: $$new" >&2; exit 1; }

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
