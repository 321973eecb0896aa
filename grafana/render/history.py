"""Five weeks of an exporter's life as OpenMetrics, always the same: six tenants with office hours, weekends and
growth, polled by two exporters, and a last day with faults of the usual kinds. Sessions of the last week and
the exporter's own metrics are all there; of the weeks before there are the sessions to compare with.

python3 history.py > history.txt; `--end` prints the time at which it ends.
"""

import math
import random
import sys
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from datetime import datetime, timezone
from itertools import accumulate

PREFIX = "remote_assistance_"
MINUTE, HOUR, DAY = 60, 3600, 86400
# A Thursday afternoon.
END = int(datetime(2026, 3, 19, 15, 0, tzinfo=timezone.utc).timestamp())
START = END - 36 * DAY
DETAILED, FINE = END - 8 * DAY, END - 30 * HOUR
POLL = 5 * MINUTE

# When samples were taken: rarely long ago, then every two minutes.
LONG_AGO = range(START, DETAILED, 30 * MINUTE)
LATELY = [*range(DETAILED, FINE, 15 * MINUTE), *range(FINE, END + 1, 2 * MINUTE)]
ALL = [*LONG_AGO, *LATELY]

# Sessions on a working day, helpers, exporter.
TENANTS = {
    "contoso": (74, 18, 0),
    "fabrikam": (46, 11, 0),
    "northwind": (31, 8, 0),
    "adatum": (17, 6, 1),
    "litware": (9, 4, 1),
    "tailspin": (4, 2, 1),
}
OFFICE = [0, 0, 0, 0, 0, 1, 3, 8, 14, 16, 15, 11, 7, 12, 15, 13, 9, 5, 3, 2, 1, 1, 0, 0]
TYPES = {"viewOnly": (33, 6), "fullControl": (51, 12), "elevation": (8, 9), "unattended": (6, 19), "unreported": (2, 8)}
ALL_TYPES = [*TYPES, "other"]
HELPERS = {"enrolled": 930, "unreported": 40, "notContacted": 16, "pendingReset": 7, "unknown": 4, "blocked": 3}
SHARERS = {"enrolled": 860, "unreported": 50, "notContacted": 48, "pendingReset": 18, "failed": 12, "unknown": 12}
STATES = ["enrolled", "pendingReset", "failed", "notContacted", "blocked", "unknown", "other", "unreported"]
SYSTEMS = ["windows", "macos", "linux", "android", "ios", "chromeos", "other", "unreported"]
HELPER_SYSTEMS = {"windows": 93, "macos": 6, "unreported": 1}
SHARER_SYSTEMS = {"windows": 81, "macos": 9, "android": 5, "ios": 3, "unreported": 2}
REASONS = ["authentication", "connection", "credential", "forbidden", "internal", "ledger", "server_error", "throttled",
           "timeout", "unauthorized"]
REJECTS = ["broken_row", "future_end", "invalid_id", "missing_id", "unreadable_date"]

DURATIONS = [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800]
DELAYS = [60, 300, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800]
REQUESTS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]
COMMITS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
ANSWERS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1]

# The last day's faults: from, to, in hours before the end.
OUTAGE = (13.0, 12.3)
THROTTLED = (6.5, 4.5)
SECRET_EXPIRED = 2.6

randomly = random.Random(10112)


def draw(weights):
    return randomly.choices([*weights], [*weights.values()])[0]


def within(at, hours):
    return END - hours[0] * HOUR <= at < END - hours[1] * HOUR


