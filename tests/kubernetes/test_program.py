"""What the manifests say to the exporter, said to the exporter: flags, configurations, probes."""

import base64
import json
import os
import re
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

from tools import CHART, EXPORTER, MINIMAL, chart, every_rendering, exporter, find, pods, run, template

SECRETS = "/run/secrets/remote-assistance-exporter/"
# "probe", hashed once with the lowest cost.
USERS = {"probe": "$2b$04$ldNvmzIQzPeXnIhdDML8q.vF0YKN7lHcn6UO8EnHmun/pnzAL4kSS"}


def commands(spec):
    """All command lines of a pod for the exporter: arguments of containers, probes and hooks."""
    for container in spec.get("initContainers", []) + spec["containers"]:
        if container["image"].split("/")[-1].startswith("remote-assistance-exporter:"):
            yield container["args"]
            handlers = [container.get(f"{name}Probe", {}) for name in ("startup", "liveness", "readiness")]
            for handler in handlers:
                if "exec" in handler:
                    program, *arguments = handler["exec"]["command"]
                    assert program == "/remote-assistance-exporter", program
                    yield arguments


def understood(arguments):
    """What the exporter says to a command line; `--help` at its end keeps it from doing anything."""
    return run(EXPORTER, *(one.replace("$(POD_NAME)", "exporter-0") for one in arguments), "--help")


