"""Exporter health: what an administrator looks at when something is wrong."""

from panels import (
    BLUE, GREEN, GREY, HEALTH, ORANGE, OVERVIEW, RED, column, dashboard, drill_down, fixed, histogram, mapping,
    own_per_bar, quantile, selector, series, stat, steps, table, table_target, target,
)

NONE_SHOULD = steps(GREEN, (0.5, RED))
WORTH_A_LOOK = steps(GREEN, (0.5, ORANGE))
DAY = 86400


def increase(name, tenant=True):
    return f"sum(increase({selector(name, tenant=tenant)}[$__range]))"


def per_process(name):
    return selector(name, tenant=False)


def of_tenant(name):
    return f"max by (tenant) ({selector(name)})"


def observed(q, name, keep=(), tenant=True):
    return quantile(q, histogram(name, "$__rate_interval", keep, tenant))


def at_a_glance():
    return [
        stat("Exporters", "Exporters that Prometheus scrapes.", f"count({per_process('exporter_build_info')})",
             unit="locale", none="None", thresholds=steps(RED, (1, GREEN))),
        stat("Configuration", "Whether every exporter could load its configuration when it last tried. If not, it runs with "
             "the one before, and its log says why.", f"min({per_process('exporter_config_last_reload_successful')})",
             unit="none", mappings=mapping(_1=("Loaded", GREEN), _0=("Refused", RED))),
        stat("Tenants failing", "Tenants whose last poll failed. *Failures by reason* tells why.",
             f"sum(1 - {of_tenant('up')})", unit="locale", thresholds=steps(GREEN, (1, RED))),
        stat("Polls missed", "Time since the last successful poll, in poll intervals, of the tenant for which it is longest.",
             f"floor(max((time() - {of_tenant('last_poll_success_timestamp_seconds')}) / {of_tenant('poll_interval_seconds')}))",
             unit="locale", thresholds=steps(GREEN, (3, ORANGE), (12, RED))),
        stat("Rows missing", "Rows that the service promised and did not deliver, in the chosen time. They are read again by "
             "later polls.", increase("report_rows_missing_total"), unit="locale", decimals=0, thresholds=WORTH_A_LOOK),
        stat("Rows rejected", "Readings of rows that could not be understood, in the chosen time. They are read again, and "
             "count once they are repaired.", increase("reports_rejected_total"), unit="locale", decimals=0,
             thresholds=WORTH_A_LOOK),
        stat("Commits failed", "Transactions that could not be written to the ledger, in the chosen time. Nothing is lost "
             "as long as Graph still has the rows; look at the disk.", increase("ledger_commit_failures_total", False),
             unit="locale", decimals=0, thresholds=NONE_SHOULD),
        stat("Counted twice", "Tenants that more than one exporter polls, each into a ledger of its own. Dashboards show "
             "the higher count.",
             f"sum(count by (tenant) ({selector('poll_interval_seconds')}) > bool 1)", unit="locale",
             thresholds=WORTH_A_LOOK),
    ]


def polls():
    failures = own_per_bar("poll_failures_total", ["reason"])
    succeeded = (f"(sum (rate({selector('polls_total')}[$__rate_interval]))"
                 f" - sum (rate({selector('poll_failures_total')}[$__rate_interval]))) * $__interval_ms / 1000")
    share = f"{of_tenant('last_poll_duration_seconds')} / {of_tenant('poll_interval_seconds')}"
    missed = f"(time() - {of_tenant('last_poll_success_timestamp_seconds')}) / {of_tenant('poll_interval_seconds')}"
    return [
        series("Polls", "Polls that ended in each bar.",
               [target(succeeded, "Succeeded"), target(own_per_bar("poll_failures_total"), "Failed")], unit="locale",
               decimals=0, bars=True, stack=True, width=8, overrides=[fixed("Succeeded", GREEN), fixed("Failed", RED)]),
        series("Failures by reason", "Polls that failed in each bar. The reasons are explained in the README.",
               [target(failures, "{{reason}}")], unit="locale", bars=True, stack=True, width=8, decimals=0),
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
               [target(observed(0.5, "report_delay_seconds"), "Median"),
                target(observed(0.95, "report_delay_seconds"), "95th percentile")], unit="s", width=8, joined=True,
               none="No session counted", overrides=[fixed("Median", BLUE), fixed("95th percentile", "purple")]),
    ]