class Families:
    """Samples by family, since OpenMetrics wants a family in one piece."""

    def __init__(self):
        self.kinds, self.lines = {}, defaultdict(list)

    def add(self, kind, family, suffix, labels, times, values):
        self.kinds[family] = kind
        inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
        head = f"{family}{suffix}{{{inner}}}"
        self.lines[family].extend(f"{head} {value:.10g} {at}" for at, value in zip(times, values) if value is not None)

    def gauge(self, name, labels, times, values):
        self.add("gauge", full(name), "", labels, times, values)

    def counter(self, name, labels, events, times=LATELY):
        """Events are times, or pairs of a time and an amount, in any order."""
        pairs = sorted(event if isinstance(event, tuple) else (event, 1) for event in events)
        at, sums = [time for time, _ in pairs], [0, *accumulate(amount for _, amount in pairs)]
        self.add("counter", full(name), "_total", labels, times, (sums[bisect_right(at, time)] for time in times))

    def histogram(self, name, labels, observed, bounds, times=LATELY):
        """Observations are pairs of a time and a value."""
        family = full(name)
        for bound in [*bounds, math.inf]:
            below = sorted(time for time, value in observed if value <= bound)
            le = "+Inf" if bound == math.inf else f"{float(bound)}"
            self.add("histogram", family, "_bucket", labels | {"le": le}, times,
                     (bisect_right(below, time) for time in times))
        ordered = sorted(observed)
        at, sums = [time for time, _ in ordered], [0, *accumulate(value for _, value in ordered)]
        counts = [bisect_right(at, time) for time in times]
        self.add("histogram", family, "_count", labels, times, counts)
        self.add("histogram", family, "_sum", labels, times, (sums[count] for count in counts))

    def write(self, out):
        for family in sorted(self.lines):
            print(f"# TYPE {family} {self.kinds[family]}", *self.lines[family], sep="\n", file=out)
        print("# EOF", file=out)


def full(name):
    return name if name.startswith("process_") else PREFIX + name


def who(exporter, **labels):
    return {"job": "remote-assistance", "instance": f"exporter-{exporter}:10112"} | labels


def sessions(tenant):
    """Sessions by the time at which they were counted."""
    on_a_day, helpers, _ = TENANTS[tenant]
    found = []
    for hour in range(START, END, HOUR):
        when = datetime.fromtimestamp(hour, timezone.utc)
        weekend = 0.07 if when.weekday() > 4 else (0.85 if when.weekday() == 4 else 1)
        growth = 1 + 0.05 * (hour - END) / (7 * DAY)
        expected = on_a_day * weekend * growth * OFFICE[when.hour] / sum(OFFICE)
        # By Knuth's way to a Poisson distribution.
        left = randomly.random()
        while left > math.exp(-expected):
            left *= randomly.random()
            found.append(session(tenant, hour + randomly.randrange(HOUR), helpers))
    return sorted((s for s in found if s["counted"] <= END), key=lambda s: s["counted"])


def session(tenant, end, helpers):
    kind = draw({name: weight for name, (weight, _) in TYPES.items()})
    delay = min(randomly.lognormvariate(math.log(22 * MINUTE), 0.55), 6 * HOUR)
    counted = end + delay
    while within(counted, OUTAGE) or (tenant == "tailspin" and counted > END - SECRET_EXPIRED * HOUR):
        counted += HOUR
    return {
        "type": kind, "end": end, "counted": counted, "delay": counted - end,
        "duration": min(randomly.lognormvariate(math.log(TYPES[kind][1] * MINUTE), 0.8), 9 * HOUR),
        "helper": min(int(randomly.expovariate(3 / helpers)), helpers - 1), "sharer": randomly.randrange(helpers * 60),
        "helper_state": draw(HELPERS), "sharer_state": draw(SHARERS),
        "helper_os": draw(HELPER_SYSTEMS), "sharer_os": draw(SHARER_SYSTEMS),
        "across": randomly.random() < (0.3 if tenant in ("adatum", "litware") else 0.015),
    }


def distinct(events, window, times):
    """How many different values there were in the window before each time; events are times and values."""
    present, waiting, inside, answer = Counter(), deque(sorted(events)), deque(), []
    for at in times:
        while waiting and waiting[0][0] <= at:
            event = waiting.popleft()
            inside.append(event)
            present[event[1]] += 1
        while inside and inside[0][0] <= at - window:
            _, value = inside.popleft()
            present[value] -= 1
            if not present[value]:
                del present[value]
        answer.append(len(present))
    return answer


