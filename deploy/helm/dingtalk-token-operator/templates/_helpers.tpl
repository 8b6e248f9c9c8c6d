{{/*
The name of the chart, which nameOverride replaces.
*/}}
{{- define "dingtalk-token-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
The name of the objects: the release's, with the chart's unless it has that already. A Service's name has
at most 63 characters, and ours ends with -metrics.
*/}}
{{- define "dingtalk-token-operator.fullname" -}}
{{- $name := include "dingtalk-token-operator.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 55 | trimSuffix "-" }}
{{- end }}

{{/*
The labels of the selectors. A Deployment's selector cannot be changed: neither may these.
*/}}
{{- define "dingtalk-token-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dingtalk-token-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/*
The labels of a pod: none that changes with the chart's version alone.
*/}}
{{- define "dingtalk-token-operator.podLabels" -}}
{{- $labels := dict "app.kubernetes.io/part-of" "dingtalk-token-operator" }}
{{- $selector := include "dingtalk-token-operator.selectorLabels" . | fromYaml }}
{{- mergeOverwrite $labels .Values.commonLabels .Values.podLabels $selector | toYaml }}
{{- end }}

{{/*
The labels of an object. Takes the root, and labels that only this object has.
*/}}
{{- define "dingtalk-token-operator.labelsWith" -}}
{{- $root := index . 0 }}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/part-of" "dingtalk-token-operator"
}}
{{- $selector := include "dingtalk-token-operator.selectorLabels" $root | fromYaml }}
{{- mergeOverwrite $labels $root.Values.commonLabels (index . 1) $selector | toYaml }}
{{- end }}

{{- define "dingtalk-token-operator.labels" -}}
{{- include "dingtalk-token-operator.labelsWith" (list . dict) }}
{{- end }}

{{- define "dingtalk-token-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "dingtalk-token-operator.fullname" .) }}
{{- else }}
{{- required "serviceAccount.create is false: name an account in serviceAccount.name" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/*
The subject of every binding.
*/}}
{{- define "dingtalk-token-operator.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "dingtalk-token-operator.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{/*
The image. Nothing can be pulled from .invalid (RFC 2606), so nobody else's image runs by default.
*/}}
{{- define "dingtalk-token-operator.image" -}}
{{- $image := .Values.image }}
{{- $path := $image.repository | default "dingtalk-token-operator" }}
{{- $unnamed := printf "dingtalk-token-operator.invalid/%s" $path }}
{{- $name := $image.repository | default $unnamed }}
{{- if $image.registry }}{{ $name = printf "%s/%s" $image.registry $path }}{{ end }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name ($image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/*
The TCP ports of what the operator calls, as a JSON array: the API server, DingTalk, or what the proxy
and the sites' URLs name.
*/}}
{{- define "dingtalk-token-operator.egressPorts" -}}
{{- $ports := list 443 (int .Values.apiServerPort) }}
{{- range prepend (values .Values.sites | sortAlpha) .Values.proxy.httpsProxy }}
{{- if . }}
{{- $url := urlParse . }}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) }}
{{- $ports = append $ports ($port | default (ternary 80 443 (eq $url.scheme "http")) | int) }}
{{- end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}

{{/*
What the operator may do in a namespace that it serves. Each rule says what fails without it.
*/}}
{{- define "dingtalk-token-operator.rules" -}}
# Apps and references: without list and watch, none is seen.
- apiGroups: [dingtalk-token-operator.github.io]
  resources: [dingtalkapps, dingtalktokenreferences]
  verbs: [list, watch]
# Their status: without patch, it stays empty.
- apiGroups: [dingtalk-token-operator.github.io]
  resources: [dingtalkapps/status, dingtalktokenreferences/status]
  verbs: [patch]
# Secrets: list and watch notice changes (only metadata is asked for, but the right is to
# contents); get reads credentials; create and patch write targets; delete replaces an immutable
# target, and removes a former one.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
# Namespaces: without get, a namespace cannot be compared by its UID with the one that a grant was
# given to, and no reference gets a copy. In a Role it is a right over its own namespace.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
# Events: without create, there are none.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/*
Binds a role to the operator's account. Takes the root, the role's kind and name, and a namespace, or "" for
all of them.
*/}}
{{- define "dingtalk-token-operator.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ ternary "RoleBinding" "ClusterRoleBinding" (ne .namespace "") }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "dingtalk-token-operator.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
{{ include "dingtalk-token-operator.subjects" .root }}
{{- end }}

{{/*
The namespaces in which a right that not everybody wants is granted, by the role's name, as JSON.
*/}}
{{- define "dingtalk-token-operator.optIns" -}}
{{- $fullname := include "dingtalk-token-operator.fullname" . }}
{{- dict
  (printf "%s-rollout-restart" $fullname) .Values.rolloutRestart.namespaces
  (printf "%s-immediate-propagation" $fullname) .Values.immediatePropagation.namespaces
  | toJson }}
{{- end }}
