"""What dashboards are made of: variables, queries, panels and their places."""

PREFIX = "remote_assistance_"
TAG = "remote-help"
OVERVIEW, TENANTS, HEALTH = "remote-help-overview", "remote-help-tenants", "remote-help-exporter-health"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Colours say one thing each: blue what happens, teal the sharer's side, grey what is past or not known, green well,
# orange worth a look, red wrong. A test holds that a name has one colour in all dashboards.
BLUE, PALE_BLUE, TEAL, PALE_TEAL = "blue", "super-light-blue", "#3f9c96", "#8cc9c4"
GREY, DARK_GREY, GREEN, ORANGE, RED = "#8e8e99", "#6e6e78", "green", "orange", "red"
# Shades by how much is handed over.
SESSION_TYPES = {
    "viewOnly": PALE_BLUE,
    "fullControl": BLUE,
    "elevation": ORANGE,
    "unattended": "purple",
    "other": DARK_GREY,
    "unreported": GREY,
}
ENROLLMENT_STATES = {
    "enrolled": GREEN,
    "pendingReset": "yellow",
    "notContacted": "light-orange",
    "failed": ORANGE,
    "blocked": RED,
    "unknown": DARK_GREY,
    "other": DARK_GREY,
    "unreported": GREY,
}
# Red: who we are or what we may is refused. Orange: the service or the way to it. Purple: what came is not
# understood. Blue: the exporter's own machine.
FAILURES = {
    "authentication": RED,
    "credential": "dark-red",
    "forbidden": "light-red",
    "unauthorized": "semi-dark-red",
    "connection": "light-orange",
    "server_error": ORANGE,
    "timeout": "dark-orange",
    "not_found": "semi-dark-orange",
    "export_job": "super-light-orange",
    "throttled": "yellow",
    "bad_request": "dark-purple",
    "invalid_response": "purple",
    "paging": "light-purple",
    "too_large": "super-light-purple",
    "files": "semi-dark-purple",
    "internal": "dark-blue",
    "ledger": BLUE,
}
REJECTIONS = {
    "broken_row": RED,
    "missing_id": "dark-orange",
    "invalid_id": ORANGE,
    "unreadable_date": "purple",
    "future_end": "yellow",
}
ENDPOINTS = {
    "sessions_report": BLUE,
    "collection": "light-blue",
    "export_job": "purple",
    "export_download": "light-purple",
    "managed_devices": TEAL,
    "autopilot_devices": PALE_TEAL,
    "token": GREY,
}
# For tenants and instances, of which there can be any number: each has its colour everywhere, which says nothing.
BY_NAME = {"mode": "palette-classic-by-name"}
NEUTRAL = {"mode": "absolute", "steps": [{"color": BLUE, "value": None}]}

# Bars and lines in a panel: enough to show a day's shape, few enough to be told apart.
POINTS = 84
# No bar is narrower: polls bring sessions in lots.
SHORTEST = "1m"


# Queries

def selector(name, matchers="", tenant=True):
    """A series of ours, as the variables choose it."""
    chosen = ['job=~"$job"', 'instance=~"$instance"'] + (['tenant=~"$tenant"'] if tenant else [])
    full = name if name.startswith("process_") else PREFIX + name
    return f"{full}{{{', '.join(chosen + ([matchers] if matchers else []))}}}"


def by(labels):
    return f" by ({', '.join(labels)})" if labels else ""


def distinct_rate(name, labels=(), matchers="", offset=""):
    """Per second, of tenants: replicas count the same sessions, so the highest of them counts."""
    return f"max by ({', '.join(['tenant', *labels])}) (rate({selector(name, matchers)}[$__rate_interval]{offset}))"


def in_time(expr):
    """Without the first bar, which ends before the chosen time begins: Grafana begins at a multiple of the step."""
    return f"{expr} and on () (vector(time()) > $__from / 1000)"


def per_bar(name, keep=(), labels=(), matchers="", offset=""):
    """How many in each bar. All bars together are how many in the whole range, whatever their width."""
    return in_time(f"sum{by(keep)} ({distinct_rate(name, labels, matchers, offset)}) * $__interval_ms / 1000")


