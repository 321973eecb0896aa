"""Exporter health: what an administrator looks at when something is wrong."""

from panels import (
    BLUE, BY_NAME, DARK_GREY, ENDPOINTS, FAILURES, GREEN, GREY, HEALTH, ORANGE, OVERVIEW, PALE_BLUE, RED, REJECTIONS, TENANTS,
    as_minutes, column, dashboard, drill_down, fixed, fixed_all, histogram, mapping,
    own_per_bar, percentile, quantile, selector,
    series, stat, steps, table, table_target, target, way_to,
)

NONE_SHOULD = steps(GREEN, (0.5, RED))
WORTH_A_LOOK = steps(GREEN, (0.5, ORANGE))
DAY = 86400
UNTIL = steps(RED, (7 * DAY, ORANGE), (30 * DAY, GREEN))


def increase(name, tenant=True):
    return f"sum(increase({selector(name, tenant=tenant)}[$__range]))"


def per_process(name):
    return selector(name, tenant=False)


def of_tenant(name):
    return f"max by (tenant) ({selector(name)})"


def observed(q, name, keep=(), tenant=True):
    return quantile(q, histogram(name, "$__rate_interval", keep, tenant))


def tile(title, description, expr, **more):
    return stat(title, description, expr, width=6, height=3, **{"unit": "locale", "decimals": 0} | more)


def at_a_glance():
    """Green where all is well. A line on polls, one on what was read and written, one on what polls depend on."""
    to_tenants = [way_to(TENANTS, "Tenants")]
    missed = f"(time() - {of_tenant('last_poll_success_timestamp_seconds')}) / {of_tenant('poll_interval_seconds')}"
    return [
        tile("Exporters", "Exporters that Prometheus scrapes.", f"count({per_process('exporter_build_info')})",
             none="None", lacking=RED, thresholds=steps(RED, (1, GREEN))),
        tile("Tenants failing", "Tenants whose last poll failed. *Polls by tenant* tells which and why.",
             f"sum(1 - {of_tenant('up')})", thresholds=steps(GREEN, (1, RED)), links=to_tenants),
        tile("Polls missed", "Time since the last successful poll, in poll intervals, of the tenant for which it is longest.",
             f"floor(max({missed}))", thresholds=steps(GREEN, (3, ORANGE), (12, RED)), links=to_tenants),
        tile("Polls failed", "Share of the polls in the chosen time that failed.",
             f"{increase('poll_failures_total')} / ({increase('polls_total')} > 0)", unit="percentunit", decimals=1,
             thresholds=steps(GREEN, (0.01, ORANGE), (0.1, RED)), none="No polls"),
        tile("Rows missing", "Rows that the service promised and did not deliver, in the chosen time. They are read again by "
             "later polls.", increase("report_rows_missing_total"), thresholds=WORTH_A_LOOK),
        tile("Rows rejected", "Readings of rows that could not be understood, in the chosen time. They are read again, and "
             "count once they are repaired.", increase("reports_rejected_total"), thresholds=WORTH_A_LOOK),
        tile("Commits failed", "Transactions that could not be written to the ledger, in the chosen time. Nothing is lost "
             "as long as Graph still has the rows; look at the disk.", increase("ledger_commit_failures_total", False),
             thresholds=NONE_SHOULD),
        tile("Counted twice", "Tenants that more than one exporter polls, each into a ledger of its own. Dashboards show "
             "the higher count.",
             f"sum(count by (tenant) ({selector('poll_interval_seconds')}) > bool 1)", thresholds=WORTH_A_LOOK),
        tile("Throttled", "Requests that Graph answered 429, in the chosen time. The exporter waits as long as it is told.",
             increase("graph_throttled_total"), thresholds=WORTH_A_LOOK),
        tile("Look-ups failing", "Tenants whose last look-up of enrolment states failed, where `enrollment_lookup` is on.",
             f"sum(1 - {of_tenant('enrollment_lookup_up')})", thresholds=WORTH_A_LOOK, none="None configured"),
        tile("Certificate ends", "Time until the first certificate of kind client_certificate expires. When a secret "
             "expires, Entra does not tell.", f"min({selector('credential_expiry_timestamp_seconds')}) - time()", unit="s",
             decimals=1, thresholds=UNTIL, none="No certificate"),
        tile("Configuration", "Whether every exporter could load its configuration when it last tried. If not, it runs with "
             "the one before, and its log says why.", f"min({per_process('exporter_config_last_reload_successful')})",
             unit="none", mappings=mapping(_1=("Loaded", GREEN), _0=("Refused", RED))),
    ]


