"""Helm, kubectl, the schemas, and ways through rendered objects."""

import copy
import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/remote-assistance-exporter"
KUSTOMIZE = ROOT / "deploy/kustomize"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
# How a third pod gets its tenants: by a Job, and where no node reaches all claims.
RESIZES = [ROOT / "deploy/helm/resize.yaml", ROOT / "deploy/helm/resize-across-zones.yaml"]
KUSTOMIZATIONS = [
    KUSTOMIZE / "base",
    KUSTOMIZE / "overlays/workload-identity",
    KUSTOMIZE / "overlays/prometheus-operator",
]
# What tests/run installs.
TOOLS = ROOT / "target/kubernetes"
HELM_4 = TOOLS / "v37/helm/helm"
HELM_3 = TOOLS / "v32/helm/helm"
KUBECTL = TOOLS / "v37/kubectl/kubectl"
TRIVY = ROOT / "target/python/bin/trivy"
# The exporter that is tested.
EXPORTER = os.environ["EXPORTER"]
# What the chart says that it supports, and the newest with schemas.
OLDEST, NEWEST = "1.27", "1.37"
OPERATOR = "monitoring.coreos.com/v1"
RELEASE, NAMESPACE = "rel", "remote-help"
MINIMAL = CHART / "ci/minimal-values.yaml"


def run(*command, **options):
    """What a tool did: status, and what it said."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def output(*command):
    """What a tool printed; it has to succeed."""
    done = run(*command)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def documents(text):
    """The objects of a stream."""
    found = [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]
    return [one for document in found for one in (document["items"] if document["kind"] == "List" else [document])]


def template(*values, helm=HELM_4, release=RELEASE, flags=()):
    """`helm template` with these files of values, or values as text or mappings. It may fail."""
    with tempfile.TemporaryDirectory() as directory:
        command = [helm, "template", release, CHART, "--namespace", NAMESPACE, *flags]
        for index, value in enumerate(values):
            if not isinstance(value, Path):
                text = value if isinstance(value, str) else json.dumps(value)
                value = Path(directory) / f"{index}.yaml"
                value.write_text(text)
            command += ["--values", value]
        return run(*command)


def chart(*values, **options):
    """The objects that the chart makes of these values."""
    done = template(*values, **options)
    assert done.returncode == 0, f"{values}: {done.stderr}"
    return documents(done.stdout)


@functools.cache
def _ci(path):
    return chart(path)


def ci(path):
    """The objects of a file in ci/."""
    return copy.deepcopy(_ci(path))


@functools.cache
def _kustomized(directory):
    return output(KUBECTL, "kustomize", directory)


def kustomized(directory):
    """The objects of a kustomization."""
    return documents(_kustomized(directory))


def every_rendering():
    """A name and the objects of each file in ci/ and each kustomization."""
    yield from ((path.name, ci(path)) for path in CI)
    yield from ((str(path.relative_to(ROOT)), kustomized(path)) for path in KUSTOMIZATIONS)


def find(objects, kind, name=None):
    """The one object of this kind, and name if there may be more."""
    found = [one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{kind} {name}: {[one['metadata']['name'] for one in objects]}"
    return found[0]


def pods(objects):
    """Name, labels and spec of everything that becomes a pod."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one["metadata"]["name"], one["metadata"]["labels"], one["spec"]
        elif one["kind"] in ("StatefulSet", "Job"):
            made = one["spec"]["template"]
            yield one["metadata"]["name"], made.get("metadata", {}).get("labels", {}), made["spec"]


def exporter(objects):
    """The container of the exporter in its StatefulSet."""
    containers = find(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    return next(one for one in containers if one["name"] == "exporter")


def wrong_by_schema(objects):
    """What Kubernetes, oldest and newest, and the operator would refuse."""
    wrong, custom = [], []
    for one in objects:
        if one["apiVersion"] == OPERATOR:
            custom.append(one)
            continue
        for version in (OLDEST, NEWEST):
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                wrong.append(f"{version}: {one['kind']} {one['metadata']['name']}: {error.message}")
    if not custom:
        return wrong
    done = run("node", ROOT / "tests/kubernetes/operator.mjs", input=json.dumps(custom))
    assert done.returncode == 0, done.stderr
    return wrong + json.loads(done.stdout)
