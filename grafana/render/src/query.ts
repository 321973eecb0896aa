// A panel's queries against Prometheus, as frames: what Grafana's Prometheus data source does.
import { createDataFrame, type DataFrame, FieldType, rangeUtil } from "@grafana/data";
import { type Context, replaced } from "./variables";

interface Series {
  metric: Record<string, string>;
  value?: [number, string];
  values?: [number, string][];
}

async function ask(path: string, parameters: Record<string, string>): Promise<Series[]> {
  const answer = await fetch(`/api/v1/${path}`, { method: "POST", body: new URLSearchParams(parameters) });
  const body = await answer.json();
  if (body.status !== "success") throw new Error(body.error);
  const { resultType, result } = body.data;
  return resultType === "scalar" ? [{ metric: {}, value: result }] : result;
}

function legend(format: string, labels: Record<string, string>, context: Context): string {
  if (format === "__auto") return Object.values(labels).length === 1 ? Object.values(labels)[0] : JSON.stringify(labels);
  return replaced(format, context).replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? "");
}

/** A number of Prometheus'; nothing in place of NaN, which no panel draws. */
const number = (text: string) => {
  const value = text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
  return Number.isNaN(value) ? null : value;
};

function ofSeries(series: Series, target: any, step: number, context: Context): DataFrame {
  const points = series.values ?? [series.value!];
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: points.map(([at]) => at * 1000), config: { interval: step } },
      {
        name: "Value",
        type: FieldType.number,
        labels: series.metric,
        values: points.map(([, value]) => number(value)),
        config: { displayNameFromDS: legend(target.legendFormat, series.metric, context) },
      },
    ],
  });
}

/** All series of an instant query as one table: a column for each label, one for the value. */
function ofTable(list: Series[], target: any, several: boolean): DataFrame {
  const labels = [...new Set(list.flatMap((series) => Object.keys(series.metric)))].sort();
  return createDataFrame({
    refId: target.refId,
    fields: [
      { name: "Time", type: FieldType.time, values: list.map((series) => series.value![0] * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: list.map((series) => series.metric[label]) })),
      {
        name: several ? `Value #${target.refId}` : "Value",
        type: FieldType.number,
        values: list.map((series) => number(series.value![1])),
      },
    ],
  });
}

/** The step of a panel's queries, in milliseconds. */
export function stepOf(panel: any, context: Context): number {
  const least = Math.max(context.scrape, panel.interval ? rangeUtil.intervalToMs(panel.interval) : 0);
  return rangeUtil.calculateInterval(context.range, panel.maxDataPoints, `${least}ms`).intervalMs;
}

export async function frames(panel: any, context: Context): Promise<DataFrame[]> {
  const step = stepOf(panel, context);
  const several = panel.targets.filter((target: any) => target.format === "table").length > 1;
  const to = context.range.to.valueOf() / 1000;
  const aligned = (at: number) => String((Math.floor((at * 1000) / step) * step) / 1000);
  const answers = panel.targets.map(async (target: any) => {
    const query = replaced(target.expr, context, undefined, step);
    const list = target.instant
      ? await ask("query", { query, time: String(to) })
      : await ask("query_range", {
          query,
          start: aligned(context.range.from.valueOf() / 1000),
          end: aligned(to),
          step: String(step / 1000),
        });
    if (list.length === 0) return [];
    if (target.format === "table") return [ofTable(list, target, several)];
    return list.map((series) => ofSeries(series, target, step, context));
  });
  return (await Promise.all(answers)).flat();
}