def polls():
    failures = f"{own_per_bar('poll_failures_total', ['reason'])} > 0"
    succeeded = (f"(sum (rate({selector('polls_total')}[$__rate_interval]))"
                 f" - sum (rate({selector('poll_failures_total')}[$__rate_interval]))) * $__interval_ms / 1000")
    share = f"{of_tenant('last_poll_duration_seconds')} / {of_tenant('poll_interval_seconds')}"
    missed = f"(time() - {of_tenant('last_poll_success_timestamp_seconds')}) / {of_tenant('poll_interval_seconds')}"
    return [
        series("Polls", "Polls that ended in each bar.",
               [target(succeeded, "Succeeded"), target(own_per_bar("poll_failures_total"), "Failed")], unit="locale",
               decimals=0, bars=True, stack=True, width=8, overrides=[fixed("Succeeded", GREEN), fixed("Failed", RED)]),
        series("Failures by reason", "Polls that failed in each bar. Red: we are refused. Orange: the service or the way to it. "
               "Yellow: too many requests. Purple: what came is not understood. Blue: the exporter's own machine. The README "
               "explains each reason.", [target(failures, "{{reason}}")], unit="locale", bars=True, stack=True, width=8,
               decimals=0, overrides=fixed_all(FAILURES), none="No poll failed"),
        series("Polls missed over time", "Time since the last successful poll, in poll intervals: of the tenant for which it is "
               "longest, and of half of them at most. Below 2 all is well.",
               [target(f"max({missed})", "Longest"), target(f"quantile(0.5, {missed})", "Median")], unit="locale",
               width=8, decimals=1, thresholds=steps("transparent", (3, ORANGE), (12, RED)), steps_shown=True,
               overrides=[fixed("Longest", ORANGE), fixed("Median", BLUE)]),
        series("Poll duration", "How long the last poll took: the longest, and of half of the tenants at most.",
               [target(f"max({of_tenant('last_poll_duration_seconds')})", "Longest"),
                target(f"quantile(0.5, {of_tenant('last_poll_duration_seconds')})", "Median")], unit="s", width=8,
               overrides=[fixed("Longest", ORANGE), fixed("Median", BLUE)]),
        series("Poll duration by interval", "The last poll's duration as a share of the interval, for the tenant for "
               "which it is highest. Near 1, polls cannot keep up: raise page_size or poll_interval.",
               [target(f"max({share})", "Highest")], unit="percentunit", width=8,
               thresholds=steps("transparent", (0.8, ORANGE)), steps_shown=True, overrides=[fixed("Highest", BLUE)]),
        series("From end to count", "Time from a session's end to its being counted. It holds the service's own delay "
               "and half a poll interval on average.",
               [target(as_minutes(observed(0.5, "report_delay_seconds")), "Median"),
                target(as_minutes(observed(0.95, "report_delay_seconds")), "95th percentile")], unit="m", width=8,
               joined=True, none="No session counted",
               overrides=[fixed("Median", BLUE), percentile("95th percentile")]),
    ]


