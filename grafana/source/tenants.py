"""Tenants: one line each, with ways into the others."""

from panels import (
    BLUE, BY_NAME, GREEN, HEALTH, ORANGE, OVERVIEW, RED, TENANTS, bars, by, column, dashboard, drill_down, in_range, latest,
    mapping, per_bar, selector, series, stat, steps, table, table_target, target,
)

NO_SESSIONS = "No sessions in this time"
SUCCESS = selector("last_poll_success_timestamp_seconds")
INTERVAL = selector("poll_interval_seconds")
AGE = f"(time() - max by (tenant) ({SUCCESS}))"
LATE = f"{AGE} / max by (tenant) ({INTERVAL})"
SESSIONS = in_range("sessions_total", ["tenant"], ["session_type"])
BEFORE = in_range("sessions_total", ["tenant"], ["session_type"], offset=" offset $compare")


def at_a_glance():
    quiet = f"count(({SESSIONS}) < 0.5)"
    return [
        stat("Tenants", "Tenants that are polled.", f"count(max by (tenant) ({INTERVAL}))", unit="locale", width=4),
        stat("Failing", "Tenants whose last poll failed.", f"sum(1 - max by (tenant) ({selector('up')}))",
             unit="locale", width=4, thresholds=steps(GREEN, (1, RED))),
        stat("Late", "Tenants without a successful poll in three poll intervals, or ever.",
             f"count(max by (tenant) ({INTERVAL})) - (count({LATE} <= 3) or 0 * count(max by (tenant) ({INTERVAL})))",
             unit="locale", width=4, thresholds=steps(GREEN, (1, RED))),
        stat("No sessions", "Tenants of which no session was counted in the chosen time.",
             f"{quiet} or 0 * count(max by (tenant) ({INTERVAL}))", unit="locale", width=4),
        stat("Top share", "The share that the busiest tenant has of all sessions.",
             f"max({SESSIONS}) / (sum({SESSIONS}) > 0.5)", unit="percentunit", decimals=0, width=4, none=NO_SESSIONS),
        stat("Oldest data", "Time since the last successful poll of the tenant that waits longest.", f"max({AGE})",
             unit="s", decimals=1, width=4),
    ]


def mean_duration():
    """Of either kind of histogram; cheaper than a quantile for each of a thousand tenants."""
    name = "session_duration_seconds"
    native = f"sum by (tenant) (rate({selector(name)}[$__range]))"
    parts = [f"sum by (tenant) (rate({selector(f'{name}_{part}')}[$__range]))" for part in ("sum", "count")]
    return (f"(histogram_sum({native}) / (histogram_count({native}) > 0))"
            f" or ({parts[0]} / ({parts[1]} > 0))")


def all_tenants():
    of_tenant = "${__value.text}"
    age = steps(GREEN, (3, ORANGE), (12, RED))
    columns = [
        ("tenant", "Tenant"), ("Value #A", "Last poll"), ("Value #B", "Polls missed"), ("Value #C", "Sessions"),
        ("Value #D", "Change"), ("Value #E", "Mean duration"), ("Value #F", "Helpers"), ("Value #G", "Devices"),
        ("Value #H", "Not enrolled"), ("Value #I", "Across tenants"), ("Value #J", "Rejected"),
    ]
    helpers = in_range("participants_total", ["tenant"], ["role", "enrollment_state"],
                       'role="helper", enrollment_state!~"enrolled|unreported"')
    whole_days = 'window="7d"'
    targets = [
        f"max by (tenant) ({selector('up')})",
        f"floor({LATE})",
        f"round({SESSIONS})",
        f"{SESSIONS} / ({BEFORE} > 0.5) - 1",
        mean_duration(),
        latest("active_helpers", ["tenant"], whole_days),
        latest("helped_devices", ["tenant"], whole_days),
        f"round({helpers})",
        f"round({in_range('cross_tenant_sessions_total', ['tenant'], ['session_type'])})",
        f"round({in_range('reports_rejected_total', ['tenant'], ['reason'])})",
    ]
    colored = {"type": "color-text"}
    warn = steps("text", (1, ORANGE))
    overrides = [
        column("Tenant", unit="string", custom__width=180, custom__filterable=True, links=[
            drill_down(OVERVIEW, "Overview of ${__value.text}", of_tenant),
            drill_down(HEALTH, "Exporter health for ${__value.text}", of_tenant)]),
        column("Last poll", mappings=mapping(_1=("OK", GREEN), _0=("Failed", RED)), custom__cellOptions=colored),
        column("Polls missed", decimals=0, thresholds=age, custom__cellOptions=colored),
        column("Sessions", custom__cellOptions={"mode": "basic", "type": "gauge", "valueDisplayMode": "text"},
               color={"fixedColor": BLUE, "mode": "fixed"}, min=0, custom__width=220),
        column("Change", unit="percentunit", decimals=0, noValue="Nothing before"),
        column("Mean duration", unit="s", decimals=0, noValue="No sessions"),
        column("Not enrolled", thresholds=warn, custom__cellOptions=colored),
        column("Rejected", thresholds=warn, custom__cellOptions=colored),
    ]
    description = (
        "All tenants that are chosen. Click a tenant for its own overview or its polls. Polls missed: time since the "
        "last successful one in poll intervals. Helpers and devices: distinct, in the last 7 days. Not enrolled: sessions "
        "whose helper used a device that is reported and not enrolled. Change: against *Compare "
        "with*. The other numbers are of the chosen time.")
    return [table("All tenants", description, [table_target(expr) for expr in targets], columns=columns,
                  overrides=overrides, sort=[("Sessions", True)], height=10)]


def ranking():
    top = "sort_desc(topk(10, {} > 0.5))"
    ten = f"topk(10, sum by (tenant) (rate({selector('sessions_total')}[$__range] @ end())))"
    bar = per_bar("sessions_total", ["tenant"], ["session_type"])
    polls = f"sum{by(['tenant'])} (increase({selector('poll_failures_total')}[$__range]))"
    link = "${__field.labels.tenant}"

    def ranked(expr):
        return [target(top.format(expr), "{{tenant}}", instant=True, fmt="time_series")]

    return [
        series("Sessions of the ten busiest", "Sessions counted in each bar, of the ten tenants with the most in the chosen "
               "time.", [target(f"(({bar}) > 0) and on (tenant) {ten}", "{{tenant}}")], unit="locale", decimals=0, bars=True,
               stack=True, none=NO_SESSIONS, calcs=["sum"], color=BY_NAME, legend="right"),
        bars("More than before", "The tenants whose sessions in the chosen time are the most above those before, as "
             "*Compare with* says.", ranked(f"({SESSIONS} - {BEFORE})"), unit="locale", none="None rose, or nothing before",
             links=[drill_down(OVERVIEW, "Overview", link)]),
        bars("Most failed polls", "The tenants with the most failed polls in the chosen time.", ranked(polls), unit="locale",
             color=RED, none="No poll failed", links=[drill_down(HEALTH, "Exporter health", link)]),
    ]


def build():
    return dashboard(
        TENANTS, "Remote help tenants", "All tenants side by side, with ways into each.",
        [(None, at_a_glance()), ("Tenants", all_tenants()), ("Ranking", ranking())], since="7d", compare=True)
