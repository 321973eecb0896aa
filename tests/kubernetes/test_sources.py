"""What the chart and kustomize have of others: rules, dashboards, and each other."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import yaml
from tools import KUSTOMIZE, MINIMAL, ROOT, chart, find, kustomized

RULES = [ROOT / f"deploy/prometheus/rules/{name}.yml" for name in ("recording", "alerts", "security")]
OPERATOR = KUSTOMIZE / "overlays/prometheus-operator"
EVERYTHING = "monitor: {enabled: true}\nprometheusRule: {enabled: true}\ndashboards: {enabled: true}\n"


def groups(rule):
    return {group["name"]: group for group in rule["spec"]["groups"]}


class Sources(unittest.TestCase):
    maxDiff = 4000

    def test_copies_are_as_they_would_be_made(self):
        done = subprocess.run([sys.executable, ROOT / "deploy/generate.py", "--check"], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_rules_are_those_of_prometheus(self):
        wanted = {group["name"]: group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]}
        self.assertEqual(groups(find(chart(MINIMAL, EVERYTHING), "PrometheusRule")), wanted)
        self.assertEqual(groups(find(kustomized(OPERATOR), "PrometheusRule")), wanted)
        self.assertEqual(sorted(path.name for path in (ROOT / "deploy/prometheus/rules").iterdir()), sorted(path.name for path in RULES))

    def test_dashboards_are_those_of_grafana(self):
        wanted = {path.name: path.read_text() for path in (ROOT / "grafana").glob("*.json")}
        for objects in (chart(MINIMAL, EVERYTHING), kustomized(OPERATOR)):
            found = [one for one in objects if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
            contents = {name: text for one in found for name, text in one["data"].items()}
            self.assertEqual(contents.keys(), wanted.keys())
            for name, text in contents.items():
                self.assertTrue(text == wanted[name], f"{name} differs")
                self.assertTrue(json.loads(text)["uid"])

    def test_kustomize_promises_what_the_chart_does(self):
        common = "networkPolicy: {enabled: true}\npodDisruptionBudget: {enabled: true}\ntests: {enabled: false}\n"
        identity = {
            "config": {"global": {"credential": {"kind": "workload_identity"}}, "tenants": [{"name": "contoso", "tenant_id": "11111111-2222-3333-4444-555555555555"}]},
            "workloadIdentity": {"enabled": True, "clientId": "66666666-7777-8888-9999-000000000000"},
        }
        pairs = {
            "base": [MINIMAL],
            "overlays/workload-identity": [identity],
            "overlays/prometheus-operator": [MINIMAL, EVERYTHING],
        }
        for directory, values in pairs.items():
            with self.subTest(directory):
                made = plain(chart(*values, common, release="remote-assistance-exporter"))
                written = plain(kustomized(KUSTOMIZE / directory))
                self.assertEqual(written.keys(), made.keys())
                for name, one in written.items():
                    self.assertEqual(one, made[name], name)

    def test_components_go_together(self):
        # Kustomize wants relative names of directories.
        with tempfile.TemporaryDirectory(dir=ROOT / "target") as directory:
            up = os.path.relpath(KUSTOMIZE, directory)
            components = [f"{up}/components/{name}" for name in ("workload-identity", "prometheus-operator")]
            image = {"name": "remote-assistance-exporter", "newName": "r.example/x", "newTag": "2"}
            kustomization = {"namespace": "here", "resources": [f"{up}/base"], "components": components, "images": [image]}
            (Path(directory) / "kustomization.yaml").write_text(json.dumps(kustomization))
            objects = kustomized(Path(directory))
        self.assertEqual({one["metadata"]["namespace"] for one in objects}, {"here"})
        template = find(objects, "StatefulSet")["spec"]["template"]
        self.assertEqual(template["spec"]["containers"][0]["image"], "r.example/x:2")
        self.assertEqual(template["metadata"]["labels"]["azure.workload.identity/use"], "true")
        self.assertEqual(len(objects), 11)


def plain(objects):
    """By kind and name, without what tells who made it: Helm's labels, and what makes a pod follow what it was made from."""
    result = {}
    (configuration,) = [one["metadata"]["name"] for one in objects if "config.yaml" in one.get("data", {})]
    for one in json.loads(json.dumps(objects)):
        if "config.yaml" in one.get("data", {}):
            one["metadata"]["name"] = "the-configuration"
            one["data"] = {"config.yaml": yaml.safe_load(one["data"]["config.yaml"])}
        one["metadata"].pop("namespace", None)
        pod = one["spec"]["template"] if one["kind"] == "StatefulSet" else {"metadata": {}}
        for metadata in (one["metadata"], pod["metadata"]):
            for label in ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"):
                metadata.get("labels", {}).pop(label, None)
            for checksum in ("checksum/config", "checksum/identity"):
                metadata.get("annotations", {}).pop(checksum, None)
        # Their order is of no account.
        one.get("spec", {}).get("groups", []).sort(key=lambda group: group["name"])
        for volume in pod.get("spec", {}).get("volumes", []):
            if volume["name"] == "config" and volume["configMap"]["name"] == configuration:
                volume["configMap"]["name"] = "the-configuration"
        result[f"{one['kind']} {one['metadata']['name']}"] = one
    return result


if __name__ == "__main__":
    unittest.main()
