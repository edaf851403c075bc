# The same commands as in CONTRIBUTING.md. CI runs .ci/run, which does more.
GOLANGCI_VERSION := v2.15.0
BIN              := $(CURDIR)/bin
FUZZTIME         ?= 20s
BENCH            ?= .
PKG              ?= ./...

.PHONY: build test race lint fmt bench fuzz cover replay ci clean

build: ## one static binary in bin/
	CGO_ENABLED=0 go build -trimpath -o $(BIN)/gatewatch ./cmd/gatewatch

test:
	go test ./...

race:
	go test -race -shuffle=on ./...

lint: $(BIN)/golangci-lint-$(GOLANGCI_VERSION)
	$(BIN)/golangci-lint-$(GOLANGCI_VERSION) run ./...

fmt: $(BIN)/golangci-lint-$(GOLANGCI_VERSION)
	$(BIN)/golangci-lint-$(GOLANGCI_VERSION) fmt ./...

$(BIN)/golangci-lint-$(GOLANGCI_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(BIN)/golangci-lint $@

bench:
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

fuzz: ## each fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

cover:
	go test -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -n 1

replay: build ## the shipped attack hour
	$(BIN)/gatewatch replay testdata/attack-hour.log.gz

ci:
	.ci/run

clean:
	rm -rf $(BIN) coverage.out
