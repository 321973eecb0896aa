"""Remote help overview: what a help desk's manager looks at."""

from panels import (
    BLUE, ENROLLMENT_STATES, GREEN, GREY, HEALTH, ORANGE, OVERVIEW, PALE_TEAL, RED, SESSION_TYPES, TEAL, TENANTS,
    as_minutes, bars, column, dashboard, durations, fixed, fixed_all, heatmap, in_range, latest, per_bar, percentile, quantile,
    selector, series, stat, steps, table, table_target, target, way_to,
)

NO_SESSIONS = "No sessions in this time"
SUCCESS = f"max by (tenant) ({selector('last_poll_success_timestamp_seconds')})"
INTERVAL = f"max by (tenant) ({selector('poll_interval_seconds')})"
AGE = f"(time() - {SUCCESS})"
NOT_ENROLLED = 'enrollment_state!~"enrolled|unreported"'


def breakdown(metric, label, role):
    """How often each value of a label was reported for a role, the most frequent first."""
    total = in_range(metric, [label], ["role", label], f'role="{role}"')
    return [target(f"sort_desc({total} > 0.5)", f"{{{{{label}}}}}", instant=True, fmt="time_series")]


def at_a_glance():
    sessions = in_range("sessions_total", labels=["session_type"])
    before = in_range("sessions_total", labels=["session_type"], offset=" offset $compare")
    return [
        stat("Sessions", "Sessions counted in the chosen time.",
             sessions, unit="locale", decimals=0, width=6, none=NO_SESSIONS),
        stat("Change", "Sessions against the same time a day, a week or four weeks before, as *Compare with* says.",
             f"{sessions} / ({before} > 0.5) - 1", unit="percentunit", decimals=0, width=6, none="Nothing before"),
        stat("Median duration", "Half of the sessions were shorter.",
             quantile(0.5, durations("$__range")), unit="s", decimals=0, width=6, none=NO_SESSIONS),
        stat("95th percentile", "Of twenty sessions one was longer.",
             quantile(0.95, durations("$__range")), unit="s", decimals=0, width=6, none=NO_SESSIONS),
    ]


def worth_a_look():
    """A smaller line: what to ask about, and whether the numbers are those of now."""
    sessions = in_range("sessions_total", labels=["session_type"])
    crossing = in_range("cross_tenant_sessions_total", labels=["session_type"])
    enrollment = ["role", "enrollment_state"]
    unenrolled = in_range("participants_total", labels=enrollment, matchers=f'role="helper", {NOT_ENROLLED}')
    late = f"count({INTERVAL}) - (count({AGE} / {INTERVAL} <= 3) or 0 * count({INTERVAL}))"
    return [
        stat("In progress", "Sessions without an end in the last poll.", latest("sessions_in_progress"), unit="locale",
             decimals=0, height=3),
        stat("Unenrolled", "Sessions whose helper used a device that is reported and not enrolled: pending a reset, failed, "
             "not contacted, blocked or unknown.", unenrolled, unit="locale", decimals=0, height=3,
             thresholds=steps(GREEN, (0.5, ORANGE)), none="No sessions"),
        stat("Two tenants", "Share of the sessions whose helper and sharer were reported with different tenants. Where "
             "reports do not tell tenants, sessions count as within one.", f"{crossing} / ({sessions} > 0.5)",
             unit="percentunit", decimals=1, height=3, none="No sessions"),
        stat("Newest end", "When the newest session that was counted ended.",
             f"max({selector('last_session_end_timestamp_seconds')}) * 1000", unit="dateTimeFromNow", height=3,
             none="No sessions"),
        stat("Data age", "Time since the last successful poll of the tenant that waits longest. Sessions that ended since are "
             "not shown yet.", f"max({AGE})", unit="s", decimals=1, height=3),
        stat("Tenants late", "Tenants without a successful poll in three poll intervals, or ever. Their sessions are counted "
             "once polls succeed again; *Exporter health* tells why they do not.", late, unit="locale", decimals=0,
             height=3, thresholds=steps(GREEN, (1, RED)),
             links=[way_to(HEALTH, "Exporter health"), way_to(TENANTS, "Tenants")]),
    ]


