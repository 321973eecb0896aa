"""Every rendering, of ci/ and of kustomize: schemas, Pod Security, and that its parts fit each other."""

import copy
import json
import tempfile
import unittest
from pathlib import Path

import yaml
from restricted import violations
from tools import (
    CHART, CI, HELM_3, HELM_4, MINIMAL, OLDEST, ROOT, TRIVY, chart, ci, every_rendering, exporter, find, pods, run, template,
    wrong_by_schema,
)

# `kubectl apply` keeps an object once more in an annotation, and that is the limit of annotations.
MOST_BYTES = 256 * 1024


def leaves(values, path=""):
    """The values by dotted path; lists, and mappings that users fill, are one value."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


class Helm(unittest.TestCase):
    def test_lint_is_silent(self):
        for helm in (HELM_4, HELM_3):
            done = run(helm, "lint", "--strict", "--quiet", CHART, "-f", MINIMAL)
            self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), done.stderr)
        for path in CI:
            done = run(HELM_4, "lint", "--strict", "--quiet", CHART, "-f", path)
            self.assertEqual((done.returncode, done.stdout.strip()), (0, ""), f"{path}: {done.stderr}")

    def test_helm_3_and_other_versions_of_kubernetes_change_nothing(self):
        for path in CI:
            wanted = ci(path)
            old = chart(path, helm=HELM_3, flags=["--kube-version", OLDEST])
            order = lambda objects: sorted(objects, key=lambda one: (one["kind"], one["metadata"]["name"]))
            self.assertEqual(order(old), order(wanted), path)
        done = template(MINIMAL, flags=["--kube-version", "1.26"])
        self.assertIn("chart requires kubeVersion: >=1.27.0-0", done.stderr)

    def test_every_value_is_another_in_some_file(self):
        defaults = dict(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))
        files = [yaml.safe_load(path.read_text()) for path in CI]

        def changed(path, default):
            for values in files:
                for key in path.split("."):
                    values = values.get(key) if isinstance(values, dict) else None
                if values is not None and values != default:
                    return True
            return False

        # Keys with dots, and what users would leave as it is.
        skip = {path for path in defaults if path.startswith(("nodeSelector.", "dashboards.labels."))}
        same = [path for path, default in defaults.items() if path not in skip and not changed(path, default)]
        self.assertEqual(sorted(same), sorted(KEPT))

    def test_what_is_packed(self):
        with tempfile.TemporaryDirectory() as directory:
            done = run(HELM_4, "package", CHART, "--destination", directory)
            self.assertEqual(done.returncode, 0, done.stderr)
            (packed,) = Path(directory).iterdir()
            # A release is kept in a Secret of 1 MiB at most, in base64 and with what was rendered.
            self.assertLess(packed.stat().st_size, 300 * 1024)
            names = run("tar", "-tzf", packed).stdout
        self.assertIn("files/dashboards/tenants.json", names)
        self.assertNotIn("/ci/", names)

    def test_versions_are_the_programs(self):
        about = yaml.safe_load((CHART / "Chart.yaml").read_text())
        manifest = (ROOT / "Cargo.toml").read_text()
        version = manifest.split('version = "', 1)[1].split('"')[0]
        self.assertEqual((about["appVersion"], about["version"]), (version, version))
        self.assertIn(f"image: remote-assistance-exporter:{version}\n", (ROOT / "deploy/kustomize/base/statefulset.yaml").read_text())


def json_lines(objects):
    """A stream of YAML."""
    return "".join(f"---\n{json.dumps(one)}\n" for one in objects)


# What protects: nobody should want another value, and its keys are tested one by one.
KEPT = [
    "podSecurityContext.runAsNonRoot", "securityContext.allowPrivilegeEscalation",
    "securityContext.readOnlyRootFilesystem", "securityContext.privileged", "securityContext.capabilities.drop",
    "prometheusRule.groups.recording", "prometheusRule.groups.alerts",
]


def each(test):
    """A test of one rendering's objects, done for every rendering."""
    def every(self):
        for name, objects in every_rendering():
            with self.subTest(name):
                test(self, objects)
    return every


