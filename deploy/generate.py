#!/usr/bin/env python3
"""Makes what the Helm chart and the kustomize component hold of others: rules, dashboards, the README's table.

Neither Helm nor kustomize reads files outside of its own directory, so they have copies. With --check
nothing is written; what differs is named, and the status is 1.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEPLOY = Path(__file__).resolve().parent
ROOT = DEPLOY.parent
CHART = DEPLOY / "helm/remote-assistance-exporter"
COMPONENT = DEPLOY / "kustomize/components/prometheus-operator"
# In the order in which Prometheus may load them.
RULES = [ROOT / f"deploy/prometheus/rules/{name}.yml" for name in ("recording", "alerts", "security")]
README_GENERATOR = ROOT / "target/node/node_modules/.bin/readme-generator"

PROMETHEUS_RULE = """\
# Made by deploy/generate.py from deploy/prometheus/rules; change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: remote-assistance-exporter
  labels:
    app.kubernetes.io/name: remote-assistance-exporter
    app.kubernetes.io/instance: remote-assistance-exporter
    app.kubernetes.io/component: exporter
spec:
  groups:
"""


def prometheus_rule():
    """All groups in one object. Text stays text: comments are kept, and no parser is needed."""
    lines = [PROMETHEUS_RULE]
    for path in RULES:
        _, groups = path.read_text().split("\ngroups:\n")
        lines += [f"  {line}".rstrip() + "\n" for line in groups.splitlines()]
    return "".join(lines)


def readme():
    """The chart's README with the table of its values, by the comments in them."""
    tool = README_GENERATOR if README_GENERATOR.exists() else shutil.which("readme-generator")
    if tool is None:
        sys.exit("readme-generator is missing; npm install @bitnami/readme-generator-for-helm --prefix target/node")
    with tempfile.TemporaryDirectory() as directory:
        copy = shutil.copy(CHART / "README.md", directory)
        made = subprocess.run([tool, "-v", CHART / "values.yaml", "-r", copy], capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit(f"{CHART / 'values.yaml'}: {made.stdout}{made.stderr}")
        return Path(copy).read_text()


def wanted():
    """Contents by path."""
    dashboards = sorted((ROOT / "grafana").glob("*.json"))
    files = {CHART / "files/rules" / path.name: path.read_text() for path in RULES}
    files |= {CHART / "files/dashboards" / path.name: path.read_text() for path in dashboards}
    return files | {COMPONENT / "prometheusrule.yaml": prometheus_rule(), CHART / "README.md": readme()}


def main():
    files = wanted()
    left_over = {path for path in (CHART / "files").rglob("*") if path.is_file()} - files.keys()
    differ = [path for path, contents in files.items() if not path.exists() or path.read_text() != contents]
    if "--check" in sys.argv[1:]:
        names = [str(path.relative_to(ROOT)) for path in sorted([*differ, *left_over])]
        sys.exit(f"not as it would be made anew; run python3 deploy/generate.py: {', '.join(names)}" if names else 0)
    for path in left_over:
        path.unlink()
    for path in differ:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path])


if __name__ == "__main__":
    main()