def reports():
    fates = {"counted": BLUE, "unfinished": PALE_BLUE, "amended": "yellow", "too old": "purple", "baseline": DARK_GREY}
    names = ["sessions_total", *(f"reports_{fate.replace(' ', '_')}_total" for fate in fates if fate != "counted")]
    new = [target(f"{own_per_bar(name)} > 0", fate) for name, fate in zip(names, fates)]
    return [
        series("Reports read", "Reports that were read in each bar, and how many of them were known already. Most are: every "
               "poll reads the look-back window again.",
               [target(own_per_bar("reports_read_total"), "read"), target(own_per_bar("reports_duplicate_total"), "duplicate")],
               unit="locale", decimals=0, width=8, overrides=[fixed("read", BLUE), fixed("duplicate", GREY)]),
        series("New and changed reports", "What became of the reports that were not duplicates, in each bar. Unfinished ones are "
               "read until they end.", new, unit="locale", decimals=0, width=8, bars=True, stack=True,
               overrides=fixed_all(fates), none="Nothing new"),
        series("Rejected and missing", "Readings of rows that could not be understood, by reason; rows that were promised and "
               "not delivered; counted sessions without a usable duration.",
               [target(own_per_bar("reports_rejected_total", ["reason"]) + " > 0", "{{reason}}"),
                target(own_per_bar("report_rows_missing_total") + " > 0", "rows missing"),
                target(own_per_bar("invalid_durations_total") + " > 0", "no duration")], unit="locale", decimals=0, width=8,
               bars=True, stack=True, none="Nothing rejected, nothing missing",
               overrides=[*fixed_all(REJECTIONS), fixed("rows missing", "light-orange"), fixed("no duration", GREY)]),
    ]


def graph():
    codes = [
        {"matcher": {"id": "byRegexp", "options": pattern},
         "properties": [{"id": "color", "value": {"fixedColor": color, "mode": "fixed"}}]}
        for pattern, color in (("/^[23]/", GREEN), ("/^4/", ORANGE), ("429", "yellow"), ("/^5/", RED), ("error", "dark-red"))
    ]
    duration = "graph_request_duration_seconds"
    return [
        series("Requests by status", "Requests to Graph and its token endpoint in each bar, by HTTP status; *error* where no "
               "answer came.", [target(own_per_bar("graph_requests_total", ["code"]), "{{code}}")], unit="locale",
               decimals=0, bars=True, stack=True, width=8, overrides=codes),
        series("Requests by endpoint", "Requests to Graph and its token endpoint in each bar, by what they ask for.",
               [target(own_per_bar("graph_requests_total", ["endpoint"]), "{{endpoint}}")], unit="locale", decimals=0,
               bars=True, stack=True, width=8, overrides=fixed_all(ENDPOINTS)),
        series("Latency of Graph", "95th percentile of single requests by endpoint, for all tenants of the chosen instances.",
               [target(observed(0.95, duration, ["endpoint"], tenant=False), "{{endpoint}}")], unit="s", width=8,
               none="No requests", joined=True, overrides=fixed_all(ENDPOINTS)),
        series("Throttling and retries", "Requests that were answered 429, and requests that were sent again.",
               [target(own_per_bar("graph_retries_total"), "Retries"),
                target(own_per_bar("graph_throttled_total"), "Throttled")], unit="locale", decimals=0, width=8,
               overrides=[fixed("Throttled", ORANGE), fixed("Retries", BLUE)]),
        series("Held back", "Time for which requests waited to keep below the service's limits, in seconds per second, "
               "summed over the tenants. If it lasts, raise page_size.",
               [target(f"sum(rate({selector('graph_throttle_wait_seconds_total')}[$__rate_interval]))", "Waiting")],
               unit="percentunit", width=8, overrides=[fixed("Waiting", BLUE)]),
        series("Failed look-ups", "Look-ups of enrolment states that failed in each bar, by reason, where `enrollment_lookup` is "
               "on. Polls go on with what was known before.",
               [target(own_per_bar("enrollment_lookup_failures_total", ["reason"]) + " > 0", "{{reason}}")], unit="locale",
               decimals=0, width=8, bars=True, stack=True, none="No look-up failed", overrides=fixed_all(FAILURES)),
    ]


