"""Remote help overview: what a help desk's manager looks at."""

from panels import (
    BLUE, ENROLLMENT_STATES, GREEN, GREY, ORANGE, OVERVIEW, RED, SESSION_TYPES, bars, column, dashboard, durations,
    fixed, heatmap, in_range, latest, per_bar, quantile, selector, series, stat, steps, table, table_target, target,
)

NO_SESSIONS = "No sessions in this time"
TYPE_COLORS = [fixed(name, color) for name, color in SESSION_TYPES.items()]
STATE_COLORS = [fixed(name, color) for name, color in ENROLLMENT_STATES.items()]
AGE = f"(time() - max by (tenant) ({selector('last_poll_success_timestamp_seconds')}))"
NOT_ENROLLED = 'enrollment_state!~"enrolled|unreported"'


def breakdown(metric, label, role):
    """How often each value of a label was reported for a role, the most frequent first."""
    total = in_range(metric, [label], ["role", label], f'role="{role}"')
    return [target(f"sort_desc({total} > 0.5)", f"{{{{{label}}}}}", instant=True, fmt="time_series")]


def at_a_glance():
    sessions = in_range("sessions_total", labels=["session_type"])
    before = in_range("sessions_total", labels=["session_type"], offset=" offset $compare")
    enrollment = ["role", "enrollment_state"]
    helped_unenrolled = in_range("participants_total", labels=enrollment, matchers=f'role="helper", {NOT_ENROLLED}')
    return [
        stat("Sessions", "Sessions counted in the chosen time.",
             per_bar("sessions_total", labels=["session_type"]), unit="locale", decimals=0, calc="sum", instant=False,
             spark=True, none=NO_SESSIONS),
        stat("Change", "Sessions against the same time a day, a week or four weeks before, as *Compare with* says.",
             f"{sessions} / ({before} > 0.5) - 1", unit="percentunit", decimals=0, none="Nothing before"),
        stat("Median duration", "Half of the sessions were shorter.",
             quantile(0.5, durations("$__range")), unit="s", decimals=0, none=NO_SESSIONS),
        stat("95th percentile", "Of twenty sessions one was longer.",
             quantile(0.95, durations("$__range")), unit="s", decimals=0, none=NO_SESSIONS),
        stat("In progress", "Sessions without an end in the last poll.", latest("sessions_in_progress"),
             unit="locale", decimals=0),
        stat("Helpers not enrolled", "Sessions whose helper used a device that is reported and not enrolled: pending a "
             "reset, failed, not contacted, blocked or unknown.", helped_unenrolled, unit="locale", decimals=0,
             thresholds=steps(GREEN, (0.5, ORANGE)), none=NO_SESSIONS),
        stat("Tenants failing", "Tenants whose last poll failed. Their sessions are counted once polls succeed again. "
             "*Exporter health* tells why.", f"sum(1 - max by (tenant) ({selector('up')}))", unit="locale", decimals=0,
             thresholds=steps(GREEN, (1, RED))),
        stat("Age of the data", "Time since the last successful poll of the tenant that waits longest. Sessions that "
             "ended since are not shown yet.", f"max({AGE})", unit="s", decimals=0,
             thresholds=steps(GREEN, (900, ORANGE), (3600, RED))),
    ]


def trends():
    now = per_bar("sessions_total", labels=["session_type"])
    before = per_bar("sessions_total", labels=["session_type"], offset=" offset $compare")
    return [
        series("Sessions by type", "Sessions counted in each bar.",
               [target(per_bar("sessions_total", ["session_type"], ["session_type"]), "{{session_type}}")],
               unit="locale", decimals=0, bars=True, stack=True, overrides=TYPE_COLORS, calcs=["sum"], height=9,
               none=NO_SESSIONS),
        series("Sessions now and before", "Sessions counted in each step, and in the same step earlier, as *Compare "
               "with* says.", [target(now, "Now"), target(before, "${compare:text} before")], unit="locale",
               decimals=0, calcs=["sum"], height=9, none=NO_SESSIONS, overrides=[
                   column("Now", color={"fixedColor": BLUE, "mode": "fixed"}, custom__fillOpacity=15),
                   *(column(f"{text} before", color={"fixedColor": GREY, "mode": "fixed"},
                            custom__lineStyle={"dash": [6, 4], "fill": "dash"})
                     for text in ("a day", "a week", "4 weeks"))]),
        series("Duration", "Of the sessions that were counted in each step. Half are shorter than the median, 95 of "
               "a hundred shorter than the 95th percentile.",
               [target(quantile(0.5, durations("$__rate_interval")), "Median"),
                target(quantile(0.95, durations("$__rate_interval")), "95th percentile")],
               unit="s", none=NO_SESSIONS, joined=True,
               overrides=[fixed("Median", BLUE), fixed("95th percentile", "purple")]),
        heatmap("Durations", "How many sessions of which duration were counted in each step: the darker, the more.",
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
               overrides=[fixed("Helpers", BLUE), fixed("Sharers", "purple"), fixed("Devices helped", GREY)]),
        table("People and devices", "Distinct people and devices in the last day, week and four weeks.", distinct,
              columns=[("window", "In the last"), ("Value #A", "Helpers"), ("Value #B", "Sharers"),
                       ("Value #C", "Devices helped")], width=8, height=8, decimals=0, overrides=[
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
             unit="locale", overrides=STATE_COLORS, none=NO_SESSIONS),
        bars("Enrolment of sharers", state.format("sharer"), breakdown("participants_total", "enrollment_state", "sharer"),
             unit="locale", overrides=STATE_COLORS, none=NO_SESSIONS),
        bars("Systems of helpers", system.format("helper"), breakdown("participant_os_total", "os", "helper"),
             unit="locale", overrides=[fixed("unreported", GREY)], none=NO_SESSIONS),
        bars("Systems of sharers", system.format("sharer"), breakdown("participant_os_total", "os", "sharer"),
             unit="locale", overrides=[fixed("unreported", GREY)], none=NO_SESSIONS),
    ]


def across_and_fresh():
    crossing = per_bar("cross_tenant_sessions_total", labels=["session_type"])
    all_of_them = per_bar("sessions_total", labels=["session_type"])
    return [
        series("Share across tenants", "Share of the sessions whose helper and sharer were reported with different tenants. "
               "Where reports do not tell tenants, sessions count as within one.",
               [target(f"{crossing} / ({all_of_them} > 0)", "Across tenants")], unit="percentunit",
               none=NO_SESSIONS, joined=True, overrides=[fixed("Across tenants", "purple")]),
        series("Age of the data over time", "Time since the last successful poll: of the tenant that waits longest, and of half of them "
               "at most. It goes up and down with the poll interval.",
               [target(f"max({AGE})", "Oldest"), target(f"quantile(0.5, {AGE})", "Median")], unit="s", width=8,
               overrides=[fixed("Oldest", ORANGE), fixed("Median", BLUE)]),
        stat("Newest session", "The newest end of a session that was counted.",
             f"max({selector('last_session_end_timestamp_seconds')}) * 1000", unit="dateTimeFromNow", width=4,
             none="No sessions yet"),
    ]


def build():
    return dashboard(
        OVERVIEW, "Remote help overview",
        "Remote assistance sessions: how many, of which kind, how long, by whom, on which devices.",
        [(None, at_a_glance()), ("Trends", trends()), ("People and devices", people()), ("Devices", devices()),
         ("Across tenants, and freshness", across_and_fresh())], since="7d", compare=True)
