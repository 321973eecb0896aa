"""Writes the dashboards, or with --check tells whether they are what this source makes."""

import json
import sys
from pathlib import Path

import exporter_health
import overview
import tenants

FOLDER = Path(__file__).resolve().parent.parent
DASHBOARDS = {
    "remote-help-overview.json": overview.build,
    "tenants.json": tenants.build,
    "exporter-health.json": exporter_health.build,
}


def main():
    stale = []
    for name, build in DASHBOARDS.items():
        path, text = FOLDER / name, json.dumps(build(), indent=2, ensure_ascii=False) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    if stale:
        sys.exit(f"not what grafana/source makes: {', '.join(stale)}; run python3 grafana/source/generate.py")


if __name__ == "__main__":
    main()
