{{/* Parts of pods: the exporter's, and the test's. */}}

{{/* Flags that every command needs to see the same exporter. */}}
{{- define "rae.commonArgs" -}}
{{- if include "rae.hasConfig" . }}
- --config.file=/etc/remote-assistance-exporter/config.yaml
{{- end }}
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
{{- end }}

{{- define "rae.webConfigArg" -}}
{{- if include "rae.hasWebConfig" . }}
- --web.config.file=/run/remote-assistance-exporter/web/web.yml
{{- end }}
{{- end }}

{{/* What the probes show where a password or a certificate is asked for. */}}
{{- define "rae.healthcheckArg" -}}
{{- if .Values.web.healthcheck.existingSecret }}
- --healthcheck.config.file=/run/remote-assistance-exporter/healthcheck/{{ .Values.web.healthcheck.key }}
{{- end }}
{{- end }}

{{- define "rae.args" -}}
{{- if .Values.demo.enabled }}
- demo
- --demo.speed={{ .Values.demo.speed }}
{{- else }}
- serve
{{- end }}
{{- include "rae.commonArgs" . }}
- --storage.path=/var/lib/remote-assistance-exporter
- --web.listen-address=:{{ .Values.web.port }}
- --web.telemetry-path={{ .Values.web.telemetryPath }}
- --web.max-requests={{ .Values.web.maxRequests | int }}
{{- if .Values.web.enableLifecycle }}
- --web.enable-lifecycle
{{- end }}
{{- include "rae.webConfigArg" . }}
{{- if gt (int .Values.replicas) 1 }}
- --pod=$(POD_NAME)
- --total-shards={{ .Values.replicas | int }}
{{- end }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "rae.env" -}}
{{- if gt (int .Values.replicas) 1 }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- $identity := .Values.workloadIdentity }}
{{- if and $identity.enabled (eq $identity.method "projected") }}
- name: AZURE_FEDERATED_TOKEN_FILE
  value: /run/secrets/azure/tokens/azure-identity-token
{{- with $identity.clientId }}
- name: AZURE_CLIENT_ID
  value: {{ . | quote }}
{{- end }}
{{- with $identity.tenantId }}
- name: AZURE_TENANT_ID
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What is read: directories, never single files, since only those follow when a Secret changes. */}}
{{- define "rae.mounts" -}}
{{- if include "rae.hasConfig" . }}
- name: config
  mountPath: /etc/remote-assistance-exporter
  readOnly: true
{{- end }}
{{- range $index, $secret := .Values.existingSecrets }}
- name: secret-{{ $index }}
  mountPath: /run/secrets/remote-assistance-exporter/{{ $secret.name }}
  readOnly: true
{{- end }}
{{- if and .Values.workloadIdentity.enabled (eq .Values.workloadIdentity.method "projected") }}
- name: azure-identity-token
  mountPath: /run/secrets/azure/tokens
  readOnly: true
{{- end }}
{{- if include "rae.hasWebConfig" . }}
- name: web
  mountPath: /run/remote-assistance-exporter/web
  readOnly: true
{{- end }}
{{- if .Values.web.healthcheck.existingSecret }}
- name: healthcheck
  mountPath: /run/remote-assistance-exporter/healthcheck
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Readable to the group, which is that of fsGroup, and to nobody else. */}}
{{- define "rae.volumes" -}}
{{- if include "rae.hasConfig" . }}
- name: config
{{- $existing := .Values.existingConfig }}
{{- if and $existing.name (eq $existing.kind "Secret") }}
  secret:
    secretName: {{ $existing.name }}
    defaultMode: 0440
    items:
      - key: {{ $existing.key }}
        path: config.yaml
{{- else }}
  configMap:
    name: {{ default (include "rae.fullname" .) $existing.name }}
    {{- if $existing.name }}
    items:
      - key: {{ $existing.key }}
        path: config.yaml
    {{- end }}
{{- end }}
{{- end }}
{{- range $index, $secret := .Values.existingSecrets }}
- name: secret-{{ $index }}
  secret:
    secretName: {{ $secret.name }}
    defaultMode: 0440
    {{- with $secret.items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
{{- if and .Values.workloadIdentity.enabled (eq .Values.workloadIdentity.method "projected") }}
- name: azure-identity-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: {{ .Values.workloadIdentity.audience }}
          expirationSeconds: {{ .Values.workloadIdentity.tokenExpirationSeconds | int }}
          path: azure-identity-token
{{- end }}
{{- if include "rae.hasWebConfig" . }}
- name: web
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ default (printf "%s-web" (include "rae.fullname" .)) .Values.web.existingSecret }}
          items:
            - key: {{ if .Values.web.existingSecret }}{{ .Values.web.existingSecretKey }}{{ else }}web.yml{{ end }}
              path: web.yml
      {{- with .Values.web.tls.existingSecret }}
      - secret:
          name: {{ . }}
      {{- end }}
{{- end }}
{{- with .Values.web.healthcheck.existingSecret }}
- name: healthcheck
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* One probe. Takes root, path and probe. */}}
{{- define "rae.probe" -}}
{{- $root := .root }}
{{- $method := $root.Values.probes.method }}
{{- if eq $method "auto" }}
{{- $method = ternary "exec" "http" (eq (include "rae.hasWebConfig" $root) "true") }}
{{- end }}
{{- if eq $method "exec" -}}
exec:
  command:
    - /remote-assistance-exporter
    - healthcheck
    - --web.listen-address=:{{ $root.Values.web.port }}
    {{- $shown := include "rae.healthcheckArg" $root | trim }}
    {{- if or $shown (eq .path "/-/ready") }}
    - --healthcheck.url={{ include "rae.scheme" $root }}://127.0.0.1:{{ $root.Values.web.port }}{{ .path }}
    {{- end }}
    {{- /* Whoever shows something has to read the web configuration, which may have turned bad while the exporter goes on. */}}
    {{- with $shown | default (include "rae.webConfigArg" $root | trim) }}
    {{- . | nindent 4 }}
    {{- end }}
{{- else -}}
httpGet:
  path: {{ .path }}
  port: metrics
  scheme: {{ include "rae.scheme" $root | upper }}
{{- end }}
{{ toYaml .probe }}
{{- end }}
