{{/* What the schema cannot say: values that contradict each other. Each message ends with the remedy. */}}
{{- define "rae.validate" -}}
{{- $v := .Values }}
{{- if and $v.config $v.existingConfig.name }}
{{- fail "config and existingConfig.name: the configuration can come from one place only; empty one of them" }}
{{- end }}
{{- if $v.demo.enabled }}
{{- if or $v.config $v.existingConfig.name }}
{{- fail "demo.enabled: the demo has tenants of its own; empty config and existingConfig.name, or set demo.enabled to false" }}
{{- end }}
{{- if gt (int $v.replicas) 1 }}
{{- fail "replicas: the demo runs in one pod; set replicas to 1" }}
{{- end }}
{{- else if not (include "rae.hasConfig" .) }}
{{- $fromIdentity := and $v.workloadIdentity.enabled $v.workloadIdentity.clientId $v.workloadIdentity.tenantId }}
{{- $fromVariables := $v.extraEnvFrom }}
{{- range $v.extraEnv }}{{ if eq .name "AZURE_TENANT_ID" }}{{ $fromVariables = true }}{{ end }}{{ end }}
{{- if not (or $fromIdentity $fromVariables) }}
{{- fail "config: there is no tenant to poll; write tenants into config, name a ConfigMap or Secret in existingConfig.name, set workloadIdentity.enabled with clientId and tenantId for one tenant, or demo.enabled to try it out" }}
{{- end }}
{{- if gt (int $v.replicas) 1 }}
{{- fail "replicas: without a configuration there is one tenant, for one pod; set replicas to 1" }}
{{- end }}
{{- end }}
{{- include "rae.validateSecrets" . }}
{{- if and $v.persistence.existingClaim (gt (int $v.replicas) 1) }}
{{- fail "persistence.existingClaim: each of several pods has a ledger of its own; empty it, so that each gets a claim, or set replicas to 1" }}
{{- end }}
{{- include "rae.validateWeb" . }}
{{- if and $v.prometheusRule.enabled $v.monitor.enabled (not (contains "remote-assistance" (include "rae.jobName" .))) }}
{{- fail (printf "monitor.jobName: the alerts find targets by \"remote-assistance\" in the job's name, which %q lacks; set monitor.jobName to remote-assistance-exporter, say" (include "rae.jobName" .)) }}
{{- end }}
{{- if $v.podDisruptionBudget.enabled }}
{{- include "rae.validateBudget" . }}
{{- end }}
{{- include "rae.validateNames" . }}
{{- $identity := $v.workloadIdentity }}
{{- if and $identity.enabled (eq $identity.method "webhook") (not $v.serviceAccount.create) (or $identity.clientId $identity.tenantId) }}
{{- fail "workloadIdentity: Azure's webhook reads clientId and tenantId at the account, which serviceAccount.create: false leaves as it is; empty them and annotate the account yourself, or set workloadIdentity.method to projected" }}
{{- end }}
{{- end }}

