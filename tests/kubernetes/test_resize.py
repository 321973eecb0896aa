"""The steps of a resize: the objects, the command lines and the queries of docs/sharding.md."""

import json
import re
import shlex
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from restricted import violations
from test_program import commands, understood
from tools import EXPORTER, MINIMAL, RESIZES, ROOT, chart, documents, find, pods, run, template, wrong_by_schema

RELEASE = "remote-assistance-exporter"
PROGRAM = "remote-assistance-exporter"
DOCUMENT = (ROOT / "docs/sharding.md").read_text()


def blocks(language):
    """The fenced blocks of this language, whatever their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def lines():
    """The words of each command, those of a pipe one by one."""
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").replace("|\n", "\n").splitlines():
            yield shlex.split(line.split(" | ")[0])


class Resize(unittest.TestCase):
    def test_objects_are_what_kubernetes_wants_and_are_of_the_charts_names(self):
        stateful = find(chart(MINIMAL, release=RELEASE), "StatefulSet")
        name = f"{stateful['spec']['volumeClaimTemplates'][0]['metadata']['name']}-{stateful['metadata']['name']}"
        configuration = find(chart(MINIMAL, release=RELEASE), "ConfigMap")["metadata"]["name"]
        for path in RESIZES:
            with self.subTest(path.name):
                objects = documents(path.read_text())
                self.assertEqual(wrong_by_schema(objects), [])
                volumes = []
                for pod, _, spec in pods(objects):
                    self.assertEqual(violations(spec), [], pod)
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    volumes += spec["volumes"]
                    for arguments in commands(spec):
                        done = understood(arguments)
                        self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
                claims = [one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one]
                # As the StatefulSet calls them, the new one last.
                self.assertEqual(claims, [f"{name}-{ordinal}" for ordinal in range(3)])
                self.assertEqual(find(objects, "PersistentVolumeClaim")["metadata"]["name"], claims[-1])
                self.assertEqual({one["configMap"]["name"] for one in volumes if "configMap" in one}, {configuration})

    def test_command_lines_are_understood(self):
        asked = 0
        for words in lines():
            own = [index for index, word in enumerate(words) if word in (PROGRAM, f"/{PROGRAM}")]
            if own and words[0] in (PROGRAM, "kubectl"):
                asked += 1
                arguments = words[own[0] + 1:]
                self.assertTrue(arguments, words)
                done = understood(arguments)
                self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        self.assertGreaterEqual(asked, 9)

    def test_commands_name_the_pods_and_the_job_that_there_are(self):
        job, across = (documents(path.read_text()) for path in RESIZES)
        names = {name for name, _, _ in pods(across)}
        (label,) = {json.dumps(labels) for _, labels, _ in pods(across)}
        label = "=".join(*json.loads(label).items())
        executed = [words for words in lines() if words[:2] == ["kubectl", "exec"]]
        self.assertGreaterEqual(len(executed), 3)
        for words in executed:
            self.assertEqual(len(names & set(words)), 1, words)
            self.assertNotIn("--tty", words)
            self.assertNotIn("-it", words)
        waits = " ".join(" ".join(words) for words in lines() if words[0] == "kubectl" and "exec" not in words)
        self.assertIn(f"--selector={label}", waits)
        self.assertIn(f"job/{find(job, 'Job')['metadata']['name']}", waits)

    def test_what_waits_writes_nothing_and_stays(self):
        arguments = {tuple(spec["containers"][0]["args"]) for _, _, spec in pods(documents(RESIZES[1].read_text()))}
        (arguments,) = arguments
        # No file can be made in that directory, as in the pod's.
        process = subprocess.Popen([EXPORTER, *arguments], cwd="/proc", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            self.assertIn("Simulating", process.stderr.readline())
            time.sleep(0.5)
            self.assertIsNone(process.poll())
        finally:
            process.terminate()
            process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)

    def two_ledgers(self, root):
        """A configuration, and the ledgers of two pods, in directories called by their ordinals."""
        (root / "reports").mkdir()
        tenants = [{"name": f"tenant-{number}", "source": {"kind": "files", "directory": str(root / "reports")}} for number in range(12)]
        (root / "config.yaml").write_text(json.dumps({"tenants": tenants}))
        for ordinal in range(2):
            shard = [f"--pod=exporter-{ordinal}", "--total-shards=2", f"--storage.path={root}/{ordinal}"]
            done = run(EXPORTER, "once", f"--config.file={root}/config.yaml", *shard)
            self.assertEqual(done.returncode, 0, done.stderr)
        return [self.held(root / str(ordinal)) for ordinal in range(2)]

    def test_the_job_moves_tenants_and_goes_on_after_it_was_cut_off(self):
        ((_, _, spec),) = pods(documents(RESIZES[0].read_text()))
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            before = self.two_ledgers(root)

            def moved(container):
                places = {"/ledgers": str(root), "/etc/remote-assistance-exporter": str(root)}
                return [re.sub("|".join(places), lambda place: places[place[0]], word) for word in container["args"]]

            for container in spec["initContainers"] + spec["containers"]:
                done = run(EXPORTER, *moved(container))
                self.assertEqual(done.returncode, 0, done.stderr)
            after = [self.held(root / str(ordinal)) for ordinal in range(3)]
            self.assertEqual(after, [before[0] - after[2], before[1] - after[2], after[2]])
            self.assertTrue(after[2] & before[0] and after[2] & before[1], after)
            # Once more: exports that were done say so, and imports find all there.
            for container in spec["initContainers"] + spec["containers"]:
                done = run(EXPORTER, *moved(container))
                if "export" in container["args"]:
                    self.assertEqual(done.returncode, 64, done.stderr)
                    self.assertIn("there is such a file", done.stderr)
                else:
                    self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual([self.held(root / str(ordinal)) for ordinal in range(3)], after)

    def test_a_move_by_a_pipe_ends_with_one_copy(self):
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            before, _ = self.two_ledgers(root)
            # As the commands are written, with claims and configuration elsewhere.
            piped, imported, removed = (words for words in lines() if words[:2] == ["kubectl", "exec"])

            def moved(words, ledger):
                words = words[words.index(f"/{PROGRAM}") + 1:]
                places = {"/etc/remote-assistance-exporter": str(root), "=/ledger": f"={root}/{ledger}"}
                for old, new in places.items():
                    words = [word.replace(old, new) for word in words]
                return words

            exported = run(EXPORTER, *moved(piped, 0))
            self.assertEqual(exported.returncode, 0, exported.stderr)
            self.assertNotIn("level=", exported.stdout, "the log is apart")
            done = run(EXPORTER, *moved(imported, 2), input=exported.stdout)
            self.assertEqual(done.returncode, 0, done.stderr)
            took = set(re.findall(r'"Imported a tenant" tenant=(\S+)', done.stderr))
            self.assertTrue(set() < took < before, f"{took} of {before}")
            done = run(EXPORTER, *moved(removed, 0))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.held(root / "2"), took)
            self.assertEqual(self.held(root / "0"), before - took)

    def held(self, ledger):
        """The tenants of a ledger."""
        done = run(EXPORTER, "ledger", "export", "--all", f"--storage.path={ledger}")
        self.assertEqual(done.returncode, 0, done.stderr)
        return set(re.findall(r'"Exported a tenant" tenant=(\S+)', done.stderr))

    def test_no_pod_is_a_number_of_pods(self):
        done = template(MINIMAL, "replicas: 3\npodDisruptionBudget: {enabled: true, minAvailable: 2}", flags=["--set", "replicas=0"])
        self.assertEqual(done.returncode, 0, done.stderr)
        stateful = find(documents(done.stdout), "StatefulSet")
        self.assertEqual(stateful["spec"]["replicas"], 0)
        self.assertTrue(any(words[:2] == ["helm", "upgrade"] and words[-2:] == ["--set", "replicas=0"] for words in lines()))

    def test_queries_find_what_went_wrong_and_nothing_else(self):
        twice, missing, less = blocks("promql")
        shown = 'remote_assistance_poll_interval_seconds{{job="x", instance="{}", tenant="{}"}}'
        total = 'remote_assistance_sessions_total{{job="x", instance="{}", tenant="{}", session_type="control"}}'
        configured = 'remote_assistance_exporter_configured_tenants{{job="x", instance="{}"}}'
        # Two pods up to 1h, nobody up to 1h30, then three: b moved from 0 to 2.
        gone = "_x29 stale _x29 "

        def series(changed):
            values = {
                configured.format(0): f"3x59 {gone}3x60", configured.format(2): "_x59 _x30 3x60",
                shown.format(0, "a"): f"300x59 {gone}300x60", shown.format(1, "c"): f"300x59 {gone}300x60",
                shown.format(0, "b"): f"300x59 {gone}", shown.format(2, "b"): "_x59 _x30 300x60",
                total.format(0, "a"): f"7x59 {gone}7x60", total.format(1, "c"): f"5x59 {gone}6x60",
                total.format(0, "b"): f"9x59 {gone}", total.format(2, "b"): "_x59 _x30 9x60",
            }
            values.update(changed)
            return [{"series": name, "values": values} for name, values in values.items() if values]

        again = "_x59 _x30 "
        cases = [
            ({}, [0, 0, 0]),
            # The old pod has it, too; nobody has it; it was counted from the start.
            ({shown.format(0, "b"): f"300x59 {gone}300x60"}, [1, 0, 0]),
            ({shown.format(2, "b"): None, total.format(2, "b"): None}, [0, 1, 0]),
            ({total.format(2, "b"): f"{again}4x60"}, [0, 0, 1]),
        ]
        for changed, wanted in cases:
            self.assertEqual([self.found(query, series(changed)) for query in (twice, missing, less)], wanted, changed)

    def found(self, query, series):
        """How many series the query gives two hours after the beginning, which is half an hour after the resize."""
        with tempfile.TemporaryDirectory() as directory:
            for number in range(3):
                samples = [{"labels": "{}", "value": number}] if number else []
                tests = [{"interval": "1m", "input_series": series, "promql_expr_test": [{"expr": f"count({query})", "eval_time": "2h", "exp_samples": samples}]}]
                path = Path(directory) / "test.yml"
                path.write_text(json.dumps({"tests": tests}))
                done = run("promtool", "test", "rules", path)
                if done.returncode == 0:
                    return number
        self.fail(done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
