"""What the chart makes of values: a table of what it does, and one of what it refuses."""

import json
import unittest

import yaml
from tools import CHART, HELM_4, MINIMAL, NAMESPACE, chart, exporter, find, run, template

TENANT = "config: {tenants: [{name: contoso}]}\n"


def pod(objects):
    return find(objects, "StatefulSet")["spec"]["template"]


def environment(objects):
    return {one["name"]: one.get("value", "by reference") for one in exporter(objects).get("env", [])}


def volume(name):
    return lambda objects: next((one for one in pod(objects)["spec"]["volumes"] if one["name"] == name), None)


def kinds(objects):
    return {one["kind"] for one in objects}


def alerts(objects):
    return {rule["alert"]: rule for group in find(objects, "PrometheusRule")["spec"]["groups"] for rule in group["rules"] if "alert" in rule}


def probe(name):
    return lambda objects: exporter(objects)[f"{name}Probe"]


PROBES = ("startup", "liveness", "readiness")


def asked(name):
    """What a probe asks, if it says so."""
    flag = "--healthcheck.url="
    return lambda objects: next((one.removeprefix(flag) for one in probe(name)(objects)["exec"]["command"] if one.startswith(flag)), None)


def endpoint(objects):
    monitor = next(one for one in objects if one["kind"] in ("ServiceMonitor", "PodMonitor"))
    return (monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"])[0]


def relabelled(label):
    return lambda objects: next((one.get("replacement", one.get("sourceLabels")) for one in endpoint(objects)["relabelings"] if one.get("targetLabel") == label), None)


DIGEST = "sha256:" + "ab" * 32
HASH = "$2y$10$" + "a" * 53
TLS = "web: {tls: {enabled: true, existingSecret: exporter-tls}}\n"
AUTH = f"web: {{basicAuth: {{enabled: true, users: {{p: {HASH}}}}}, healthcheck: {{existingSecret: probe}}}}\n"
# A web configuration of one's own, of which the chart knows that it has TLS and wants a password.
SHOWN = "web: {port: 9443, existingSecret: exporter-web, tls: {enabled: true}, basicAuth: {enabled: true}, healthcheck: {existingSecret: probe}}\n"
IDENTITY = "workloadIdentity: {enabled: true, clientId: 66666666-7777-8888-9999-000000000000, tenantId: contoso.example"

# Values, what to look at, and what has to be there.
EXPECTED = [
    # Images.
    ("image: {registry: r.example/x/}", lambda o: exporter(o)["image"], "r.example/x/remote-assistance-exporter:0.1.0"),
    ("image: {tag: '2'}", lambda o: exporter(o)["image"], "remote-assistance-exporter:2"),
    (f"image: {{digest: '{DIGEST}'}}", lambda o: exporter(o)["image"], f"remote-assistance-exporter:0.1.0@{DIGEST}"),
    ("image: {tag: '2'}", lambda o: pod(o)["metadata"]["labels"]["app.kubernetes.io/version"], "2"),
    # Names.
    ("{}", lambda o: find(o, "StatefulSet")["metadata"]["name"], "rel-remote-assistance-exporter"),
    ("nameOverride: rel", lambda o: find(o, "StatefulSet")["metadata"]["name"], "rel"),
    (f"fullnameOverride: {'n' * 50}", lambda o: find(o, "StatefulSet")["metadata"]["name"], "n" * 50),
    (f"fullnameOverride: {'n' * 80}", lambda o: find(o, "StatefulSet")["metadata"]["name"], "n" * 41 + "-feed930b"),
    ("namespaceOverride: other", lambda o: {one["metadata"]["namespace"] for one in o}, {"other"}),
    ("commonLabels: {a: b, app.kubernetes.io/name: x}", lambda o: pod(o)["metadata"]["labels"]["app.kubernetes.io/name"], "remote-assistance-exporter"),
    ("podLabels: {app.kubernetes.io/instance: x}", lambda o: pod(o)["metadata"]["labels"]["app.kubernetes.io/instance"], "rel"),
    # Configuration.
    ("{}", lambda o: list(yaml.safe_load(find(o, "ConfigMap")["data"]["config.yaml"])), ["tenants"]),
    ("{}", lambda o: "checksum/config" in pod(o)["metadata"]["annotations"], True),
    ("restartOnConfigChange: false", lambda o: "checksum/config" in pod(o)["metadata"]["annotations"], False),
    ("config: null\nexistingConfig: {name: mine}", lambda o: "ConfigMap" in kinds(o), False),
    ("config: null\nexistingConfig: {name: mine, key: k}", volume("config"), {"name": "config", "configMap": {"name": "mine", "items": [{"key": "k", "path": "config.yaml"}]}}),
    ("config: null\nexistingConfig: {name: mine, kind: Secret}", volume("config"), {"name": "config", "secret": {"secretName": "mine", "defaultMode": 0o440, "items": [{"key": "config.yaml", "path": "config.yaml"}]}}),
    ("existingSecrets: [{name: a}, {name: b.c}]", lambda o: [one["mountPath"] for one in exporter(o)["volumeMounts"]][2:], ["/run/secrets/remote-assistance-exporter/a", "/run/secrets/remote-assistance-exporter/b.c"]),
    ("log: {level: warn, format: json}", lambda o: {"--log.level=warn", "--log.format=json"} <= set(exporter(o)["args"]), True),
    ("config: null\ndemo: {enabled: true, speed: 2.5}\nexistingSecrets: []", lambda o: exporter(o)["args"][:2], ["demo", "--demo.speed=2.5"]),
    ("config: null\ndemo: {enabled: true}", lambda o: [arg for arg in exporter(o)["args"] if "config.file" in arg], []),
    ("extraArgs: [--log.level=debug]", lambda o: exporter(o)["args"][-1], "--log.level=debug"),
    ("{}", environment, {}),
    # Identities.
    (f"config: null\n{IDENTITY}}}", lambda o: [arg for arg in exporter(o)["args"] if "config.file" in arg], []),
    (f"{IDENTITY}}}", lambda o: pod(o)["metadata"]["labels"].get("azure.workload.identity/use"), "true"),
    (f"{IDENTITY}}}", lambda o: find(o, "ServiceAccount")["metadata"]["annotations"], {"azure.workload.identity/client-id": "66666666-7777-8888-9999-000000000000", "azure.workload.identity/tenant-id": "contoso.example", "azure.workload.identity/service-account-token-expiration": "3600"}),
    (f"{IDENTITY}}}", environment, {}),
    (f"{IDENTITY}, method: projected}}", lambda o: pod(o)["metadata"]["labels"].get("azure.workload.identity/use"), None),
    (f"{IDENTITY}, method: projected}}", environment, {"AZURE_FEDERATED_TOKEN_FILE": "/run/secrets/azure/tokens/azure-identity-token", "AZURE_CLIENT_ID": "66666666-7777-8888-9999-000000000000", "AZURE_TENANT_ID": "contoso.example"}),
    (f"{IDENTITY}, method: projected}}", lambda o: volume("azure-identity-token")(o)["projected"]["sources"], [{"serviceAccountToken": {"audience": "api://AzureADTokenExchange", "expirationSeconds": 3600, "path": "azure-identity-token"}}]),
    ("serviceAccount: {create: false}", lambda o: ("ServiceAccount" in kinds(o), pod(o)["spec"]["serviceAccountName"]), (False, "default")),
    # Shards: the flags come with the second pod.
    ("replicas: 1", lambda o: [arg for arg in exporter(o)["args"] if "shard" in arg or "pod" in arg], []),
    ("replicas: 2", lambda o: exporter(o)["args"][-2:], ["--pod=$(POD_NAME)", "--total-shards=2"]),
    ("replicas: 2", lambda o: exporter(o)["env"], [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
    ("{}", lambda o: find(o, "StatefulSet")["spec"]["podManagementPolicy"], "Parallel"),
    # Storage.
    ("{}", lambda o: find(o, "StatefulSet")["spec"]["persistentVolumeClaimRetentionPolicy"], {"whenDeleted": "Retain", "whenScaled": "Retain"}),
    ("{}", lambda o: "storageClassName" in find(o, "StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"], False),
    ("persistence: {storageClass: '-'}", lambda o: find(o, "StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"]["storageClassName"], ""),
    ("persistence: {enabled: false}", volume("ledger"), {"name": "ledger", "emptyDir": {}}),
    ("persistence: {existingClaim: mine}", volume("ledger"), {"name": "ledger", "persistentVolumeClaim": {"claimName": "mine"}}),
    ("persistence: {existingClaim: mine}", lambda o: "volumeClaimTemplates" in find(o, "StatefulSet")["spec"], False),
    # The web server, its probes and its scrapes.
    ("{}", lambda o: probe("readiness")(o)["httpGet"], {"path": "/-/ready", "port": "metrics", "scheme": "HTTP"}),
    ("{}", lambda o: probe("startup")(o)["failureThreshold"], 60),
    (TLS, lambda o: probe("liveness")(o)["exec"]["command"], ["/remote-assistance-exporter", "healthcheck", "--web.listen-address=:10112", "--web.config.file=/run/remote-assistance-exporter/web/web.yml"]),
    (TLS, lambda o: probe("readiness")(o)["exec"]["command"][3], "--healthcheck.url=https://127.0.0.1:10112/-/ready"),
    (TLS + "probes: {method: http}", lambda o: probe("liveness")(o)["httpGet"]["scheme"], "HTTPS"),
    (TLS, lambda o: yaml.safe_load(find(o, "Secret")["stringData"]["web.yml"]), {"tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"}}),
    (TLS, lambda o: [one["secret"]["name"] for one in volume("web")(o)["projected"]["sources"]], ["rel-remote-assistance-exporter-web", "exporter-tls"]),
    (TLS, lambda o: find(o, "Service")["spec"]["ports"][0]["appProtocol"], "https"),
    (TLS + "monitor: {enabled: true}", lambda o: endpoint(o)["tlsConfig"], {"ca": {"secret": {"name": "exporter-tls", "key": "ca.crt"}}, "serverName": "rel-remote-assistance-exporter.remote-help.svc"}),
    (AUTH, lambda o: yaml.safe_load(find(o, "Secret")["stringData"]["web.yml"]), {"basic_auth_users": {"p": HASH}}),
    (AUTH, lambda o: probe("startup")(o)["exec"]["command"][-1], "--healthcheck.config.file=/run/remote-assistance-exporter/healthcheck/healthcheck.yml"),
    (AUTH + "monitor: {enabled: true, basicAuthSecret: {name: s}}", lambda o: endpoint(o)["basicAuth"]["password"], {"name": "s", "key": "password"}),
    ("web: {existingSecret: mine}", lambda o: "Secret" in kinds(o), False),
    ("web: {config: {rate_limit: {interval: 1s, burst: 9}}}", lambda o: "exec" in probe("liveness")(o), True),
    # What shows a password does not read a web configuration, which may be a bad one that the exporter refused.
    (AUTH, lambda o: {asked(name)(o) for name in PROBES}, {"http://127.0.0.1:10112/-/healthy", "http://127.0.0.1:10112/-/ready"}),
    (TLS + "probes: {method: exec}", lambda o: [asked(name)(o) for name in PROBES], [None, None, "https://127.0.0.1:10112/-/ready"]),
    (AUTH, lambda o: [one for name in PROBES for one in probe(name)(o)["exec"]["command"] if "web.config" in one], []),
    (TLS, lambda o: [one for name in PROBES for one in probe(name)(o)["exec"]["command"] if "web.config" in one], ["--web.config.file=/run/remote-assistance-exporter/web/web.yml"] * 3),
    (SHOWN, lambda o: {asked(name)(o) for name in PROBES}, {"https://127.0.0.1:9443/-/healthy", "https://127.0.0.1:9443/-/ready"}),
    ("web: {port: 8080, enableLifecycle: true}", lambda o: {"--web.listen-address=:8080", "--web.enable-lifecycle"} <= set(exporter(o)["args"]), True),
    ("web: {port: 8080}", lambda o: exporter(o)["ports"][0]["containerPort"], 8080),
    ("web: {port: 8080}", lambda o: find(o, "Service")["spec"]["ports"][0]["port"], 8080),
    ("web: {port: 8080}", lambda o: find(o, "Pod")["spec"]["containers"][0]["args"][1], "--web.listen-address=rel-remote-assistance-exporter.remote-help.svc:8080"),
    # Prometheus' operator.
    ("{}", lambda o: kinds(o), {"ServiceAccount", "ConfigMap", "Service", "StatefulSet", "Pod"}),
    ("monitor: {enabled: true}", relabelled("job"), "rel-remote-assistance-exporter"),
    ("monitor: {enabled: true, kind: PodMonitor, jobName: x}", relabelled("job"), "x"),
    ("monitor: {enabled: true}", relabelled("instance"), ["__meta_kubernetes_pod_name"]),
    ("monitor: {enabled: true, stableInstance: false}", relabelled("instance"), None),
    ("monitor: {enabled: true}", lambda o: endpoint(o)["relabelings"][0], {"action": "labeldrop", "regex": "endpoint"}),
    ("monitor: {enabled: true, namespace: m}", lambda o: find(o, "ServiceMonitor")["spec"]["namespaceSelector"], {"matchNames": ["remote-help"]}),
    ("prometheusRule: {enabled: true, groups: {recording: false, security: false}}", lambda o: [one["name"] for one in find(o, "PrometheusRule")["spec"]["groups"]], ["remote-assistance-exporter"]),
    ("prometheusRule: {enabled: true, disabled: [RemoteAssistanceDataStale]}", lambda o: ("RemoteAssistanceDataStale" in alerts(o), "RemoteAssistanceExporterDown" in alerts(o)), (False, True)),
    ("prometheusRule: {enabled: true, alertLabels: {team: x}}", lambda o: {rule["labels"]["team"] for rule in alerts(o).values()}, {"x"}),
    ("prometheusRule: {enabled: true, alertLabels: {team: x}}", lambda o: {"team" in rule.get("labels", {}) for group in find(o, "PrometheusRule")["spec"]["groups"] for rule in group["rules"] if "record" in rule}, {False}),
    ("prometheusRule: {enabled: true, runbookUrl: 'https://w/'}", lambda o: {rule["annotations"]["runbook_url"].split("#")[0] for rule in alerts(o).values()}, {"https://w/docs/runbooks.md"}),
    ("dashboards: {enabled: true, annotations: {grafana_folder: R}}", lambda o: sorted((one["metadata"]["labels"]["grafana_dashboard"], one["metadata"]["annotations"]["grafana_folder"]) for one in o if "dashboard" in one["metadata"]["name"]), [("1", "R")] * 3),
    # Networks.
    ("networkPolicy: {enabled: true}", lambda o: [[port["port"] for port in rule["ports"]] for rule in find(o, "NetworkPolicy")["spec"]["egress"]], [[53, 53, 5353, 5353], [443]]),
    ("networkPolicy: {enabled: true}", lambda o: find(o, "NetworkPolicy")["spec"]["ingress"][0]["from"][1]["podSelector"]["matchLabels"].items() <= find(o, "Pod")["metadata"]["labels"].items(), True),
    ("networkPolicy: {enabled: true}\ntests: {enabled: false}", lambda o: len(find(o, "NetworkPolicy")["spec"]["ingress"][0]["from"]), 1),
    # Pods.
    ("topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: DoNotSchedule}]", lambda o: pod(o)["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], {"app.kubernetes.io/name": "remote-assistance-exporter", "app.kubernetes.io/instance": "rel", "app.kubernetes.io/component": "exporter"}),
    ("podDisruptionBudget: {enabled: true}", lambda o: find(o, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1),
    ("podDisruptionBudget: {enabled: true, minAvailable: 1}\nreplicas: 2", lambda o: "maxUnavailable" in find(o, "PodDisruptionBudget")["spec"], False),
    ("podDisruptionBudget: {enabled: true, minAvailable: 2}\nreplicas: 0", lambda o: find(o, "StatefulSet")["spec"]["replicas"], 0),
    ("podDisruptionBudget: {enabled: true, minAvailable: 60%}\nreplicas: 3", lambda o: find(o, "PodDisruptionBudget")["spec"]["minAvailable"], "60%"),
    ("podDisruptionBudget: {enabled: true, minAvailable: 1, maxUnavailable: 0}\nreplicas: 2", lambda o: find(o, "PodDisruptionBudget")["spec"]["minAvailable"], 1),
    ("resources: {limits: {cpu: 0.5}}", lambda o: exporter(o)["resources"]["limits"], {"cpu": 0.5, "memory": "512Mi"}),
    ("podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}", lambda o: sorted(pod(o)["spec"]["securityContext"]), ["fsGroupChangePolicy", "runAsNonRoot", "seccompProfile"]),
    ("nodeSelector: null", lambda o: "nodeSelector" in pod(o)["spec"], False),
    ("{}", lambda o: "affinity" in find(o, "Pod")["spec"], False),
    ("extraVolumes: [{name: r, persistentVolumeClaim: {claimName: r}}]", lambda o: find(o, "Pod")["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"], [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "remote-assistance-exporter", "app.kubernetes.io/instance": "rel", "app.kubernetes.io/component": "exporter"}}}]),
    ("tests: {online: true}", lambda o: find(o, "Pod")["spec"]["containers"][1]["args"][1], "--config.file=/etc/remote-assistance-exporter/config.yaml"),
    ("{}", lambda o: find(o, "Pod")["spec"]["containers"][0]["args"], ["healthcheck", "--web.listen-address=rel-remote-assistance-exporter.remote-help.svc:10112"]),
    # As a chart's chart.
    ("global: {any: thing}\nenabled: true", lambda o: len(o), 5),
]

# Values, and what the message has to say. A template's says the remedy too.
REFUSED = [
    ("bogus: 1", "additional properties 'bogus' not allowed"),
    ("replicas: '2'", "at '/replicas': got string, want integer"),
    ("replicas: -1", "at '/replicas': minimum"),
    ("image: {digest: 'sha256:12'}", "at '/image/digest'"),
    ("image: {registry: 'https://r.example'}", "at '/image/registry'"),
    ("image: {tag: 1.0}", "at '/image/tag': got number, want string"),
    ("web: {port: 80}", "at '/web/port': minimum: got 80, want 1,024"),
    ("web: {telemetryPath: metrics}", "at '/web/telemetryPath'"),
    ("web: {telemetryPath: '/metrics?x'}", "at '/web/telemetryPath'"),
    ("web: {telemetryPath: /status}", "web.telemetryPath: /status is another page of the exporter; choose a path"),
    ("fullnameOverride: 2nd.line", "at '/fullnameOverride'"),
    ("fullnameOverride: 2nd", "at '/fullnameOverride'"),
    ("fullnameOverride: a.b", "at '/fullnameOverride'"),
    ("nameOverride: a-", "at '/nameOverride'"),
    ("resources: {limits: {cpu: -1}}", "at '/resources/limits/cpu'"),
    ("web: {basicAuth: {users: {p: secret}}}", "at '/web/basicAuth/users/p'"),
    ("web: {tls: {config: {min_version: TLS11}}}", "value must be one of 'TLS12', 'TLS13'"),
    ("persistence: {size: 1GB}", "at '/persistence/size'"),
    ("persistence: {retentionPolicy: {whenDeleted: Keep}}", "value must be one of 'Retain', 'Delete'"),
    ("monitor: {kind: Probe}", "value must be one of 'ServiceMonitor', 'PodMonitor'"),
    ("monitor: {interval: 30}", "at '/monitor/interval': got number, want string"),
    ("monitor: {interval: 30sec}", "at '/monitor/interval'"),
    ("podLabels: {x: true}", "at '/podLabels/x': got boolean, want string"),
    ("log: {level: trace2}", "at '/log/level'"),
    ("config: {tenant: []}", "additional properties 'tenant' not allowed"),
    ("config: {tenants: [{tenant_id: x}]}", "missing property 'name'"),
    ("config: {tenants: []}", "at '/config/tenants': minItems"),
    ("existingSecrets: [contoso]", "at '/existingSecrets/0': got string, want object"),
    ("workloadIdentity: {clientId: x}", "at '/workloadIdentity/clientId'"),
    ("workloadIdentity: {tokenExpirationSeconds: 60}", "minimum: got 60, want 3,600"),
    ("prometheusRule: {groups: {alert: true}}", "additional properties 'alert' not allowed"),
    ("probes: {liveness: {period: 1}}", "additional properties 'period' not allowed"),
    ("resources: {limit: {memory: 1Gi}}", "additional properties 'limit' not allowed"),
    ("networkPolicy: {ingress: {from: []}}", "at '/networkPolicy/ingress/from': minItems"),
    ("terminationGracePeriodSeconds: 1", "minimum: got 1, want 10"),
    ("extraArgs: [log.level=debug]", "at '/extraArgs/0'"),
    # Values that contradict each other.
    ("config: null", "config: there is no tenant to poll; write tenants into config"),
    ("config: null\nextraEnv: [{name: HTTPS_PROXY, value: x}]", "config: there is no tenant to poll"),
    ("existingConfig: {name: x}", "config and existingConfig.name: the configuration can come from one place only; empty one"),
    ("demo: {enabled: true}", "demo.enabled: the demo has tenants of its own; empty config"),
    ("config: null\ndemo: {enabled: true}\nreplicas: 2", "replicas: the demo runs in one pod; set replicas to 1"),
    (f"config: null\n{IDENTITY}}}\nreplicas: 2", "replicas: without a configuration there is one tenant, for one pod; set"),
    ("config: {tenants: [{name: a, credential: {client_secret: s}}]}", "config.tenants[0].credential.client_secret: a ConfigMap is no place for a secret; put it into a Secret"),
    ("config: {global: {credential: {client_secret: s}}}", "config.global.credential.client_secret: a ConfigMap is no place"),
    ("config: {tenants: [{name: a, proxy_url: 'http://u:p@proxy:1'}]}", "config.tenants[0].proxy_url: a ConfigMap is no place for a password; put"),
    ("persistence: {existingClaim: c}\nreplicas: 2", "persistence.existingClaim: each of several pods has a ledger of its own; empty it"),
    ("web: {tls: {enabled: true}}", "web.tls.existingSecret: name the Secret with tls.crt and tls.key"),
    ("web: {tls: {config: {min_version: TLS13}}}", "web.tls.config: set web.tls.enabled to true"),
    (f"web: {{basicAuth: {{users: {{p: {HASH}}}}}}}", "web.basicAuth.users: set web.basicAuth.enabled to true"),
    ("web: {basicAuth: {enabled: true}}", "web.basicAuth.users: name a user with a bcrypt hash"),
    (f"web: {{basicAuth: {{enabled: true, users: {{p: {HASH}}}}}}}", "web.healthcheck.existingSecret: the probes need a user or certificate of their own; name"),
    ("web: {tls: {enabled: true, existingSecret: t, config: {client_auth_type: RequireAndVerifyClientCert}}}", "web.healthcheck.existingSecret: the probes need a user or certificate"),
    (TLS + "monitor: {enabled: true, namespace: elsewhere}", "monitor.tlsConfig: tell how Prometheus trusts the exporter"),
    ("web: {existingSecret: x, tls: {enabled: true}}\nmonitor: {enabled: true}", "monitor.tlsConfig: tell how Prometheus trusts"),
    (AUTH + "monitor: {enabled: true}", "monitor.basicAuthSecret.name: Prometheus needs a user; name a Secret"),
    (AUTH + "probes: {method: http}", "probes.method: the kubelet has no password"),
    ("web: {tls: {enabled: true, existingSecret: t, config: {client_auth_type: RequireAnyClientCert}}, healthcheck: {existingSecret: p}}\nmonitor: {enabled: true}", "monitor.tlsConfig: Prometheus has to show a certificate; give cert"),
    ("web: {existingSecret: x, config: {rate_limit: {}}}", "web.existingSecret: it holds the whole web configuration; empty web.config"),
    ("web: {config: {tls_server_config: {}}}", "web.config.tls_server_config: write it into web.tls.config"),
    ("web: {config: {basic_auth_users: {}}}", "web.config.basic_auth_users: write it into web.basicAuth.users"),
    ("fullnameOverride: x\nmonitor: {enabled: true}\nprometheusRule: {enabled: true}", "monitor.jobName: the alerts find targets by \"remote-assistance\" in the job's name, which \"x\" lacks; set"),
    ("podDisruptionBudget: {enabled: true, minAvailable: 1}", "podDisruptionBudget.minAvailable: with 1 of 1 pods no node could ever be drained; lower it, or empty it"),
    ("podDisruptionBudget: {enabled: true, minAvailable: 10%}", "podDisruptionBudget.minAvailable: with 10% of 1 pods no node"),
    ("podDisruptionBudget: {enabled: true, minAvailable: 4}\nreplicas: 3", "podDisruptionBudget.minAvailable: with 4 of 3 pods no node"),
    ("podDisruptionBudget: {enabled: true, minAvailable: 67%}\nreplicas: 3", "podDisruptionBudget.minAvailable: with 67% of 3 pods no node"),
    ("podDisruptionBudget: {enabled: true, maxUnavailable: 0}", "podDisruptionBudget.maxUnavailable: with 0 no node could ever be drained; set it to 1"),
    ("podDisruptionBudget: {enabled: true, maxUnavailable: 0%}\nreplicas: 3", "podDisruptionBudget.maxUnavailable: with 0 no node"),
    ("prometheusRule: {disabled: [RemoteAssistanceNope]}", "prometheusRule.disabled: there is no alert RemoteAssistanceNope; there are RemoteAssistance"),
    (IDENTITY + "}\nserviceAccount: {create: false}", "workloadIdentity: Azure's webhook reads clientId and tenantId at the account, which serviceAccount.create: false leaves as it is; empty them and annotate the account yourself, or set workloadIdentity.method to projected"),
]


class Values(unittest.TestCase):
    maxDiff = None

    def test_what_values_do(self):
        for values, look, wanted in EXPECTED:
            with self.subTest(values):
                self.assertEqual(look(chart(MINIMAL, values)), wanted)

    def test_what_is_refused(self):
        for values, message in REFUSED:
            with self.subTest(values):
                done = template(TENANT, values)
                self.assertNotEqual(done.returncode, 0, "it was accepted")
                self.assertIn(message, done.stderr)

    def test_names_that_are_cut_differ_and_others_stay(self):
        name = lambda release, *values: find(chart(MINIMAL, *values, release=release), "StatefulSet")["metadata"]["name"]
        self.assertEqual(name("r" * 23), f"{'r' * 23}-remote-assistance-exporter")
        whole = f"{'r' * 20}-remote-assistance-exporter"
        self.assertEqual(name(whole), whole)
        for long in ("r" * 52, f"remote-assistance-exporter-{'r' * 25}", f"contoso-north-{'r' * 30}"):
            first, second = name(f"{long}a"), name(f"{long}b")
            self.assertNotEqual(first, second)
            for one in (first, second):
                self.assertRegex(one, "^[a-z]([-a-z0-9]*[a-z0-9])?$")
                self.assertLessEqual(len(one), 50)
                self.assertIn("remote-assistance", one)
        short = "nameOverride: x\n"
        self.assertNotEqual(name(f"{'r' * 30}a", short), name(f"{'r' * 30}b", short))

    def test_a_release_that_a_service_cannot_be_called_by_is_refused(self):
        for release in ("2nd", "my.app"):
            done = template(MINIMAL, release=release)
            self.assertIn(f'fullnameOverride: everything would be called "{release}-remote-assistance-exporter", which a Service cannot be; give', done.stderr)
            self.assertEqual(find(chart(MINIMAL, "fullnameOverride: mine", release=release), "Service")["metadata"]["name"], "mine")

    def test_a_changed_identity_restarts_pods_that_get_it_from_the_account(self):
        def annotation(*values):
            return pod(chart(MINIMAL, *values))["metadata"]["annotations"].get("checksum/identity")

        webhook = IDENTITY + "}\n"
        self.assertIsNotNone(annotation(webhook))
        changes = (
            webhook.replace("66666666", "77777777"), webhook.replace("contoso", "fabrikam"),
            IDENTITY + ", tokenExpirationSeconds: 7200}", webhook + "serviceAccount: {annotations: {azure.workload.identity/client-id: x}}",
        )
        self.assertEqual(len({annotation(webhook), *map(annotation, changes)}), 5)
        self.assertEqual(annotation(webhook), annotation(webhook, "serviceAccount: {annotations: {example.com/owner: x}}"))
        self.assertIsNone(annotation())
        self.assertIsNone(annotation(IDENTITY + ", method: projected}"))

    def test_the_checksum_follows_the_configuration(self):
        annotation = lambda *values: pod(chart(MINIMAL, *values))["metadata"]["annotations"]["checksum/config"]
        self.assertEqual(annotation(), annotation("log: {level: debug}"))
        self.assertNotEqual(annotation(), annotation("config: {global: {poll_interval: 7m}}"))

    def test_examples_of_the_readme_are_accepted(self):
        blocks = (CHART / "README.md").read_text().split("```yaml\n")[1:]
        examples = [block.split("```")[0].replace("$2y$10$…", HASH) for block in blocks]
        examples = [one for one in examples if not one.startswith("# healthcheck.yml")]
        self.assertEqual(len(examples), 3)
        for example in examples:
            with self.subTest(example):
                alone = "config:" in example
                self.assertGreaterEqual(len(chart(example) if alone else chart(MINIMAL, example)), 5)

    def test_the_schema_has_the_keys_of_the_values(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        schema = json.loads((CHART / "values.schema.json").read_text())
        wrong = []

        def compare(value, known, path):
            properties = known.get("properties")
            if "$ref" in known:
                properties = schema["$defs"][known["$ref"].rsplit("/", 1)[1]].get("properties")
            if not isinstance(value, dict) or properties is None:
                return
            if known.get("additionalProperties") is not False and "$ref" not in known:
                wrong.append(f"{path} takes any key")
            wrong.extend(f"{path}.{key} is not in the schema" for key in value.keys() - properties.keys())
            for key in value.keys() & properties.keys():
                compare(value[key], properties[key], f"{path}.{key}")
            if value and not path.startswith((".probes.", ".web.tls.config")):
                wrong.extend(f"{path}.{key} is not in values.yaml" for key in properties.keys() - value.keys())

        compare(values, schema, "")
        # For parents of the chart; what Kubernetes has besides.
        besides = {".enabled", ".global", ".updateStrategy.rollingUpdate", ".resources.claims"}
        self.assertEqual({one for one in wrong if one.split()[0] not in besides}, set())

    def test_notes_name_what_there_is(self):
        def notes(*values):
            command = [HELM_4, "install", "rel", CHART, "--dry-run=client", "--namespace", NAMESPACE, "-f", MINIMAL]
            for value in values:
                command += ["--set", value]
            done = run(*command)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.split("NOTES:\n")[1]

        plain = notes()
        self.assertIn("kubectl -n remote-help exec rel-remote-assistance-exporter-0 -c exporter -- /remote-assistance-exporter check --config.file=", plain)
        self.assertIn("set monitor.enabled", plain)
        self.assertNotIn("WARNING", plain)
        self.assertIn("system:serviceaccount:remote-help:rel-remote-assistance-exporter", notes("workloadIdentity.enabled=true"))
        self.assertIn("WARNING: persistence.enabled is false", notes("persistence.enabled=false"))
        self.assertIn("WARNING: persistence.retentionPolicy", notes("persistence.retentionPolicy.whenDeleted=Delete"))
        self.assertIn("WARNING: persistence.retentionPolicy.whenScaled", notes("persistence.retentionPolicy.whenScaled=Delete"))
        self.assertIn("ledger export", notes("replicas=2"))
        self.assertIn("https://localhost:10112/", notes("web.tls.enabled=true", "web.tls.existingSecret=x"))


if __name__ == "__main__":
    unittest.main()