{{/* A budget that lets no pod go keeps a node from being drained for ever. Without pods, as in a resize, it keeps none. */}}
{{- define "rae.validateBudget" -}}
{{- $replicas := int .Values.replicas }}
{{- $least := toString .Values.podDisruptionBudget.minAvailable }}
{{- if eq $least "" }}
{{- if eq (.Values.podDisruptionBudget.maxUnavailable | toString | trimSuffix "%" | int) 0 }}
{{- fail "podDisruptionBudget.maxUnavailable: with 0 no node could ever be drained; set it to 1" }}
{{- end }}
{{- else }}
{{- $pods := trimSuffix "%" $least | int }}
{{- if hasSuffix "%" $least }}
{{- /* Rounded up, as Kubernetes does. */}}
{{- $pods = div (add (mul $pods $replicas) 99) 100 | int }}
{{- end }}
{{- if and (gt $replicas 0) (ge $pods $replicas) }}
{{- fail (printf "podDisruptionBudget.minAvailable: with %s of %d pods no node could ever be drained; lower it, or empty it, and maxUnavailable applies" $least $replicas) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rae.validateNames" -}}
{{- $name := include "rae.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
{{- fail (printf "fullnameOverride: everything would be called %q, which a Service cannot be; give a name of small letters, digits and hyphens that begins with a letter" $name) }}
{{- end }}
{{- if has .Values.web.telemetryPath (list "/-/healthy" "/-/ready" "/-/reload" "/config" "/status") }}
{{- fail (printf "web.telemetryPath: %s is another page of the exporter; choose a path of the metrics' own, such as /metrics" .Values.web.telemetryPath) }}
{{- end }}
{{- $alerts := list }}
{{- range $path, $_ := .Files.Glob "files/rules/*.yml" }}
{{- range ($.Files.Get $path | fromYaml).groups }}
{{- range .rules }}{{ with .alert }}{{ $alerts = append $alerts . }}{{ end }}{{ end }}
{{- end }}
{{- end }}
{{- range .Values.prometheusRule.disabled }}
{{- if not (has . $alerts) }}
{{- fail (printf "prometheusRule.disabled: there is no alert %s; there are %s" . (sortAlpha $alerts | join ", ")) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rae.validateSecrets" -}}
{{- if kindIs "map" .Values.config }}
{{- $blocks := dict }}
{{- with .Values.config.global }}{{- $_ := set $blocks "config.global" . }}{{- end }}
{{- range $index, $tenant := .Values.config.tenants }}
{{- $_ := set $blocks (printf "config.tenants[%d]" $index) $tenant }}
{{- end }}
{{- range $place, $block := $blocks }}
{{- if hasKey (default dict $block.credential) "client_secret" }}
{{- fail (printf "%s.credential.client_secret: a ConfigMap is no place for a secret; put it into a Secret, name that in existingSecrets, and write client_secret_file: /run/secrets/remote-assistance-exporter/SECRET/KEY" $place) }}
{{- end }}
{{- if regexMatch "//[^/]*:[^/]*@" (default "" $block.proxy_url) }}
{{- fail (printf "%s.proxy_url: a ConfigMap is no place for a password; put the whole configuration into a Secret and name that in existingConfig" $place) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rae.validateWeb" -}}
{{- $web := .Values.web }}
{{- if $web.existingSecret }}
{{- if or $web.config $web.basicAuth.users $web.tls.config }}
{{- fail "web.existingSecret: it holds the whole web configuration; empty web.config, web.basicAuth.users and web.tls.config" }}
{{- end }}
{{- else }}
{{- if and $web.tls.enabled (not $web.tls.existingSecret) }}
{{- fail "web.tls.existingSecret: name the Secret with tls.crt and tls.key, such as one of cert-manager's, or set web.tls.enabled to false" }}
{{- end }}
{{- if and $web.basicAuth.enabled (not $web.basicAuth.users) }}
{{- fail "web.basicAuth.users: name a user with a bcrypt hash (htpasswd -nBC 10 NAME), or a Secret in web.existingSecret" }}
{{- end }}
{{- end }}
{{- if and $web.basicAuth.users (not $web.basicAuth.enabled) }}
{{- fail "web.basicAuth.users: set web.basicAuth.enabled to true, or nobody is asked for a password" }}
{{- end }}
{{- if and $web.tls.config (not $web.tls.enabled) }}
{{- fail "web.tls.config: set web.tls.enabled to true, or the exporter speaks plain HTTP" }}
{{- end }}
{{- range tuple "tls_server_config" "basic_auth_users" }}
{{- if hasKey $web.config . }}
{{- fail (printf "web.config.%s: write it into %s, so that probes and monitor know of it" . (ternary "web.tls.config" "web.basicAuth.users" (eq . "tls_server_config"))) }}
{{- end }}
{{- end }}
{{- $certificates := has (default "" $web.tls.config.client_auth_type) (list "RequireAnyClientCert" "RequireAndVerifyClientCert") }}
{{- if and (or $web.basicAuth.enabled $certificates) (not $web.healthcheck.existingSecret) }}
{{- fail "web.healthcheck.existingSecret: the probes need a user or certificate of their own; name a Secret with healthcheck.yml (docs/tls.md shows one)" }}
{{- end }}
{{- if and (eq .Values.probes.method "http") (or $web.basicAuth.enabled $certificates) }}
{{- fail "probes.method: the kubelet has no password and no certificate to show; set it to auto" }}
{{- end }}
{{- if and .Values.monitor.enabled $web.basicAuth.enabled (not .Values.monitor.basicAuthSecret.name) }}
{{- fail "monitor.basicAuthSecret.name: Prometheus needs a user; name a Secret with its name and password" }}
{{- end }}
{{- $elsewhere := not (has .Values.monitor.namespace (list "" (include "rae.namespace" .))) }}
{{- if and .Values.monitor.enabled $web.tls.enabled (not .Values.monitor.tlsConfig) (or $elsewhere (not $web.tls.existingSecret)) }}
{{- fail "monitor.tlsConfig: tell how Prometheus trusts the exporter, by a ca in the monitor's namespace" }}
{{- end }}
{{- if and .Values.monitor.enabled $certificates (not .Values.monitor.tlsConfig) }}
{{- fail "monitor.tlsConfig: Prometheus has to show a certificate; give cert, keySecret and ca" }}
{{- end }}
{{- end }}