class Objects(unittest.TestCase):
    @each
    def test_schemas(self, objects):
        self.assertEqual(wrong_by_schema(objects), [])

    def test_schemas_would_complain(self):
        objects = ci(CHART / "ci/secured-values.yaml")
        find(objects, "StatefulSet")["spec"]["replica"] = 1
        find(objects, "Service")["spec"]["ports"][0]["port"] = "http"
        find(objects, "ServiceMonitor")["spec"]["endpoints"][0]["interval"] = "30zz"
        del find(objects, "PrometheusRule")["spec"]["groups"][0]["name"]
        wrong = "\n".join(wrong_by_schema(objects))
        for part in ("1.27: StatefulSet", "1.37: StatefulSet", "1.37: Service", "ServiceMonitor", "PrometheusRule"):
            self.assertIn(part, wrong)

    @each
    def test_pods_are_restricted(self, objects):
        for name, _, spec in pods(objects):
            self.assertEqual(violations(spec), [], name)
            self.assertIs(spec["automountServiceAccountToken"], False)
            for container in spec["containers"]:
                if container["name"] in ("exporter", "healthcheck", "check"):
                    self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
                    self.assertIn("memory", container["resources"]["limits"])

    def test_the_standard_would_complain(self):
        _, _, good = next(iter(pods(ci(CHART / "ci/sharded-values.yaml"))))
        self.assertEqual(violations(good), [])
        container = good["containers"][0]
        spoilt = {
            "hostNetwork": lambda spec, _: spec.update(hostNetwork=True),
            "hostPath": lambda spec, _: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
            "sysctl": lambda spec, _: spec["securityContext"].update(sysctls=[{"name": "kernel.msgmax"}]),
            "runs as root": lambda spec, _: spec["securityContext"].update(runAsUser=0),
            "no seccomp": lambda spec, _: spec["securityContext"]["seccompProfile"].update(type="Unconfined"),
            "no AppArmor": lambda spec, _: spec["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
            "names no seccomp": lambda spec, _: spec["securityContext"].pop("seccompProfile"),
            "may be root": lambda _, one: one["securityContext"].update(runAsNonRoot=False),
            "is privileged": lambda _, one: one["securityContext"].update(privileged=True),
            "may gain": lambda _, one: one["securityContext"].pop("allowPrivilegeEscalation"),
            "keeps capabilities": lambda _, one: one["securityContext"]["capabilities"].update(drop=["CHOWN"]),
            "adds capabilities": lambda _, one: one["securityContext"]["capabilities"].update(add=["SYS_TIME"]),
            "/proc": lambda _, one: one["securityContext"].update(procMount="Unmasked"),
            "SELinux": lambda _, one: one["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
            "port of the host": lambda _, one: one["ports"][0].update(hostPort=80),
            "another host": lambda _, one: one["livenessProbe"]["httpGet"].update(host="192.0.2.1"),
        }
        for message, spoil in spoilt.items():
            spec = copy.deepcopy(good)
            spoil(spec, next(one for one in spec["containers"] if one["name"] == container["name"]))
            self.assertTrue(any(message in one for one in violations(spec)), message)
        spec = copy.deepcopy(good)
        del spec["initContainers"][0]["securityContext"]
        self.assertTrue(violations(spec), "init containers count")

    def test_trivy_has_nothing_to_say(self):
        # Findings of low severity are a matter of taste: there is no limit of processor time, on purpose.
        with tempfile.TemporaryDirectory() as directory:
            for name, objects in every_rendering():
                # Other people's containers are in that one.
                if name != "sharded-values.yaml":
                    (Path(directory) / f"{name.replace('/', '-').removesuffix('.yaml')}.yaml").write_text(json_lines(objects))
            spoilt = ci(MINIMAL)
            find(spoilt, "StatefulSet")["spec"]["template"]["spec"]["hostNetwork"] = True
            (Path(directory) / "spoilt.yaml").write_text(json_lines(spoilt))
            done = run(
                TRIVY, "config", "--skip-check-update", "--skip-version-check", "--quiet", "--format", "json",
                "--severity", "MEDIUM,HIGH,CRITICAL", "--cache-dir", Path(directory) / ".cache", directory,
            )
        self.assertEqual(done.returncode, 0, done.stderr)
        results = json.loads(done.stdout)["Results"]
        found = {one["Target"]: [(wrong["ID"], wrong["Message"]) for wrong in one.get("Misconfigurations", [])] for one in results}
        self.assertTrue(found.pop("spoilt.yaml"))
        self.assertGreaterEqual(len(found), 10)
        self.assertEqual({name: wrong for name, wrong in found.items() if wrong}, {})

    @each
    def test_each_fits_into_an_annotation_and_has_a_name_of_its_own(self, objects):
        names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
        self.assertEqual(len(names), len(set(names)))
        for one in objects:
            self.assertLess(len(json.dumps(one)), MOST_BYTES, one["metadata"]["name"])

    @each
    def test_mounts_have_volumes_and_are_directories(self, objects):
        claims = [claim["metadata"]["name"] for claim in find(objects, "StatefulSet")["spec"].get("volumeClaimTemplates", [])]
        for name, _, spec in pods(objects):
            volumes = [volume["name"] for volume in spec.get("volumes", [])] + (claims if name == find(objects, "StatefulSet")["metadata"]["name"] else [])
            self.assertEqual(len(volumes), len(set(volumes)))
            mounts = [mount for container in spec["containers"] for mount in container.get("volumeMounts", [])]
            self.assertEqual({mount["name"] for mount in mounts}, set(volumes))
            self.assertEqual([mount for mount in mounts if "subPath" in mount], [])
            self.assertEqual([mount["name"] for mount in mounts if not mount.get("readOnly")], ["ledger"] if "test" not in name else [])

    @each
    def test_selectors_find_the_exporter_and_nobody_else(self, objects):
        selectors = {
            "Service": lambda spec: spec["selector"],
            "StatefulSet": lambda spec: spec["selector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "PodMonitor": lambda spec: spec["selector"]["matchLabels"],
        }
        matches = lambda selector, labels: selector.items() <= labels.items()
        for one in objects:
            if one["kind"] in selectors:
                selector = selectors[one["kind"]](one["spec"])
                for name, labels, spec in pods(objects):
                    own = any(container["name"] == "exporter" for container in spec["containers"])
                    self.assertEqual(matches(selector, labels), own, f"{one['kind']} and {name}")
            if one["kind"] == "ServiceMonitor":
                selector = one["spec"]["selector"]["matchLabels"]
                self.assertTrue(matches(selector, find(objects, "Service")["metadata"]["labels"]))
                self.assertEqual(one["spec"]["endpoints"][0]["port"], find(objects, "Service")["spec"]["ports"][0]["name"])
        service = find(objects, "Service")
        self.assertEqual(find(objects, "StatefulSet")["spec"]["serviceName"], service["metadata"]["name"])
        # Names of a headless service are pods' addresses: no port is exchanged for another on the way.
        self.assertEqual(service["spec"]["clusterIP"], "None")
        self.assertEqual(service["spec"]["ports"][0]["port"], exporter(objects)["ports"][0]["containerPort"])
        for policy in (one for one in objects if one["kind"] == "NetworkPolicy"):
            self.assertEqual(policy["spec"]["ingress"][0]["ports"][0]["port"], service["spec"]["ports"][0]["port"])


if __name__ == "__main__":
    unittest.main()