def business(out, tenant, counted):
    labels = who(TENANTS[tenant][2], tenant=tenant)
    for kind in ALL_TYPES:
        of_kind = [s for s in counted if s["type"] == kind]
        out.counter("sessions", labels | {"session_type": kind}, [s["counted"] for s in of_kind], ALL)
        across = [s["counted"] for s in of_kind if s["across"]]
        out.counter("cross_tenant_sessions", labels | {"session_type": kind}, across, ALL)
        if of_kind:
            out.histogram("session_duration_seconds", labels | {"session_type": kind},
                          [(s["counted"], s["duration"]) for s in of_kind], DURATIONS)
    for role in ("helper", "sharer"):
        for state in STATES:
            out.counter("participants", labels | {"role": role, "enrollment_state": state},
                        [s["counted"] for s in counted if s[f"{role}_state"] == state])
        for system in SYSTEMS:
            out.counter("participant_os", labels | {"role": role, "os": system},
                        [s["counted"] for s in counted if s[f"{role}_os"] == system])
    for metric, key in (("active_helpers", "helper"), ("active_sharers", "sharer"), ("helped_devices", "sharer")):
        # Some people have two devices.
        seen = [(s["counted"], s[key] * 2 + (metric == "helped_devices" and randomly.random() < 0.1)) for s in counted]
        for days in (1, 7, 28):
            out.gauge(metric, labels | {"window": f"{days}d"}, LATELY, distinct(seen, days * DAY, LATELY))
    in_progress = [sum(s["end"] - s["duration"] <= at - POLL < s["end"] for s in counted[-600:]) for at in LATELY]
    out.gauge("sessions_in_progress", labels, LATELY, in_progress)
    ends = [s["end"] for s in counted]
    out.gauge("last_session_end_timestamp_seconds", labels, [END], [max(ends)])
    out.counter("invalid_durations", labels, [s["counted"] for s in counted if s["duration"] > 5 * HOUR])
    out.histogram("report_delay_seconds", labels, [(s["counted"], s["delay"]) for s in counted], DELAYS)