class Program(unittest.TestCase):
    def test_every_flag_is_known(self):
        asked = {}
        for name, objects in every_rendering():
            for _, _, spec in pods(objects):
                for arguments in commands(spec):
                    asked.setdefault(tuple(arguments), name)
        self.assertGreaterEqual(len(asked), 15)
        for arguments, name in asked.items():
            with self.subTest(name):
                done = understood(arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)

    def test_a_wrong_flag_would_be_found(self):
        for spoilt in (["serve", "--web.port=1"], ["serve", "--web.max-requests=x"], ["check", "--demo.speed=1"]):
            self.assertEqual(understood(spoilt).returncode, 64, spoilt)

    def test_configurations_pass_the_check(self):
        checked = 0
        for name, objects in every_rendering():
            for one in objects:
                if "config.yaml" in one.get("data", {}):
                    with self.subTest(name):
                        checked += 1
                        _, _, spec = next(pods([find(objects, "StatefulSet")]))
                        self.check(one["data"]["config.yaml"], spec)
        self.assertGreaterEqual(checked, 7)

    def check(self, text, spec):
        mounts = [mount["mountPath"] for mount in exporter_of(spec)["volumeMounts"]]
        with tempfile.TemporaryDirectory() as directory:
            # What the kubelet would mount.
            for path in re.findall(r"(?:_file|directory): (\S+)", text):
                self.assertTrue(any(path == mount or path.startswith(f"{mount}/") for mount in mounts), f"{path} is not mounted")
                file = Path(directory + path)
                if file.suffix == ".pem":
                    file.parent.mkdir(parents=True)
                    certificate(file, file)
                elif "/secrets/" in path:
                    file.parent.mkdir(parents=True)
                    file.write_text("secret")
                else:
                    file.mkdir(parents=True)
                text = text.replace(path, str(file))
            token = Path(directory) / "token"
            token.write_text("token")
            configuration = Path(directory) / "config.yaml"
            configuration.write_text(text)
            # What the webhook would set, for pods that have its label.
            webhook = {"AZURE_CLIENT_ID": "66666666-7777-8888-9999-000000000000", "AZURE_FEDERATED_TOKEN_FILE": str(token)}
            done = run(EXPORTER, f"--config.file={configuration}", "check", "--check.offline", env=os.environ | webhook)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            configuration.write_text(text + "bogus: 1\n")
            self.assertEqual(run(EXPORTER, f"--config.file={configuration}", "check", "--check.offline", env=os.environ | webhook).returncode, 64)

    def test_probes_and_test_find_a_pod_with_tls_and_passwords_healthy(self):
        with Pod() as pod:
            pod.wait_for("startup")
            pod.wait_for("readiness")
            self.assertEqual(pod.probe("liveness").returncode, 0, pod.log())
            # The test's container asks by the service's name: here by one that is this machine's.
            arguments = find(pod.objects, "Pod")["spec"]["containers"][0]["args"]
            service = find(pod.objects, "Service")
            host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
            self.assertIn(f"--web.listen-address={host}", arguments)
            done = pod.run([one.replace(host, f"localhost:{pod.port}") for one in arguments])
            self.assertEqual(done.returncode, 0, done.stderr)
            # The paths by which the kubelet asks where it needs no password, and Prometheus.
            plain = chart(MINIMAL, "monitor: {enabled: true}")
            paths = {exporter(plain)[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
            paths.add(find(plain, "ServiceMonitor")["spec"]["endpoints"][0]["path"])
            flags = [one for one in exporter(pod.objects)["livenessProbe"]["exec"]["command"][1:] if "url" not in one]
            self.assertEqual(paths, {"/-/healthy", "/-/ready", "/metrics"})
            for path in paths:
                done = pod.run([*flags, f"--healthcheck.url=https://127.0.0.1:{pod.port}{path}"])
                self.assertEqual(done.returncode, 0, done.stderr)
            self.bad_files_make_no_healthy_pod_unhealthy(pod)
            # Passwords are asked for, and a wrong one fails.
            (pod.root / "run/remote-assistance-exporter/healthcheck/password").write_text("wrong")
            self.assertIn("401", pod.probe("liveness").stderr)

    def bad_files_make_no_healthy_pod_unhealthy(self, pod):
        """The exporter goes on with what it has in force, and a probe that said otherwise would have it restarted."""
        web = pod.root / "run/remote-assistance-exporter/web"
        good = {name: (web / name).read_text() for name in ("web.yml", "tls.key")}
        another = web / "another.crt"
        spoil = {
            "web.yml": lambda file: file.write_text("basic_auth_users: {probe: plain}\n"),
            "tls.key": lambda file: certificate(another, file),
        }
        for name, spoilt in spoil.items():
            spoilt(web / name)
            pod.wait_for_files(refused=True)
            for probe in ("startup", "liveness", "readiness"):
                done = pod.probe(probe)
                self.assertEqual((done.returncode, done.stderr), (0, ""), f"{name}: {probe}")
            (web / name).write_text(good[name])
            pod.wait_for_files(refused=False)

    def test_pages_that_metrics_cannot_have_are_the_programs(self):
        pages = ("/-/healthy", "/-/ready", "/-/reload", "/config", "/status")
        for page in (*pages, "/", "/-/metrics", "/a@b~c"):
            refused = "web.telemetryPath" in template(MINIMAL, {"web": {"telemetryPath": page}}).stderr
            flag = understood(["serve", f"--web.telemetry-path={page}"])
            self.assertEqual((refused, flag.returncode), (True, 64) if page in pages else (False, 0), page)


def readme_healthcheck():
    """What the chart's README says to write into the probes' Secret."""
    (block,) = [one for one in (CHART / "README.md").read_text().split("```yaml\n") if one.startswith("# healthcheck.yml")]
    return block.split("```")[0]


class Pod:
    """The exporter as the StatefulSet runs it, with what is mounted below a directory, on a port of its own."""

    VALUES = {
        "config": {"tenants": [{"name": "contoso", "source": {"kind": "files", "directory": "/reports"}}]},
        "web": {
            "tls": {"enabled": True, "existingSecret": "exporter-tls"},
            "basicAuth": {"enabled": True, "users": USERS},
            "healthcheck": {"existingSecret": "exporter-probe"},
        },
    }

    def __enter__(self):
        self.objects = chart(self.VALUES)
        self.directory = tempfile.TemporaryDirectory()
        self.root = Path(self.directory.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        web = self.root / "run/remote-assistance-exporter/web"
        probe = self.root / "run/remote-assistance-exporter/healthcheck"
        configuration = self.root / "etc/remote-assistance-exporter"
        for path in (web, probe, configuration, self.root / "reports", self.root / "var/lib/remote-assistance-exporter"):
            path.mkdir(parents=True)
        (web / "web.yml").write_text(find(self.objects, "Secret")["stringData"]["web.yml"])
        certificate(web / "tls.crt", web / "tls.key")
        (probe / "healthcheck.yml").write_text(readme_healthcheck())
        (probe / "password").write_text("probe")
        text = find(self.objects, "ConfigMap")["data"]["config.yaml"]
        (configuration / "config.yaml").write_text(text.replace("/reports", f"{self.root}/reports"))
        self.output = (self.root / "log").open("w+")
        command = self.moved(exporter(self.objects)["args"])
        self.process = subprocess.Popen([EXPORTER, *command], stdout=self.output, stderr=self.output)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.output.close()
        self.directory.cleanup()

    def moved(self, arguments):
        """Paths below the directory, and the port of its own."""
        places = re.compile(r"=(/run/|/etc/|/var/lib/)")
        return [places.sub(rf"={self.root}\1", one).replace("10112", str(self.port)) for one in arguments]

    def run(self, arguments):
        return run(EXPORTER, *self.moved(arguments))

    def probe(self, name):
        program, *arguments = exporter(self.objects)[f"{name}Probe"]["exec"]["command"]
        assert program == "/remote-assistance-exporter"
        return self.run(arguments)

    def wait_for(self, name):
        deadline = time.monotonic() + 60
        while (done := self.probe(name)).returncode != 0:
            assert self.process.poll() is None and time.monotonic() < deadline, f"{done.stderr}{self.log()}"
            time.sleep(0.1)

    def wait_for_files(self, *, refused):
        """Until what the web configuration's files hold was refused, or is in force."""
        deadline = time.monotonic() + 60
        while (self.status()["web_configuration"]["refused"] is not None) != refused:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def status(self):
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        user = base64.b64encode(b"probe:probe").decode()
        asked = urllib.request.Request(f"https://127.0.0.1:{self.port}/status", headers={"Authorization": f"Basic {user}"})
        with urllib.request.urlopen(asked, context=trusting, timeout=10) as answer:
            return json.load(answer)

    def log(self):
        return (self.root / "log").read_text()


def exporter_of(spec):
    return next(one for one in spec["containers"] if one["name"] == "exporter")


def certificate(file, key):
    """A certificate as an issuer in the cluster makes it; both may be one file."""
    subject = ["-subj", "/CN=exporter", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    made = key.with_suffix(".made")
    done = run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", made, "-out", file, *subject)
    assert done.returncode == 0, done.stderr
    if file == key:
        file.write_text(file.read_text() + made.read_text())
    else:
        made.rename(key)


if __name__ == "__main__":
    unittest.main()
