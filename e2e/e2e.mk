# Images, and the whole product on a real cluster. Every command that differs between clusters is a variable; the
# defaults are Docker's and kind's. Included by the Makefile.
#
#   make e2e                                   creates a kind cluster, and deletes it when all tests passed
#   KUBECONFIG=... make e2e                    uses that cluster; IMAGE_LOAD must then get an image into it
#   make e2e E2E_ARGS="-k rotated -x"          some tests
KUBECTL ?= kubectl
HELM    ?= helm
KIND    ?= kind
E2E_CLUSTER ?= stratarouter-e2e

TAG ?= dev
OPERATOR_IMAGE  ?= stratarouter/operator:$(TAG)
DATAPLANE_IMAGE ?= stratarouter/dataplane:$(TAG)
E2E_IMAGE       ?= stratarouter/e2e:$(TAG)

# $(1): image, $(2): Dockerfile; the context is the repository's root.
IMAGE_BUILD ?= docker build --quiet --tag $(1) --file $(2) .
# $(1): image.
IMAGE_LOAD  ?= $(KIND) load docker-image --name $(E2E_CLUSTER) $(1)

ifdef KUBECONFIG
E2E_CREATE ?= true
E2E_DELETE ?= true
else
E2E_CREATE ?= $(KIND) get clusters | grep -qx $(E2E_CLUSTER) || $(KIND) create cluster --name $(E2E_CLUSTER) --wait 120s
E2E_DELETE ?= $(KIND) delete cluster --name $(E2E_CLUSTER)
e2e: export KUBECONFIG := $(CURDIR)/.build/e2e/kubeconfig
endif

# A Prometheus that takes ServiceMonitors and PrometheusRules with the label E2E_MONITOR_LABEL; it evaluates often, so
# that alerts can be waited for.
E2E_PROMETHEUS ?= $(HELM) upgrade --install kube-prometheus-stack kube-prometheus-stack \
  --repo https://prometheus-community.github.io/helm-charts --namespace monitoring --create-namespace --wait --timeout 10m \
  --set grafana.enabled=false,alertmanager.enabled=false,nodeExporter.enabled=false,kubeStateMetrics.enabled=false \
  --set defaultRules.create=false,prometheus.prometheusSpec.evaluationInterval=2s
E2E_PROMETHEUS_SERVICE ?= monitoring/kube-prometheus-stack-prometheus:9090
E2E_MONITOR_LABEL      ?= release=kube-prometheus-stack
# A manifest with a Service `redis` and a Secret `redis` that has its URL; applied to each namespace that needs one.
E2E_REDIS ?= examples/kubernetes/05-redis.yaml
E2E_ARGS  ?=

.PHONY: images e2e
images: ## build the operator's and the data plane's image
	$(call IMAGE_BUILD,$(OPERATOR_IMAGE),operator/Dockerfile)
	$(call IMAGE_BUILD,$(DATAPLANE_IMAGE),dataplane/Dockerfile)

e2e: $(READY) ## the whole product on a real cluster: KUBECONFIG's, else a new one of kind
	@mkdir -p .build/e2e
	$(E2E_CREATE)
	$(call IMAGE_BUILD,$(OPERATOR_IMAGE),operator/Dockerfile)
	$(call IMAGE_LOAD,$(OPERATOR_IMAGE))
	$(call IMAGE_BUILD,$(DATAPLANE_IMAGE),dataplane/Dockerfile)
	$(call IMAGE_LOAD,$(DATAPLANE_IMAGE))
	$(call IMAGE_BUILD,$(E2E_IMAGE),e2e/Dockerfile)
	$(call IMAGE_LOAD,$(E2E_IMAGE))
	$(E2E_PROMETHEUS)
	HELM=$(HELM) $(BIN)/python -m pytest -q tests/chart
	# Before the chart is installed: its operator would take care of these tests' objects, too.
	KUBECTL=$(KUBECTL) STRATA_TEST_KUBECONFIG=$$KUBECONFIG $(BIN)/python -m pytest -q --timeout=300 tests/integration/operator
	KUBECTL=$(KUBECTL) HELM=$(HELM) OPERATOR_IMAGE=$(OPERATOR_IMAGE) DATAPLANE_IMAGE=$(DATAPLANE_IMAGE) \
	  E2E_IMAGE=$(E2E_IMAGE) E2E_REDIS=$(E2E_REDIS) E2E_PROMETHEUS_SERVICE=$(E2E_PROMETHEUS_SERVICE) \
	  E2E_MONITOR_LABEL=$(E2E_MONITOR_LABEL) PYTHONPATH=e2e \
	  $(BIN)/python -m pytest e2e -v -s --durations=15 --timeout=900 $(E2E_ARGS)
	$(E2E_DELETE)