class Polls:
    """A tenant's polls, and what they leave in the metrics."""

    def __init__(self, tenant, counted):
        self.tenant, self.exporter = tenant, TENANTS[tenant][2]
        self.ends, self.success, self.durations = [], [], []
        self.events = defaultdict(list)
        # By endpoint, for all tenants of an exporter.
        self.requests = []
        times, done = [s["counted"] for s in counted], 0
        first = DETAILED - HOUR + [*TENANTS].index(tenant) * 47
        for at in range(first, END + 1, POLL):
            new = bisect_right(times, at) - done
            done += new
            self.poll(at, new)

    def request(self, at, endpoint, code, seconds=None):
        took = seconds or randomly.lognormvariate(math.log(0.35 if endpoint != "token" else 0.12), 0.4)
        self.requests.append((at, endpoint, took))
        self.events["graph_requests", ("endpoint", endpoint), ("code", code)].append(at)
        return took

    def poll(self, at, new):
        took = 0.0
        reason = self.reason(at)
        if at % HOUR < POLL:
            took += self.request(at, "token", "401" if reason == "authentication" else "200")
        endpoint = "collection" if self.tenant == "adatum" else "sessions_report"
        pages = 1 + TENANTS[self.tenant][0] // 8
        if self.tenant == "fabrikam" and within(at, THROTTLED):
            for _ in range(2):
                took += self.request(at, endpoint, "429")
                self.events["graph_throttled",].append(at)
                self.events["graph_retries",].append(at)
            wait = randomly.uniform(20, 70)
            self.events["graph_throttle_wait_seconds",].append((at, wait))
            took += wait
        if reason in ("server_error", "connection"):
            for _ in range(3):
                code = "503" if reason == "server_error" else "error"
                took += self.request(at, endpoint, code, randomly.uniform(2, 11))
                self.events["graph_retries",].append(at)
        elif reason is None and self.tenant != "litware":
            slow = 1 + 2.5 * within(at, (OUTAGE[0] + 1.5, OUTAGE[0]))
            took += sum(self.request(at, endpoint, "200", randomly.lognormvariate(math.log(0.35 * slow), 0.4))
                        for _ in range(pages))
        took += 0.02
        self.ends.append(at)
        self.durations.append(took)
        self.success.append(reason is None)
        self.events["polls",].append(at)
        if reason:
            self.events["poll_failures", ("reason", reason)].append(at)
        else:
            self.reports(at, new)

    def reason(self, at):
        if self.tenant == "tailspin" and at > END - SECRET_EXPIRED * HOUR:
            return "authentication"
        if within(at, OUTAGE) and self.tenant != "litware":
            return randomly.choice(["server_error", "server_error", "connection", "timeout"])
        return "throttled" if self.tenant == "fabrikam" and within(at, THROTTLED) and randomly.random() < 0.2 else None

    def reports(self, at, new):
        again = TENANTS[self.tenant][0] * 2
        unfinished = randomly.randrange(4) if 7 <= (at % DAY) // HOUR <= 17 else 0
        amended, rejected = randomly.random() < 0.02, self.tenant == "northwind" and within(at, (9, 8.5))
        old = randomly.random() < 0.004
        fates = {"duplicate": again, "unfinished": unfinished, "amended": int(amended), "too_old": int(old)}
        for fate, amount in fates.items():
            self.events[f"reports_{fate}",].append((at, amount))
        if rejected:
            self.events["reports_rejected", ("reason", "unreadable_date")].append(at)
        if self.tenant == "contoso" and within(at, (5.5, 5.2)):
            self.events["report_rows_missing",].append((at, 3))
        self.events["reports_read",].append((at, new + sum(fates.values()) + rejected))

    def write(self, out):
        labels = who(self.exporter, tenant=self.tenant)
        zero = ["polls", "reports_read", "reports_duplicate", "reports_amended", "reports_unfinished", "reports_too_old",
                "reports_baseline", "report_rows_missing", "graph_retries", "graph_throttled",
                "graph_throttle_wait_seconds"]
        series = {(name,): [] for name in zero} | {("poll_failures", ("reason", reason)): [] for reason in REASONS}
        series |= {("reports_rejected", ("reason", reason)): [] for reason in REJECTS} | self.events
        for (name, *pairs), events in series.items():
            out.counter(name, labels | dict(pairs), events)
        last = [bisect_right(self.ends, at) - 1 for at in LATELY]
        good = [end for end, success in zip(self.ends, self.success) if success]
        out.gauge("up", labels, LATELY, (int(self.success[n]) for n in last))
        out.gauge("last_poll_duration_seconds", labels, LATELY, (self.durations[n] for n in last))
        out.gauge("last_poll_success_timestamp_seconds", labels, LATELY,
                  (good[bisect_right(good, at) - 1] for at in LATELY))
        out.gauge("poll_interval_seconds", labels, LATELY, (POLL for _ in LATELY))
        if self.tenant != "litware":
            out.gauge("token_expiry_timestamp_seconds", labels, [END], [END + randomly.randrange(600, 4200)])
        else:
            out.gauge("files_set_aside", labels, [END], [2])
        days = {"contoso": 211, "fabrikam": 19, "adatum": 5}.get(self.tenant)
        if days:
            out.gauge("credential_expiry_timestamp_seconds", labels, [END], [END + days * DAY])
        if self.tenant in ("contoso", "northwind"):
            denied = self.tenant == "northwind"
            since = END - 20 * HOUR
            out.gauge("enrollment_lookup_up", labels, LATELY, (int(not (denied and at > since)) for at in LATELY))
            out.gauge("enrollment_lookup_devices", labels, [END], [3480 if denied else 8214])
            out.gauge("enrollment_lookup_last_success_timestamp_seconds", labels, [END], [since if denied else END - 2400])
            tries = [at for at in range(since, END, HOUR)] if denied else []
            out.counter("enrollment_lookup_failures", labels | {"reason": "forbidden"}, tries)