def reports():
    fates = [("duplicate", GREY), ("amended", "yellow"), ("unfinished", "super-light-blue"), ("too_old", "purple"),
             ("baseline", "#6e6e78"), ("rejected", RED)]
    counted = [target(own_per_bar(f"reports_{fate}_total"), fate.replace("_", " ")) for fate, _ in fates]
    return [
        series("Reports read", "What became of the reports that were read, in each bar. Most are duplicates: every poll "
               "reads the look-back window again.",
               [target(own_per_bar("reports_read_total"), "read"), *counted,
                target(own_per_bar("sessions_total"), "counted")],
               unit="locale", decimals=0, width=12, overrides=[
                   fixed("read", "text"), fixed("counted", BLUE),
                   *(fixed(fate.replace("_", " "), color) for fate, color in fates)], calcs=["sum"], height=10),
        series("Rejected and missing", "Readings of rows that could not be understood, by reason; rows that were promised and "
               "not delivered; counted sessions without a usable duration.",
               [target(own_per_bar("reports_rejected_total", ["reason"]), "{{reason}}"),
                target(own_per_bar("report_rows_missing_total"), "rows missing"),
                target(own_per_bar("invalid_durations_total"), "no duration")], unit="locale", decimals=0, width=12,
               bars=True, stack=True, calcs=["sum"], height=10),
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
               bars=True, stack=True, width=8),
        series("Latency of Graph", "95th percentile of single requests by endpoint, for all tenants of the chosen instances.",
               [target(observed(0.95, duration, ["endpoint"], tenant=False), "{{endpoint}}")], unit="s", width=8,
               none="No requests", joined=True),
        series("Throttling and retries", "Requests that were answered 429, and requests that were sent again.",
               [target(own_per_bar("graph_throttled_total"), "Throttled"),
                target(own_per_bar("graph_retries_total"), "Retries")], unit="locale", decimals=0, bars=True, width=8,
               overrides=[fixed("Throttled", ORANGE), fixed("Retries", BLUE)]),
        series("Held back", "Time for which requests waited to keep below the service's limits, in seconds per second, "
               "summed over the tenants. If it lasts, raise page_size.",
               [target(f"sum(rate({selector('graph_throttle_wait_seconds_total')}[$__rate_interval]))", "Waiting")],
               unit="percentunit", width=8, overrides=[fixed("Waiting", BLUE)]),
        series("Look-ups of enrolment states", "Tenants whose last look-up succeeded or failed, where `enrollment_lookup` is on, "
               "and failures by reason.",
               [target(f"sum({of_tenant('enrollment_lookup_up')})", "Succeeded"),
                target(f"sum(1 - {of_tenant('enrollment_lookup_up')})", "Failed"),
                target(own_per_bar("enrollment_lookup_failures_total", ["reason"]), "{{reason}}")], unit="locale",
               decimals=0, width=8, none="No look-ups are configured",
               overrides=[fixed("Succeeded", GREEN), fixed("Failed", RED)]),
    ]


def tenants():
    name = "${__value.text}"
    until = steps(RED, (7 * DAY, ORANGE), (30 * DAY, GREEN))
    colored = {"type": "color-text"}
    success = of_tenant("last_poll_success_timestamp_seconds")
    shown = [
        (of_tenant("up"), "Last poll"),
        (f"{success} * 1000", "Last success"),
        (of_tenant("last_poll_duration_seconds"), "Duration"),
        (of_tenant("poll_interval_seconds"), "Interval"),
        (f"round(sum by (tenant) (increase({selector('poll_failures_total')}[$__range])))", "Failures"),
        (f"{of_tenant('token_expiry_timestamp_seconds')} - time()", "Token expires in"),
        (f"min by (tenant) ({selector('credential_expiry_timestamp_seconds')}) - time()", "Certificate expires in"),
        (of_tenant("files_set_aside"), "Files set aside"),
        (of_tenant("enrollment_lookup_devices"), "Devices known"),
        (f"{of_tenant('enrollment_lookup_last_success_timestamp_seconds')} * 1000", "Last look-up"),
    ]
    overrides = [
        column("Tenant", unit="string", links=[drill_down(OVERVIEW, "Overview of ${__value.text}", name)]),
        column("Last poll", mappings=mapping(_1=("Succeeded", GREEN), _0=("Failed", RED)), custom__cellOptions=colored),
        column("Last success", unit="dateTimeFromNow"),
        column("Duration", unit="s"),
        column("Interval", unit="s"),
        column("Failures", thresholds=steps("text", (1, RED)), custom__cellOptions=colored),
        column("Token expires in", unit="s"),
        column("Certificate expires in", unit="s", thresholds=until, custom__cellOptions=colored),
        column("Files set aside", thresholds=steps("text", (1, ORANGE)), custom__cellOptions=colored),
        column("Last look-up", unit="dateTimeFromNow"),
    ]
    columns = [("tenant", "Tenant"), *((f"Value #{chr(ord('A') + n)}", title) for n, (_, title) in enumerate(shown))]
    return [table(
        "Polls by tenant", "How the polls of each tenant go, failing ones first. When a certificate expires is known for "
        "client_certificate only: Entra does not tell when a secret expires. Files set aside: for files only. Devices known "
        "and last look-up: with enrollment_lookup only.",
        [table_target(expr) for expr, _ in shown], columns=columns, overrides=overrides,
        sort=[("Last poll", False)], height=9, none="–")]


