{{- define "stratarouter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "stratarouter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "stratarouter.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "stratarouter.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "stratarouter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stratarouter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "stratarouter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: stratarouter-runtime
{{ include "stratarouter.selectorLabels" . }}
{{- end -}}

{{- define "stratarouter.serviceAccountName" -}}
{{- default (include "stratarouter.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "stratarouter.leaseName" -}}
{{- include "stratarouter.fullname" . -}}
{{- end -}}

{{/* Arguments: image (repository, tag), root. */}}
{{- define "stratarouter.image" -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}

{{/* Whether the Prometheus Operator's objects can be made. Arguments: root, kind. */}}
{{- define "stratarouter.monitorable" -}}
{{- if or .root.Values.monitoring.force (.root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind)) -}}true{{- end -}}
{{- end -}}

{{/* What the operator may do where it serves resources: the calls of operator/stratarouter_operator, and no others. */}}
{{- define "stratarouter.rules" -}}
- apiGroups: [stratarouter.io]
  resources: [runtimeconfigs, providerpools]
  verbs: [get, list, watch]
- apiGroups: [stratarouter.io]
  resources: [runtimeconfigs/status, providerpools/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, create, patch, delete]
{{- end -}}
