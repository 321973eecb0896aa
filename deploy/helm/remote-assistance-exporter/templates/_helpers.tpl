{{/* Names, labels, and what more than one template needs. */}}

{{- define "rae.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-" }}
{{- end }}

{{/* A text of at most so many characters. What is cut has a hash of the whole, so that no two become one. Takes text and length. */}}
{{- define "rae.cut" -}}
{{- if le (len .text) .length }}
{{- .text }}
{{- else }}
{{- printf "%s-%s" (.text | trunc (int (sub .length 9)) | trimAll "-.") (.text | sha256sum | trunc 8) }}
{{- end }}
{{- end }}

{{/* A pod's name has the ordinal behind it, and a revision's hash is a label of it: both want room. */}}
{{- define "rae.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- include "rae.cut" (dict "text" .Values.fullnameOverride "length" 50) }}
{{- else if contains (include "rae.name" .) .Release.Name }}
{{- include "rae.cut" (dict "text" .Release.Name "length" 50) }}
{{- else }}
{{- $release := include "rae.cut" (dict "text" .Release.Name "length" 23) }}
{{- include "rae.cut" (dict "text" (printf "%s-%s" $release (include "rae.name" .)) "length" 50) }}
{{- end }}
{{- end }}

{{- define "rae.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "rae.selectorLabels" -}}
app.kubernetes.io/name: {{ include "rae.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: exporter
{{- end }}

{{- define "rae.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels of everything. The user's win, except over those that select. */}}
{{- define "rae.labels" -}}
{{- $own := dict "helm.sh/chart" (include "rae.chart" .) "app.kubernetes.io/managed-by" .Release.Service "app.kubernetes.io/version" (include "rae.version" .) }}
{{- mergeOverwrite $own (deepCopy .Values.commonLabels) (include "rae.selectorLabels" . | fromYaml) | toYaml }}
{{- end }}

{{/* A label has no room for what a tag may hold. */}}
{{- define "rae.version" -}}
{{- .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." }}
{{- end }}

{{/* Name, namespace, labels and annotations. Takes root, and maybe name, namespace, labels, annotations. */}}
{{- define "rae.metadata" -}}
{{- $root := .root -}}
name: {{ default (include "rae.fullname" $root) .name }}
namespace: {{ default (include "rae.namespace" $root) .namespace }}
labels:
  {{- mergeOverwrite (include "rae.labels" $root | fromYaml) (deepCopy (default dict .labels)) (include "rae.selectorLabels" $root | fromYaml) | toYaml | nindent 2 }}
{{- with mergeOverwrite (deepCopy $root.Values.commonAnnotations) (deepCopy (default dict .annotations)) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rae.image" -}}
{{- $image := .Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "rae.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "rae.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* What Azure's webhook reads at the account when a pod is made. */}}
{{- define "rae.identityAnnotations" -}}
{{- $annotations := dict }}
{{- $identity := .Values.workloadIdentity }}
{{- if and $identity.enabled (eq $identity.method "webhook") .Values.serviceAccount.create }}
{{- with $identity.clientId }}{{ $_ := set $annotations "azure.workload.identity/client-id" . }}{{ end }}
{{- with $identity.tenantId }}{{ $_ := set $annotations "azure.workload.identity/tenant-id" . }}{{ end }}
{{- $_ := set $annotations "azure.workload.identity/service-account-token-expiration" ($identity.tokenExpirationSeconds | int | toString) }}
{{- range $name, $value := .Values.serviceAccount.annotations }}
{{- if hasPrefix "azure.workload.identity/" $name }}{{ $_ := set $annotations $name $value }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $annotations }}
{{- end }}

{{/* Whether there is a configuration file; otherwise one tenant comes from the variables. */}}
{{- define "rae.hasConfig" -}}
{{- if and (not .Values.demo.enabled) (or .Values.config .Values.existingConfig.name) }}true{{ end }}
{{- end }}

{{- define "rae.hasWebConfig" -}}
{{- if or .Values.web.tls.enabled .Values.web.basicAuth.enabled .Values.web.config .Values.web.existingSecret }}true{{ end }}
{{- end }}

{{- define "rae.scheme" -}}
{{- if .Values.web.tls.enabled }}https{{ else }}http{{ end }}
{{- end }}

{{- define "rae.jobName" -}}
{{- default (include "rae.fullname" .) .Values.monitor.jobName }}
{{- end }}

{{/* The web configuration. Names in it are relative to its directory, where the certificate lies too. */}}
{{- define "rae.webConfig" -}}
{{- $config := deepCopy .Values.web.config }}
{{- if .Values.web.tls.enabled }}
{{- $_ := set $config "tls_server_config" (mergeOverwrite (dict "cert_file" "tls.crt" "key_file" "tls.key") (deepCopy .Values.web.tls.config)) }}
{{- end }}
{{- if .Values.web.basicAuth.enabled }}
{{- $_ := set $config "basic_auth_users" .Values.web.basicAuth.users }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* A metrics client's name for the exporter: where Prometheus and the test find it. */}}
{{- define "rae.host" -}}
{{ include "rae.fullname" . }}.{{ include "rae.namespace" . }}.svc
{{- end }}