def tenants():
    name = "${__value.text}"
    colored = {"type": "color-text"}
    success = of_tenant("last_poll_success_timestamp_seconds")
    reasons = [{"type": "value", "options": {
        reason: {"color": color, "index": index, "text": reason} for index, (reason, color) in enumerate(FAILURES.items())}}]
    shown = [
        (of_tenant("up"), "Last poll"),
        (f"{success} * 1000", "Last success"),
        (of_tenant("last_poll_duration_seconds"), "Duration"),
        (f"round(sum by (tenant) (increase({selector('poll_failures_total')}[$__range])))", "Failures"),
        (f"topk by (tenant) (1, sum by (tenant, reason) (increase({selector('poll_failures_total')}[$__range])) > 0.5)", ""),
        (f"{of_tenant('token_expiry_timestamp_seconds')} - time()", "Token"),
        (f"min by (tenant) ({selector('credential_expiry_timestamp_seconds')}) - time()", "Certificate"),
        (of_tenant("files_set_aside"), "Set aside"),
        (of_tenant("enrollment_lookup_up"), "Look-up"),
        (of_tenant("enrollment_lookup_devices"), "Devices"),
        (f"{of_tenant('enrollment_lookup_last_success_timestamp_seconds')} * 1000", "Last look-up"),
    ]
    overrides = [
        column("Tenant", unit="string", custom__filterable=True, custom__width=150,
               links=[drill_down(OVERVIEW, "Overview of ${__value.text}", name)]),
        column("Last poll", mappings=mapping(_1=("OK", GREEN), _0=("Failed", RED)), custom__cellOptions=colored),
        column("Last success", unit="dateTimeFromNow", custom__width=150),
        column("Duration", unit="s"),
        column("Failures", thresholds=steps("text", (1, RED)), custom__cellOptions=colored),
        column("Mostly", unit="string", mappings=reasons, custom__cellOptions=colored),
        column("Token", unit="s", decimals=0),
        column("Certificate", unit="s", decimals=1, thresholds=UNTIL, custom__cellOptions=colored),
        column("Set aside", thresholds=steps("text", (1, ORANGE)), custom__cellOptions=colored),
        column("Look-up", mappings=mapping(_1=("OK", GREEN), _0=("Failed", ORANGE)), custom__cellOptions=colored),
        column("Last look-up", unit="dateTimeFromNow", custom__width=150),
    ]
    columns = [("tenant", "Tenant"), *((f"Value #{chr(ord('A') + n)}", title) for n, (_, title) in enumerate(shown))]
    columns.insert(5, ("reason", "Mostly"))
    return [table(
        "Polls by tenant", "How the polls of each tenant go, failing ones first. Mostly: the most frequent reason of "
        "its failures in the chosen time. Token, certificate: time until they "
        "expire, the latter for client_certificate only, since Entra does not tell when a secret expires. Set aside: files, for "
        "the source files only. Look-up and "
        "what follows: with enrollment_lookup only.",
        [table_target(expr) for expr, _ in shown], columns=columns, overrides=overrides,
        sort=[("Last poll", False)], height=9)]


