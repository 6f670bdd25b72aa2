# Every target is a line or two of cargo; `make help` lists them.

CARGO ?= cargo
# Suites make network namespaces, which needs root. Binaries are built by you and run through sudo where you are not root.
ifneq ($(shell id -u),0)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER = sudo -E
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER = sudo -E
endif
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: packages ## a node, pods and a client in namespaces: see it serve Services (under a minute after the build)
	$(CARGO) build --locked --release -p sluice-agent -p sluice-e2e --bin sluice-agent --bin sluice-demo
	$(if $(filter 0,$(shell id -u)),,sudo -E) target/release/sluice-demo --agent target/release/sluice-agent --manifests examples

# What takes long, mostly load for many minutes in an emulated machine: part of `make test` in CI, and where LONG=1 asks for it.
LONG ?= $(CI)
# What `make test` runs, in this order: part=target/minutes with everything built/minutes on a new machine, with what takes long. The whole may
# take 30 and 75. The longest one, whose suites have a second try, comes after the one that time may leave out.
TEST_PARTS := unit=test-unit/1/5 chart=test-chart/1/1 kernel=test-kernel/5/7 cluster=test-cluster/8/10 \
	kind=e2e-in-time/6/9 vm=test-vm/9/30 $(if $(LONG),kind-ipvs=e2e-vm-in-time/12/13)

.PHONY: test
test: packages vm-packages kube-packages kind-packages image-packages ## every suite, and what each part took beside its budget (LONG=1, as in CI: those too that take long)
	@MAKE='$(MAKE)' BUILT='$(TARGET)/debug/agent-under-test $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice' AHEAD=test-ahead e2e/setup/parts $(TEST_PARTS)

# On a new machine, what later parts are built of is compiled beside the first ones, which wait more than they work: Go keeps what it has compiled.
# runc needs C, and is built when its time comes. Packages are there by then: two cannot install at a time.
go-ahead = cd e2e/$(1) && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o /dev/null $(2)
.PHONY: test-ahead
test-ahead:
	-$(call go-ahead,control-plane,. tool)
	-$(call go-ahead,kind-programs,. $$(go list tool | grep -v runc))
	-$(MAKE) --no-print-directory image-programs

.PHONY: test-unit
test-unit: ## pure code and in-memory kernels: seconds when warm, no root
	$(CARGO) test --locked -p sluice-attachment -p sluice-api-access -p sluice-crds -p sluice-service-plan -p sluice-plan-input \
		-p sluice-kube-proxy-config
	$(CARGO) test --locked $(PROGRAMS) -p sluice-operator --lib $(addprefix --test ,$(SUITES_WITHOUT_KERNEL) rollout_simulation)

