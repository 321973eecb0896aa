// The variables of a dashboard, its time range and what Grafana makes of both in a text.
import { dateTime, rangeUtil, type ScopedVars, type TimeRange } from "@grafana/data";

/** A value that is chosen: texts for people, values for queries. */
export interface Chosen {
  text: string;
  value: string;
}

export interface Context {
  range: TimeRange;
  /** How often Prometheus scrapes, in milliseconds: what a data source of Grafana's is told. */
  scrape: number;
  variables: Record<string, Chosen>;
}

const ALL = { text: "All", value: "$__all" };

/** The chosen value of each variable: by the address, else by the dashboard's own default. */
export function chosen(dashboard: any, address: URLSearchParams): Record<string, Chosen> {
  const variables: Record<string, Chosen> = {};
  for (const variable of dashboard.templating.list) {
    const asked = address.get(`var-${variable.name}`);
    const option = (variable.options ?? []).find((option: any) => option.value === asked);
    if (variable.type === "datasource") {
      variables[variable.name] = { text: "Prometheus", value: "prometheus" };
    } else if (asked) {
      variables[variable.name] = option ?? { text: asked, value: asked };
    } else if (variable.includeAll) {
      variables[variable.name] = { ...ALL, value: variable.allValue };
    } else {
      const { text, value } = variable.current;
      variables[variable.name] = { text, value };
    }
  }
  return variables;
}

/** The dashboard's own time range, with its end at `to`. */
export function timeRange(dashboard: any, to: number): TimeRange {
  const length = rangeUtil.intervalToMs(dashboard.time.from.replace("now-", ""));
  return { from: dateTime(to - length), to: dateTime(to), raw: { from: dashboard.time.from, to: "now" } };
}

/** Seconds as Prometheus reads them. */
const seconds = (ms: number) => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

/** Replaces variables as Grafana does; `step` in milliseconds gives those of a query. */
export function replaced(text: string, context: Context, scoped?: ScopedVars, step?: number): string {
  const length = context.range.to.valueOf() - context.range.from.valueOf();
  const own: Record<string, string> = {
    __range: seconds(length),
    __from: String(context.range.from.valueOf()),
    __to: String(context.range.to.valueOf()),
    __range_s: String(length / 1000),
    __range_ms: String(length),
    __url_time_range: `from=${context.range.from.valueOf()}&to=${context.range.to.valueOf()}`,
  };
  if (step !== undefined) {
    own.__interval = seconds(step);
    own.__interval_ms = String(step);
    own.__rate_interval = seconds(Math.max(step + context.scrape, 4 * context.scrape));
  }
  return text.replace(/\$\{(\w+)((?:\.\w+)*)(?::(\w+))?\}|\$(\w+)/g, (whole, braced, path, format, bare) => {
    const name = braced ?? bare;
    if (own[name] !== undefined) return own[name];
    const variable = context.variables[name];
    if (variable) {
      if (format === "text") return variable.text;
      if (format === "queryparam") return `var-${name}=${encodeURIComponent(variable.text === "All" ? ALL.value : variable.value)}`;
      return variable.value;
    }
    const data = (scoped?.__dataContext?.value ?? {}) as any;
    if (name === "__value") return String(data.frame?.fields && data.rowIndex !== undefined ? data.field.values[data.rowIndex] : "");
    if (name === "__field" && path.startsWith(".labels.")) return data.field?.labels?.[path.slice(".labels.".length)] ?? "";
    return whole;
  });
}