def ledger():
    return [
        series("Sessions in the ledger", "Ids that the ledger keeps so that no session counts twice. Those behind the look-back "
               "window are forgotten.", [target(per_process("ledger_sessions"), "{{instance}}")], unit="locale",
               color=BY_NAME, width=6, decimals=0),
        series("Size of the ledger", "The ledger's file on disk.", [target(per_process("ledger_size_bytes"), "{{instance}}")],
               unit="bytes", color=BY_NAME, width=6),
        series("Commits", "Transactions in each bar. Those that fail are read again by the next poll.",
               [target(own_per_bar("ledger_commits_total", tenant=False), "Committed"),
                target(own_per_bar("ledger_commit_failures_total", tenant=False), "Failed")], unit="locale", decimals=0,
               bars=True, stack=True, width=6, overrides=[fixed("Committed", GREEN), fixed("Failed", RED)]),
        series("Commit duration", "From the begin of a transaction to its being on disk.",
               [target(observed(0.5, "ledger_commit_duration_seconds", tenant=False), "Median"),
                target(observed(0.99, "ledger_commit_duration_seconds", tenant=False), "99th percentile")], unit="s",
               width=6, none="No transactions", joined=True, overrides=[fixed("Median", BLUE), percentile("99th percentile")]),
    ]


def process():
    build = per_process("exporter_build_info")
    # Two namespaces may each have a pod of one name.
    of_process = "cluster, namespace, job, instance"
    by_instance = [
        build,
        f"time() - max by ({of_process}) ({per_process('process_start_time_seconds')})",
        f"max by ({of_process}) ({per_process('exporter_config_last_reload_successful')})",
        f"max by ({of_process}) ({per_process('exporter_config_last_reload_success_timestamp_seconds')}) * 1000",
        f"max by ({of_process}) ({per_process('exporter_config_hash')})",
    ]
    columns = [
        ("instance", "Instance"), ("job", "Job"), ("version", "Version"), ("revision", "Revision"), ("rustversion", "Rust"),
        ("Value #B", "Up for"), ("Value #C", "Configuration"), ("Value #D", "Loaded"), ("Value #E", "Hash"),
        ("Value #A", ""), ("__name__", ""),
    ]
    overrides = [
        column("Up for", unit="s"),
        column("Configuration", mappings=mapping(_1=("Loaded", GREEN), _0=("Refused", RED)),
               custom__cellOptions={"type": "color-text"}),
        column("Loaded", unit="dateTimeFromNow"),
        column("Hash", unit="hex"),
    ]
    http = "exporter_http_request"
    fds = f"{per_process('process_open_fds')} / {per_process('process_max_fds')}"
    return [
        table("Versions and configurations", "What runs, and with what. Replicas with one configuration have one hash.",
              [table_target(expr) for expr in by_instance], columns=columns, overrides=overrides, height=6, none="No exporter",
              sort=[("Instance", False)]),
        series("Scrapes and other requests", "Requests that were answered, by path and status.",
               [target(f"sum by (path, code) (rate({per_process(f'{http}s_total')}[$__rate_interval]))", "{{path}} {{code}}")],
               unit="reqps", width=8),
        series("Latency of answers", "95th percentile of the time taken to answer, by path.",
               [target(observed(0.95, f"{http}_duration_seconds", ["path"], tenant=False), "{{path}}")], unit="s", width=8,
               none="No requests", joined=True),
        series("Requests in flight", "Requests that are being answered.",
               [target(per_process(f"{http}s_in_flight"), "{{instance}}")], unit="locale", color=BY_NAME, width=8, decimals=0),
        series("CPU", "Time on processors: 100% is one core.",
               [target(f"rate({per_process('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}")],
               unit="percentunit", width=8, color=BY_NAME),
        series("Memory", "Resident memory.", [target(per_process("process_resident_memory_bytes"), "{{instance}}")],
               unit="bytes", color=BY_NAME, width=8),
        series("File descriptors", "Open file descriptors, as a share of those allowed.", [target(fds, "{{instance}}")],
               unit="percentunit", color=BY_NAME, width=8, thresholds=steps("transparent", (0.8, ORANGE)), steps_shown=True),
    ]


def build():
    return dashboard(
        HEALTH, "Remote help exporter health", "Whether the numbers can be trusted, and what to mend if not.",
        [(None, at_a_glance()), ("Tenants", tenants()), ("Polls", polls()), ("Graph", graph()), ("Reports", reports()),
         ("Ledger", ledger()), ("Exporters", process())], since="24h")