def ledger():
    return [
        series("Sessions in the ledger", "Ids that the ledger keeps so that no session counts twice. Those behind the look-back "
               "window are forgotten.", [target(per_process("ledger_sessions"), "{{instance}}")], unit="locale", width=6,
               decimals=0),
        series("Size of the ledger", "The ledger's file on disk.", [target(per_process("ledger_size_bytes"), "{{instance}}")],
               unit="bytes", width=6),
        series("Commits", "Transactions in each bar. Those that fail are read again by the next poll.",
               [target(own_per_bar("ledger_commits_total", tenant=False), "Committed"),
                target(own_per_bar("ledger_commit_failures_total", tenant=False), "Failed")], unit="locale", decimals=0,
               bars=True, stack=True, width=6, overrides=[fixed("Committed", GREEN), fixed("Failed", RED)]),
        series("Commit duration", "From the begin of a transaction to its being on disk.",
               [target(observed(0.5, "ledger_commit_duration_seconds", tenant=False), "Median"),
                target(observed(0.99, "ledger_commit_duration_seconds", tenant=False), "99th percentile")], unit="s",
               width=6, none="No transactions", joined=True, overrides=[fixed("Median", BLUE), fixed("99th percentile", "purple")]),
    ]


def process():
    build = per_process("exporter_build_info")
    by_instance = [
        build,
        f"time() - max by (instance) ({per_process('process_start_time_seconds')})",
        f"max by (instance) ({per_process('exporter_config_last_reload_successful')})",
        f"max by (instance) ({per_process('exporter_config_last_reload_success_timestamp_seconds')}) * 1000",
        f"max by (instance) ({per_process('exporter_config_hash')})",
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
        table("Exporters", "Versions and configurations. Replicas with one configuration have one hash.",
              [table_target(expr) for expr in by_instance], columns=columns, overrides=overrides, height=6, none="–",
              sort=[("Instance", False)]),
        series("Scrapes and other requests", "Requests that were answered, by path and status.",
               [target(f"sum by (path, code) (rate({per_process(f'{http}s_total')}[$__rate_interval]))", "{{path}} {{code}}")],
               unit="reqps", width=8),
        series("Latency of answers", "95th percentile of the time taken to answer, by path.",
               [target(observed(0.95, f"{http}_duration_seconds", ["path"], tenant=False), "{{path}}")], unit="s", width=8,
               none="No requests", joined=True),
        series("Requests in flight", "Requests that are being answered.",
               [target(per_process(f"{http}s_in_flight"), "{{instance}}")], unit="locale", width=8, decimals=0),
        series("CPU", "Cores in use.", [target(f"rate({per_process('process_cpu_seconds_total')}[$__rate_interval])",
                                               "{{instance}}")], unit="none", width=8, decimals=3),
        series("Memory", "Resident memory.", [target(per_process("process_resident_memory_bytes"), "{{instance}}")],
               unit="bytes", width=8),
        series("File descriptors", "Open file descriptors, as a share of those allowed.", [target(fds, "{{instance}}")],
               unit="percentunit", width=8, thresholds=steps("transparent", (0.8, ORANGE)), steps_shown=True),
    ]


def build():
    return dashboard(
        HEALTH, "Remote help exporter health", "Whether the numbers can be trusted, and what to mend if not.",
        [(None, at_a_glance()), ("Polls", polls()), ("Tenants", tenants()), ("Graph", graph()), ("Reports", reports()),
         ("Ledger", ledger()), ("Exporters", process())], since="24h")