def in_range(name, keep=(), labels=(), matchers="", offset=""):
    """How many in the whole range: the sum of the bars, worked out by Prometheus."""
    rate = distinct_rate(name, labels, matchers)
    return f"sum{by(keep)} (sum_over_time(({rate})[$__range:$__interval]{offset})) * $__interval_ms / 1000"


def own_per_bar(name, keep=(), matchers="", tenant=True):
    """How many in each bar, of what every exporter does for itself."""
    return f"sum{by(keep)} (rate({selector(name, matchers, tenant)}[$__rate_interval])) * $__interval_ms / 1000"


def latest(name, keep=(), matchers="", how="sum"):
    """A gauge of tenants now, of which replicas tell the same."""
    return f"{how}{by(keep)} (max by (tenant) ({selector(name, matchers)}))"


def as_minutes(expr):
    """Seconds are drawn with ticks at 33.3 minutes, minutes with round ones."""
    return f"({expr}) / 60"


def histogram(name, window, keep=(), tenant=True):
    """A histogram's rate: native where Prometheus keeps that, else classic."""
    on = f"on ({', '.join(keep)})"
    return (
        f"sum{by(keep)} (rate({selector(name, tenant=tenant)}[{window}]))"
        f" or {on} sum{by([*keep, 'le'])} (rate({selector(f'{name}_bucket', tenant=tenant)}[{window}]))"
    )


def durations(window, keep=()):
    return histogram("session_duration_seconds", window, keep)


def quantile(q, vector):
    """Nothing where nothing was observed."""
    return f"histogram_quantile({q}, {vector}) >= 0"


def target(expr, legend="", instant=False, fmt=None):
    return {
        "expr": expr,
        "legend": legend,
        "instant": instant,
        "format": fmt or ("table" if instant else "time_series"),
    }


def table_target(expr):
    return target(expr, instant=True, fmt="table")


# Fields

def steps(first, *more):
    """Thresholds: a colour, then pairs of a value and the colour from there on."""
    rest = [{"color": color, "value": value} for value, color in more]
    return {"mode": "absolute", "steps": [{"color": first, "value": None}, *rest]}


def fixed(name, color):
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": "color", "value": {"fixedColor": color, "mode": "fixed"}}],
    }


def percentile(name):
    """Above the median, and thinner."""
    return column(name, color={"fixedColor": PALE_BLUE, "mode": "fixed"}, custom__lineWidth=1)


def fixed_all(colors):
    return [fixed(name, color) for name, color in colors.items()]


def column(name, **properties):
    """Properties of a table's column or a series, by its name; `__` stands for a dot."""
    listed = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": listed}


def mapping(**values):
    """Texts and colours for values: `_0=("Failed", RED)`."""
    options = {
        key.lstrip("_"): {"color": color, "index": index, "text": text}
        for index, (key, (text, color)) in enumerate(values.items())
    }
    return [{"type": "value", "options": options}]


def or_nothing(text, mappings=(), color=GREY):
    """What nothing is shown as: mostly in grey, since it is neither well nor wrong."""
    nothing = {"color": color, "index": len(mappings), "text": text}
    return [*mappings, {"type": "special", "options": {"match": "null", "result": nothing}}]


# Panels

class Panel:
    """One panel; its id and place are given by the dashboard."""

    def __init__(self, kind, title, description, targets, *, unit, width, height=8, none="No data", decimals=None,
                 thresholds=None, color=None, custom=None, options=None, overrides=(), mappings=(), low=None, high=None,
                 points=None, interval=SHORTEST, transformations=(), links=()):
        self.width, self.height = width, height
        defaults = {"color": color or {"mode": "palette-classic"}}
        if custom is not None:
            defaults["custom"] = custom
        if decimals is not None:
            defaults["decimals"] = decimals
        if links:
            defaults["links"] = list(links)
        defaults["mappings"] = list(mappings)
        if high is not None:
            defaults["max"] = high
        if low is not None:
            defaults["min"] = low
        defaults |= {"noValue": none, "thresholds": thresholds or NEUTRAL, "unit": unit}
        self.body = {
            "datasource": DATASOURCE,
            "description": description,
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
            "options": options or {},
            "interval": interval,
            "maxDataPoints": points or POINTS,
            "targets": [self.query(number, t) for number, t in enumerate(targets)],
            "title": title,
            "transformations": list(transformations),
            "type": kind,
        }

    @staticmethod
    def query(number, t):
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": t["expr"],
            "format": t["format"],
            "instant": t["instant"],
            "legendFormat": t["legend"] or "__auto",
            "range": not t["instant"],
            "refId": chr(ord("A") + number),
        }