def trends():
    by_type = per_bar("sessions_total", ["session_type"], ["session_type"])
    now = per_bar("sessions_total", labels=["session_type"])
    before = per_bar("sessions_total", labels=["session_type"], offset=" offset $compare")
    return [
        series("Sessions by type", "Sessions counted in each bar.",
               [target(f"({by_type}) > 0", "{{session_type}}")],
               unit="locale", decimals=0, bars=True, stack=True, overrides=fixed_all(SESSION_TYPES), calcs=["sum"], height=9,
               none=NO_SESSIONS, legend="right"),
        series("Sessions now and before", "Sessions counted in each step, and in the same step earlier, as *Compare "
               "with* says.", [target(now, "Now"), target(before, "${compare:text} before")], unit="locale",
               decimals=0, height=9, none=NO_SESSIONS, overrides=[
                   column("Now", color={"fixedColor": BLUE, "mode": "fixed"}, custom__fillOpacity=15),
                   *(column(f"{text} before", color={"fixedColor": GREY, "mode": "fixed"},
                            custom__lineStyle={"dash": [6, 4], "fill": "dash"})
                     for text in ("a day", "a week", "4 weeks"))]),
        series("Typical and long durations", "Of the sessions that were counted in each step. Half are shorter than the median, "
               "95 of a hundred shorter than the 95th percentile.",
               [target(as_minutes(quantile(0.5, durations("$__rate_interval"))), "Median"),
                target(as_minutes(quantile(0.95, durations("$__rate_interval"))), "95th percentile")],
               unit="m", none=NO_SESSIONS, joined=True,
               overrides=[fixed("Median", BLUE), percentile("95th percentile")]),
        heatmap("Durations over time", "How many sessions of which duration were counted in each step: the more a cell stands "
                "out, the more. A row's name is its longest duration.",
                f"({durations('$__rate_interval')}) * $__interval_ms / 1000", unit="s", cells="locale",
                none=NO_SESSIONS),
    ]


def people():
    windows = [target(latest(metric, matchers='window="1d"'), name) for metric, name in
               (("active_helpers", "Helpers"), ("active_sharers", "Sharers"), ("helped_devices", "Devices helped"))]
    distinct = [table_target(f"sum by (window) (max by (tenant, window) ({selector(metric)}))")
                for metric in ("active_helpers", "active_sharers", "helped_devices")]
    return [
        series("People and devices per day", "Distinct people who gave help or shared their screen, and distinct devices "
               "that were helped, in the 24 hours before each point. Who is known to two tenants counts in both.",
               windows, unit="locale", decimals=0, width=16,
               overrides=[fixed("Helpers", BLUE), fixed("Sharers", TEAL), fixed("Devices helped", PALE_TEAL)]),
        table("Distinct people and devices", "People and devices, each once, in the last day, week and four weeks.", distinct,
              columns=[("window", "In the last"), ("Value #A", "Helpers"), ("Value #B", "Sharers"),
                       ("Value #C", "Devices")], least=70, none="No sessions yet", width=8, height=8, decimals=0, overrides=[
                  column("In the last", unit="string", mappings=[{"type": "value", "options": {
                      "1d": {"index": 0, "text": "Day"}, "7d": {"index": 1, "text": "Week"},
                      "28d": {"index": 2, "text": "4 weeks"}}}])], sort=[("Sharers", False)]),
    ]


def devices():
    state = ("One for each session, by the state of the {}'s device. *unreported*: the report does not tell; "
             "`enrollment_lookup` may.")
    system = "One for each session, by the operating system of the {}'s device. *unreported*: the report does not tell."
    return [
        bars("Enrolment of helpers", state.format("helper"), breakdown("participants_total", "enrollment_state", "helper"),
             unit="locale", overrides=fixed_all(ENROLLMENT_STATES), none=NO_SESSIONS),
        bars("Enrolment of sharers", state.format("sharer"), breakdown("participants_total", "enrollment_state", "sharer"),
             unit="locale", overrides=fixed_all(ENROLLMENT_STATES), none=NO_SESSIONS),
        bars("Systems of helpers", system.format("helper"), breakdown("participant_os_total", "os", "helper"),
             unit="locale", overrides=[fixed("unreported", GREY)], none=NO_SESSIONS),
        bars("Systems of sharers", system.format("sharer"), breakdown("participant_os_total", "os", "sharer"),
             unit="locale", overrides=[fixed("unreported", GREY)], none=NO_SESSIONS),
    ]


def across_and_fresh():
    crossing = per_bar("cross_tenant_sessions_total", ["session_type"], ["session_type"])
    return [
        series("Sessions across tenants", "Sessions in each bar whose helper and sharer were reported with different tenants.",
               [target(f"({crossing}) > 0", "{{session_type}}")], unit="locale", decimals=0, bars=True, stack=True,
               none="No sessions across tenants", overrides=fixed_all(SESSION_TYPES), calcs=["sum"], legend="right"),
        series("Age of the data over time", "Time since the last successful poll: of the tenant that waits longest, and of half "
               "of them at most. It goes up and down with the poll interval.",
               [target(as_minutes(f"max({AGE})"), "Oldest"), target(as_minutes(f"quantile(0.5, {AGE})"), "Median")],
               unit="m", overrides=[fixed("Oldest", ORANGE), fixed("Median", BLUE)]),
    ]


def build():
    return dashboard(
        OVERVIEW, "Remote help overview",
        "Remote assistance sessions: how many, of which kind, how long, by whom, on which devices.",
        [(None, at_a_glance()), (None, worth_a_look()), ("Trends", trends()), ("People and devices", people()),
         ("Devices", devices()), ("Across tenants, and freshness", across_and_fresh())], since="7d", compare=True)