def per_exporter(out, exporter, polls):
    labels = who(exporter)
    requests = [request for poll in polls for request in poll.requests]
    for endpoint in sorted({endpoint for _, endpoint, _ in requests}):
        out.histogram("graph_request_duration_seconds", labels | {"endpoint": endpoint},
                      [(at, took) for at, of, took in requests if of == endpoint], REQUESTS)
    commits = [(at, randomly.lognormvariate(math.log(0.006), 0.5)) for poll in polls for at in poll.ends]
    out.histogram("ledger_commit_duration_seconds", labels, commits, COMMITS)
    out.counter("ledger_commits", labels, [at for at, _ in commits])
    full_disk = [END - 3.4 * HOUR + n * POLL for n in range(2)] if exporter else []
    out.counter("ledger_commit_failures", labels, full_disk)
    ids = 2600 if exporter else 11800
    out.gauge("ledger_sessions", labels, LATELY, (ids * (1 + 0.02 * math.sin(at / DAY)) // 1 for at in LATELY))
    out.gauge("ledger_size_bytes", labels, LATELY, (ids * 420 + (at - START) // DAY * ids * 4 for at in LATELY))
    out.gauge("exporter_build_info", labels | {"version": "0.9.0", "revision": "503ce71", "rustversion": "1.89.0"},
              LATELY, (1 for _ in LATELY))
    out.gauge("exporter_config_last_reload_successful", labels, LATELY, (1 for _ in LATELY))
    out.gauge("exporter_config_last_reload_success_timestamp_seconds", labels, [END], [END - 52 * HOUR])
    out.gauge("exporter_config_hash", labels, [END], [0x3FA94C01D27B if exporter else 0x91B7E02C55A8])
    for path, every, code in (("/metrics", 15, "200"), ("/-/healthy", 10, "200"), ("/", 1700, "200"), ("other", 9000, "404")):
        asked = range(DETAILED, END, every)
        out.counter("exporter_http_requests", labels | {"path": path, "code": code}, asked)
        median = 0.0016 if path == "/metrics" else 0.0003
        out.histogram("exporter_http_request_duration_seconds", labels | {"path": path},
                      [(at, randomly.lognormvariate(math.log(median), 0.4)) for at in asked[::20]], ANSWERS)
    out.gauge("exporter_http_requests_in_flight", labels, LATELY, (int(randomly.random() < 0.05) + 1 for _ in LATELY))
    started = END - (9 * DAY if exporter else 23 * DAY)
    out.gauge("process_start_time_seconds", labels, LATELY, (started for _ in LATELY))
    out.counter("process_cpu_seconds", labels, ((at, randomly.uniform(0.3, 0.6)) for at in range(DETAILED, END, 60)))
    size = 31e6 if exporter else 44e6
    out.gauge("process_resident_memory_bytes", labels, LATELY, (size + randomly.uniform(0, 3e6) for _ in LATELY))
    out.gauge("process_open_fds", labels, LATELY, (randomly.randrange(24, 31) for _ in LATELY))
    out.gauge("process_max_fds", labels, LATELY, (1024 for _ in LATELY))


def main():
    if "--end" in sys.argv:
        print(END)
        return
    out, by_exporter = Families(), defaultdict(list)
    for tenant in TENANTS:
        counted = sessions(tenant)
        business(out, tenant, counted)
        polls = Polls(tenant, counted)
        polls.write(out)
        by_exporter[polls.exporter].append(polls)
    for exporter, polls in by_exporter.items():
        per_exporter(out, exporter, polls)
    out.write(sys.stdout)


if __name__ == "__main__":
    main()