# Named together, so that cargo builds what they depend on once: other packages would mean other features.
PROGRAMS := -p sluice-kernel -p sluice-agent -p sluice-kubectl -p sluice-cni
SUITES_WITHOUT_KERNEL := plane_steps plane_switch manifests exec install
SUITES_WITH_KERNEL := $(filter-out $(SUITES_WITHOUT_KERNEL),$(foreach crate,kernel node-agent cni-plugin,\
	$(basename $(notdir $(wildcard $(crate)/tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard $(crate)/tests/*/main.rs)))))

# A helm of PATH that is new enough, else one built of its Go module, once.
HELM_VERSION := $(shell sed -n 's|^\thelm.sh/helm/v4 \(v[^ ]*\).*|\1|p' e2e/kind-programs/go.mod)
HELM_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice/helm/$(HELM_VERSION)
ifndef SLUICE_HELM
export SLUICE_HELM := $(shell helm version --template '{{.Version}}' 2>/dev/null | grep -q '^v4' && command -v helm || echo $(HELM_CACHE)/helm)
endif

.PHONY: helm
helm: kube-packages
	@[ -x "$(SLUICE_HELM)" ] || ! command -v go >/dev/null || CGO_ENABLED=0 go -C e2e/kind-programs build -trimpath -o $(HELM_CACHE)/helm \
		-ldflags '-s -w -X helm.sh/helm/v4/internal/version.version=$(HELM_VERSION)' helm.sh/helm/v4/cmd/helm

.PHONY: test-chart
test-chart: helm ## the Helm chart: renderings, refused values, its reference (no root)
	for values in charts/sluice/ci/*.yaml; do [ ! -x "$(SLUICE_HELM)" ] || $(SLUICE_HELM) lint --quiet --values $$values charts/sluice || exit 1; done
	env -u CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER -u CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER \
		$(CARGO) test --locked -p sluice-e2e --test helm_chart

.PHONY: test-kernel
test-kernel: export SLUICE_CNI = $(TARGET)/sluice-cni
test-kernel: packages runtime-packages cni ## doors, data plane, agent, CNI plugin (with containerd, built once) and packet suite on the real kernel, in namespaces of their own (root)
	$(CARGO) test --locked $(PROGRAMS) $(addprefix --test ,$(SUITES_WITH_KERNEL))
	$(CARGO) test --locked -p sluice-e2e --lib --bins --test '[!hkv]*' # helm_* is for test-chart, kube_* and knode_* for test-cluster, v* for test-vm

# Processes on loopback ports: no root, so no sudo.
.PHONY: test-cluster
test-cluster: packages kube-packages helm ## suites with a real API server, built once from Go modules (minutes); those with nodes need root
	env -u CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER -u CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER \
		$(CARGO) test --locked -p sluice-e2e --test 'kube_*' -- --nocapture --test-threads=4 # they wait more than they work
	$(CARGO) test --locked -p sluice-e2e --test 'knode_*' -- --nocapture

# Suites that need what the host's kernel may lack, as package/suite or package/suite/tests: each runs in a virtual machine of its own. The
# long ones come first.
VM_SUITES_LONG := $(addprefix sluice-e2e/,vmode_switch/round_trips::five_round_trips_with_local \
	vmode_switch/round_trips::five_round_trips_with_addresses faults change_under_load)
VM_SUITES := $(if $(LONG),$(VM_SUITES_LONG)) \
	$(addprefix sluice-e2e/,vmode_switch/kills vmode_switch/variants packets attach_chains/switches) \
	$(addprefix sluice-e2e/,vrolling vshort vmode_lack vpaths vforeign reversed_flows vstall) \
	sluice-kernel/ipvs sluice-kernel/links sluice-kernel/ports sluice-agent/ipvs_kernel sluice-agent/cli_ipvs sluice-agent/cli_ipvs_kube_proxy
# With a control plane and two processors: while another machine runs it takes many times as long.
VM_SUITES_ALONE_LONG := sluice-e2e/knode_cluster/every_node_of_a_pool sluice-e2e/knode_takeover/ipvs sluice-e2e/knode_peers/kube_proxy_does
VM_SUITES_ALONE := $(if $(LONG),$(VM_SUITES_ALONE_LONG))
# And on a kernel before 5.9, where it can be downloaded.
VM_SUITES_OLD_KERNEL := sluice-e2e/vstall
# Machines at a time; an emulated one keeps a core busy.
VM_GUESTS ?= 2
VM_TIMEOUT ?= 1800
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
SLUICE_VM := $(TARGET)/debug/sluice-vm
VM_AGAIN := $(TARGET)/vm-suites-to-run-again

# An emulated machine is as fast as its host lets it be at the moment, and suites with traffic feel it: one that fails is run once more, alone,
# and what it printed at first stays to be read.
.PHONY: test-vm
test-vm: vm-packages kube-packages vm-programs ## the VM lab, and in it the suites that need IPVS (emulated: no root, no KVM)
	env -u CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER $(CARGO) test --locked -p sluice-e2e --test vm_lab
	@rm -f $(VM_AGAIN)
	$(MAKE) --no-print-directory -j$(VM_GUESTS) --output-sync=target $(VM_SUITES:%=in-vm-at-first/%)
	$(if $(VM_SUITES_ALONE),$(MAKE) --no-print-directory $(VM_SUITES_ALONE:%=in-vm-at-first/%))
	$(MAKE) --no-print-directory test-vm-old-kernel
	@for suite in $$(cat $(VM_AGAIN) 2>/dev/null); do \
		echo "AGAIN, alone: $$suite"; $(MAKE) --no-print-directory in-vm/$$suite || exit 1; done
	@$(if $(LONG),:,echo 'SKIP: $(VM_SUITES_LONG) $(VM_SUITES_ALONE_LONG): they take long, and LONG=1 runs them' >&2)

.PHONY: vm-programs
vm-programs:
	$(CARGO) build --locked -p sluice-e2e --bin sluice-vm
	$(SLUICE_VM) prepare
	-$(CARGO) run --quiet --locked -p sluice-e2e --bin sluice-control-plane -- --prepare
	$(foreach suite,$(sort $(foreach name,$(VM_SUITES) $(VM_SUITES_ALONE),$(word 1,$(subst /, ,$(name)))/$(word 2,$(subst /, ,$(name))))),\
		$(CARGO) test --locked --no-run -p $(patsubst %/,%,$(dir $(suite))) --test $(notdir $(suite)) &&) true

on-old-kernel = $(MAKE) --no-print-directory SLUICE_VM_KERNEL=ubuntu-5.4
.PHONY: test-vm-old-kernel
test-vm-old-kernel:
	if $(SLUICE_VM) prepare --kernel ubuntu-5.4; \
	then for suite in $(VM_SUITES_OLD_KERNEL:%=in-vm/%); do $(on-old-kernel) $$suite || \
		{ echo "AGAIN, on an old kernel: $$suite"; $(on-old-kernel) $$suite || exit 1; }; done; \
	else echo 'SKIP: $(VM_SUITES_OLD_KERNEL) on an old kernel: it cannot be downloaded' >&2; fi

in-vm/% in-vm-at-first/%: export SLUICE_REQUIRE_IPVS = 1
in-vm/sluice-e2e/knode_% in-vm-at-first/sluice-e2e/knode_%: export SLUICE_VM_CPUS = 2
in-vm/sluice-e2e/knode_% in-vm-at-first/sluice-e2e/knode_%: export SLUICE_VM_MEMORY = 3072
in-vm/% in-vm-at-first/%: export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER = $(SLUICE_VM) run --timeout $(VM_TIMEOUT) --
test-in-vm = $(CARGO) test --locked -p $(word 1,$(subst /, ,$*)) --test $(word 2,$(subst /, ,$*)) -- --nocapture $(word 3,$(subst /, ,$*))
in-vm/%:
	$(test-in-vm)
in-vm-at-first/%:
	$(test-in-vm) || echo $* >> $(VM_AGAIN)

.PHONY: e2e
e2e: packages kube-packages kind-packages image-programs helm ## Sluice installed by Helm in a real cluster, made by kind (root); node image and programs are built once
	$(CARGO) test --locked -p sluice-e2e --test kind_suite

# SLUICE_E2E_UNTIL: seconds since 1970 after which it is too late to begin.
in-time = { [ -z "$(SLUICE_E2E_UNTIL)" ] || [ $$(($$(date +%s) - $(or $(1),0))) -le "$(SLUICE_E2E_UNTIL)" ]; }
.PHONY: e2e-in-time e2e-vm-in-time
e2e-in-time:
	@if $(call in-time); then $(MAKE) --no-print-directory e2e; else echo 'SKIP: the kind suite: too late to begin' >&2; fi
# As suites of the VM lab it has a second try, which may begin five minutes later.
e2e-vm-in-time:
	@if ! $(call in-time); then echo 'SKIP: the kind suite with IPVS: too late to begin' >&2; \
	else $(MAKE) --no-print-directory e2e-vm-smoke || { $(call in-time,300) && echo 'AGAIN: the kind suite with IPVS' && $(MAKE) --no-print-directory e2e-vm-smoke; }; fi

# In a virtual machine whose disk has the images: with IPVS, which the machine's own kernel may lack. What is cached is found where it is.
E2E_VM := $(SLUICE_VM) run --cpus 2 --memory 8192 --timeout $(VM_TIMEOUT) --modules br_netfilter,nf_conntrack \
	--share $(TARGET)/tmp/kind:$(TARGET)/tmp/kind:rw
e2e-in-vm = disk=$$($(if $(filter 0,$(shell id -u)),,sudo -E) $(TARGET)/debug/sluice-kind --disk) && \
	SLUICE_REQUIRE_IPVS=1 CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$(E2E_VM) --disk $$disk \
		--env XDG_CACHE_HOME=$(or $(XDG_CACHE_HOME),$(HOME)/.cache) --env SLUICE_KIND_NODE_IMAGE=build --" $(CARGO) test --locked -p sluice-e2e --test kind_suite -- $(1)

.PHONY: e2e-vm e2e-vm-smoke e2e-vm-programs
e2e-vm: e2e-vm-programs ## the kind suite's part with IPVS, in a virtual machine: 15 minutes with nothing beside it (root once, for the node image)
	$(call e2e-in-vm)
e2e-vm-smoke: e2e-vm-programs ## of that: installed, a pool in each mode, uninstalled; part of `make test`
	$(call e2e-in-vm,'one pool in IPVS mode')
e2e-vm-programs: packages vm-packages kube-packages kind-packages image-programs helm
	$(CARGO) test --locked --no-run -p sluice-e2e --test kind_suite
	$(SLUICE_VM) prepare
	mkdir -p $(TARGET)/tmp/kind

.PHONY: kind
kind: packages kube-packages kind-packages ## the cluster of `make e2e` without Sluice, to try things in; until Ctrl-C
	$(CARGO) build --locked -p sluice-e2e --bin sluice-kind
	$(if $(filter 0,$(shell id -u)),,sudo -E) $(TARGET)/debug/sluice-kind

.PHONY: bench bench-programs
bench: bench-iptables bench-attach bench-vm bench-cluster bench-cluster-vm ## tables, CSV and SVG in bench-out/: all benchmarks

bench-programs:
	$(CARGO) build --locked --release -p sluice-agent -p sluice-e2e --bin sluice-agent --bin sluice-bench

.PHONY: bench-iptables
bench-iptables: packages bench-programs ## sizes up to 20,000 services, bare iptables-restore as the measure
	$(if $(filter 0,$(shell id -u)),,sudo -E) target/release/sluice-bench --agent target/release/sluice-agent --out bench-out

.PHONY: bench-attach
bench-attach: packages bench-programs cni ## what the CNI plugin adds to a pod's attachment, among 20,000 services
	$(if $(filter 0,$(shell id -u)),,sudo -E) target/release/sluice-bench --plugin $(TARGET)/sluice-cni --agent target/release/sluice-agent

.PHONY: bench-cluster
bench-cluster: packages kube-packages bench-programs ## Sluice and kube-proxy by the same API server, up to 20,000 services; the operator with 5,000 nodes
	$(CARGO) build --locked --release -p sluice-operator
	$(if $(filter 0,$(shell id -u)),,sudo -E) target/release/sluice-bench --kube-proxy legacy,nft --agent target/release/sluice-agent --out bench-out
	target/release/sluice-bench --operator target/release/sluice-operator --agent target/release/sluice-agent

.PHONY: bench-vm
bench-vm: packages vm-packages bench-programs ## iptables and IPVS next to each other in a virtual machine, up to 50,000 services
	$(CARGO) build --locked -p sluice-e2e --bin sluice-vm
	mkdir -p bench-out/modes
	$(SLUICE_VM) run --memory 6144 --timeout 7200 --share $(abspath bench-out/modes):$(abspath bench-out/modes):rw -- \
		$(abspath target/release/sluice-bench) --modes --agent $(abspath target/release/sluice-agent) --out $(abspath bench-out/modes)

.PHONY: bench-cluster-vm
bench-cluster-vm: packages vm-packages kube-packages bench-programs ## Sluice and kube-proxy in IPVS mode by the same API server, in a virtual machine
	$(CARGO) build --locked -p sluice-e2e --bin sluice-vm
	$(CARGO) run --quiet --locked -p sluice-e2e --bin sluice-control-plane -- --prepare
	mkdir -p bench-out/cluster-ipvs
	$(SLUICE_VM) run --cpus 2 --memory 8192 --timeout 7200 --share $(abspath bench-out/cluster-ipvs):$(abspath bench-out/cluster-ipvs):rw -- \
		$(abspath target/release/sluice-bench) --kube-proxy ipvs --most-services 5000 --agent $(abspath target/release/sluice-agent) --out $(abspath bench-out/cluster-ipvs)

.PHONY: lint
lint: ## formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

.PHONY: deny
deny: ## licences, sources and duplicates of all crates, and their known faults (needs cargo-deny and the network)
	$(CARGO) deny --locked check licenses bans sources
	$(CARGO) deny --locked check advisories

.PHONY: crds
crds: ## write the definitions of the API group into the chart and their reference into docs, from the types
	$(CARGO) run --locked -p sluice-crds --example crd-yaml
	$(CARGO) run --locked -p sluice-crds --example api-reference

# kubectl finds it as `kubectl sluice` in any folder of PATH.
.PHONY: kubectl-plugin
kubectl-plugin: ## the plugin of kubectl as one static file: target/kubectl-sluice
	$(call static-build,plugin,sluice-kubectl) && cp $$built/kubectl-sluice $(TARGET)/kubectl-sluice

.PHONY: fmt
fmt: ## format the code
	$(CARGO) fmt --all

.PHONY: build
build: ## the release binaries
	$(CARGO) build --locked --release

# One file that needs nothing of the node: for musl, or with glibc in it where STATIC_TARGET says so. $(1) is the profile, $(2) are packages; `built`
# is then where their programs are. Paths of this machine are no part of a program.
STATIC_TARGET ?= $(shell uname -m)-unknown-linux-musl
static-library = [ -d "$$(rustc --target $(STATIC_TARGET) --print target-libdir)" ] || rustup target add $(STATIC_TARGET) || { echo "Rust's standard \
library for $(STATIC_TARGET) cannot be had: let rustup reach its server, or choose glibc by STATIC_TARGET=$(STATIC_TARGET:musl=gnu)" >&2; exit 2; }
REMAP := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=cargo --remap-path-prefix=$(CURDIR)=.
static-build = $(static-library); built=$(TARGET)/$(STATIC_TARGET)/$(1); RUSTFLAGS='$(REMAP) -C target-feature=+crt-static' \
	CARGO_PROFILE_RELEASE_STRIP=symbols $(CARGO) build --locked --profile $(1) --target $(STATIC_TARGET) $(2:%=-p %)

# A suite may run the one that is there: that is not written to, and only replaced by another one.
put = { cmp -s $(1) $(2) || { cp $(1) $(2).$$$$ && mv -f $(2).$$$$ $(2); }; }

.PHONY: cni
cni: ## the CNI plugin as one static file: target/sluice-cni
	$(call static-build,plugin,sluice-cni) && $(call put,$$built/sluice-cni,$(TARGET)/sluice-cni)

IMAGES := agent operator cni
IMAGE_VERSION = $(shell sed -n 's/^appVersion: *"*\([^"]*\)"*$$/\1/p' charts/sluice/Chart.yaml)
IMAGE_REGISTRY ?=
# The time of all that is in the images, and theirs: the commit's, so that who builds it again has the same.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
# Of the agent's image: any Debian.
IMAGE_BASE ?= debian:12-slim
DOCKER ?= docker

.PHONY: image-programs
# What did not change keeps its time, by which images are known.
image-programs: image-packages cni ## what images are built of: target/images/{agent,operator,cni}
	$(call static-build,release,sluice-agent sluice-operator) && \
		for program in agent operator; do install -C -D $$built/sluice-$$program $(TARGET)/images/$$program/sluice-$$program || exit 1; done
	install -C -D $(TARGET)/sluice-cni $(TARGET)/images/cni/sluice-cni
	install -C images/agent/collect $(TARGET)/images/agent/collect

# As an archive, since the files themselves keep the time of their last change.
image-context = tar --create --sort=name --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 --numeric-owner --mode=go-w \
	--directory images/$$image Containerfile --directory $(TARGET)/images/$$image .
.PHONY: images
images: image-programs ## the images, in the docker daemon (IMAGE_BASE, IMAGE_REGISTRY); without an image registry: make images IMAGE_BASE=sluice/base
	if [ $(IMAGE_BASE) = sluice/base ] && ! $(DOCKER) image inspect sluice/base >/dev/null 2>&1; then images/base/build sluice/base; fi
	for image in $(IMAGES); do $(image-context) | $(DOCKER) build --file Containerfile --tag $(IMAGE_REGISTRY:%=%/)sluice/$$image:$(IMAGE_VERSION) \
		--build-arg VERSION=$(IMAGE_VERSION) --build-arg REVISION=$$(git rev-parse HEAD) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
		$$([ $$image != agent ] || echo --build-arg BASE=$(IMAGE_BASE)) - || exit 1; done

.PHONY: packages
packages: ## install the programs that suites and demo need, where missing
	@e2e/setup/packages

.PHONY: vm-packages
vm-packages: ## and those that virtual machines need (45 MB)
	@e2e/setup/packages vm

.PHONY: kube-packages
kube-packages: ## and Go, for the API server, where the distribution's is new enough
	@e2e/setup/packages cluster

.PHONY: kind-packages
kind-packages: ## and those that clusters of kind need
	@e2e/setup/packages kind

.PHONY: image-packages
image-packages: ## and those that build static programs
	@e2e/setup/packages image

.PHONY: runtime-packages
runtime-packages: ## and Go, for containerd, where the distribution's is new enough
	@e2e/setup/packages runtime

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean
	rm -rf bench-out