def stat(title, description, expr, *, unit, width=4, height=4, thresholds=None, none="No data", calc="lastNotNull", decimals=None,
         instant=True, spark=False, text="auto", mappings=(), links=(), fields="", lacking=GREY):
    """A number. Coloured by its thresholds where it has some, else blue."""
    options = {
        "colorMode": "value",
        "graphMode": "area" if spark else "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": [calc], "fields": fields, "values": False},
        "showPercentChange": False,
        "textMode": text,
        "wideLayout": True,
    }
    return Panel("stat", title, description, [target(expr, instant=instant, fmt="time_series")], unit=unit, width=width,
                 height=height, none=none, decimals=decimals, thresholds=thresholds, color={"mode": "thresholds"},
                 options=options, mappings=or_nothing(none, mappings, lacking), links=links)


def series(title, description, targets, *, unit, width=12, height=8, none="No data", bars=False, stack=False, fill=0,
           decimals=None, thresholds=None, overrides=(), low=0, high=None, calcs=(), log=False, color=None, points=None,
           steps_shown=False, joined=False, legend="bottom"):
    """Lines or bars over time. Legends of few entries are below, others beside."""
    custom = {
        "axisBorderShow": False,
        "axisPlacement": "auto",
        "barAlignment": 0,
        "drawStyle": "bars" if bars else "line",
        "fillOpacity": 85 if bars else fill,
        "gradientMode": "none",
        "lineInterpolation": "linear",
        "lineWidth": 0 if bars else 2,
        "pointSize": 5,
        "scaleDistribution": {"log": 2, "type": "log"} if log else {"type": "linear"},
        "showPoints": "never" if bars else "auto",
        "spanNulls": joined,
        "stacking": {"group": "A", "mode": "normal" if stack else "none"},
        "thresholdsStyle": {"mode": "dashed" if steps_shown else "off"},
    }
    options = {
        "legend": {"calcs": list(calcs), "displayMode": "table" if calcs else "list", "placement": legend, "showLegend": True},
        "tooltip": {"hideZeros": bars, "mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, description, targets, unit=unit, width=width, height=height, none=none,
                 decimals=decimals, thresholds=thresholds, color=color, custom=custom, options=options,
                 overrides=overrides, low=low, high=high, points=points)


def bars(title, description, targets, *, unit, width=6, height=8, none="No data", overrides=(), decimals=0, color=BLUE,
         links=()):
    """Horizontal bars, one per series, the longest first."""
    options = {
        "displayMode": "basic",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 32,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": True,
        "sizing": "auto",
        "text": {"titleSize": 13, "valueSize": 15},
        "valueMode": "text",
    }
    return Panel("bargauge", title, description, targets, unit=unit, width=width, height=height, none=none,
                 decimals=decimals, color={"fixedColor": color, "mode": "fixed"}, options=options, overrides=overrides,
                 low=0, links=links)


def heatmap(title, description, expr, *, unit, cells, width=12, height=8, none="No data"):
    """A histogram over time. The one query gives a native histogram or the classic one's buckets."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "cellValues": {"decimals": 1, "unit": cells},
        "color": {"exponent": 0.5, "fill": "dark-blue", "mode": "scheme", "reverse": False, "scale": "exponential",
                  "scheme": "Blues", "steps": 32},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    custom = {"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}}
    return Panel("heatmap", title, description, [target(expr, "{{le}}", fmt="heatmap")], unit=unit, width=width,
                 height=height, none=none, custom=custom, options=options)


def table(title, description, targets, *, columns, unit="locale", width=24, height=10, none="No tenants", overrides=(),
          sort=(), merge=True, decimals=None, least=100):
    """A table of instant queries, joined by their labels; `columns` renames and orders what it shows."""
    hidden = {"Time": True}
    renamed = {old: new for old, new in columns if new}
    hidden |= {old: True for old, new in columns if not new}
    order = {old: number for number, (old, _) in enumerate(columns)}
    joined = [{"id": "merge", "options": {}}] if merge else []
    organize = {"id": "organize", "options": {
        "excludeByName": hidden, "includeByName": {}, "indexByName": order, "renameByName": renamed}}
    options = {
        "cellHeight": "sm",
        "footer": {"countRows": False, "fields": "", "reducer": ["sum"], "show": False},
        "showHeader": True,
        "sortBy": [{"desc": desc, "displayName": name} for name, desc in sort],
    }
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False, "inspect": False, "minWidth": least}
    return Panel("table", title, description, targets, unit=unit, width=width, height=height, none=none,
                 decimals=decimals, custom=custom, color={"mode": "thresholds"}, options=options, overrides=overrides,
                 mappings=or_nothing("–"), transformations=[*joined, organize])


# Dashboards

def drill_down(uid, title, tenant):
    """A link to another dashboard that keeps time and variables and shows one tenant."""
    kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance"))
    return {"targetBlank": False, "title": title, "url": f"/d/{uid}?${{__url_time_range}}&{kept}&var-tenant={tenant}"}


def way_to(uid, title):
    """The same for all tenants that are chosen here."""
    kept = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance", "tenant"))
    return {"targetBlank": False, "title": title, "url": f"/d/{uid}?${{__url_time_range}}&{kept}"}


def query_variable(name, label, definition):
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": definition,
        "hide": 0,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": definition,
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def variables(compare):
    """Those that every dashboard has, and `compare` where something is compared."""
    build = PREFIX + "exporter_build_info"
    found = [
        {
            "current": {},
            "hide": 0,
            "includeAll": False,
            "label": "Data source",
            "multi": False,
            "name": "datasource",
            "options": [],
            "query": "prometheus",
            "refresh": 1,
            "regex": "",
            "skipUrlSync": False,
            "type": "datasource",
        },
        query_variable("job", "Job", f"label_values({build}, job)"),
        query_variable("instance", "Instance", f'label_values({build}{{job=~"$job"}}, instance)'),
        query_variable("tenant", "Tenant", f'label_values({PREFIX}poll_interval_seconds'
                       '{job=~"$job", instance=~"$instance"}, tenant)'),
    ]
    if compare:
        choices = [("a day", "1d"), ("a week", "1w"), ("4 weeks", "4w")]
        options = [{"selected": value == "1w", "text": text, "value": value} for text, value in choices]
        found.append({
            "current": options[1],
            "hide": 0,
            "includeAll": False,
            "label": "Compare with",
            "multi": False,
            "name": "compare",
            "options": options,
            "query": ", ".join(f"{text} : {value}" for text, value in choices),
            "skipUrlSync": False,
            "type": "custom",
        })
    return found


def place(rows):
    """Rows of panels, each row under its title, from left to right."""
    panels, top = [], 0
    for title, content in rows:
        if title:
            panels.append({"collapsed": False, "gridPos": {"h": 1, "w": 24, "x": 0, "y": top}, "panels": [],
                           "title": title, "type": "row"})
            top += 1
        left = height = 0
        for panel in content:
            if left + panel.width > 24:
                left, top, height = 0, top + height, 0
            panels.append({"gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top}, **panel.body})
            left, height = left + panel.width, max(height, panel.height)
        top += height
    return [{"id": number, **panel} for number, panel in enumerate(panels, 1)]


def dashboard(uid, title, description, rows, *, since, compare=False):
    return {
        "annotations": {"list": []},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": [{
            "asDropdown": False,
            "icon": "external link",
            "includeVars": True,
            "keepTime": True,
            "tags": [TAG],
            "targetBlank": False,
            "title": "Remote Help",
            "tooltip": "",
            "type": "dashboards",
            "url": "",
        }],
        "panels": place(rows),
        "refresh": "1m",
        # Grafana 11; later ones bring it up to date as they load it.
        "schemaVersion": 39,
        "tags": [TAG],
        "templating": {"list": variables(compare)},
        "time": {"from": f"now-{since}", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
        "weekStart": "",
    }
