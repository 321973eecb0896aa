// A heat map of a classic histogram. @grafana/ui has none: the axes are Grafana's, the cells are drawn here, by
// the options that the dashboards use (scheme, exponent, gap, hidden values).
import { type DataFrame, formattedValueToString, type GrafanaTheme2, getValueFormat, type TimeRange } from "@grafana/data";
import { AxisPlacement, GraphDrawStyle, ScaleDirection, ScaleDistribution, ScaleOrientation } from "@grafana/schema";
import { UPlotChart, UPlotConfigBuilder } from "@grafana/ui";
import { interpolateBlues } from "d3-scale-chromatic";
import { useMemo } from "react";

interface Cells {
  times: number[];
  bounds: number[];
  /** Counts by bound, then by time. */
  counts: number[][];
  highest: number;
}

/** Cumulative buckets become counts of their own. */
function cellsOf(frames: DataFrame[]): Cells {
  const buckets = frames
    .map((frame) => ({ bound: Number(frame.fields[1].labels!.le.replace("+Inf", "Infinity")), frame }))
    .sort((one, other) => one.bound - other.bound);
  const times = [...new Set(frames.flatMap((frame) => [...frame.fields[0].values]))].sort((one, other) => one - other);
  const cumulative = buckets.map(({ frame }) => {
    const at = new Map(frame.fields[0].values.map((time: number, index: number) => [time, frame.fields[1].values[index] ?? 0]));
    return times.map((time) => at.get(time) ?? 0);
  });
  const counts = cumulative.map((row, bucket) => row.map((value, at) => value - (cumulative[bucket - 1]?.[at] ?? 0)));
  return { times, bounds: buckets.map(({ bound }) => bound), counts, highest: Math.max(...counts.flat()) };
}

/** The scheme's light end is the fewest in a light theme; in a dark one it is the most. */
function colorOf(value: number, { highest }: Cells, { color }: any, theme: GrafanaTheme2): string {
  const share = (value / highest) ** color.exponent;
  const step = Math.round(share * (color.steps - 1)) / (color.steps - 1);
  return interpolateBlues(theme.isDark ? 1 - step : step);
}

function configOf(cells: Cells, options: any, range: TimeRange, theme: GrafanaTheme2): UPlotConfigBuilder {
  const builder = new UPlotConfigBuilder("utc");
  const unit = getValueFormat(options.yAxis.unit);
  const bound = (index: number) => {
    const value = cells.bounds[index];
    return value === Infinity ? "+Inf" : formattedValueToString(unit(value));
  };
  const splits = cells.bounds.map((_, index) => index);
  builder.addScale({
    scaleKey: "x", isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right,
    range: () => [range.from.valueOf(), range.to.valueOf()],
  });
  builder.addScale({
    scaleKey: "y", isTime: false, orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up,
    distribution: ScaleDistribution.Linear, range: () => [0, cells.bounds.length],
  } as any);
  builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, timeZone: "utc", theme });
  // A bound is the upper end of its row.
  const labelled = (height: number) => splits.filter((index) => index % Math.max(1, Math.ceil((splits.length * 22) / height)) === 0);
  builder.addAxis({
    scaleKey: "y", placement: AxisPlacement.Left, theme, grid: { show: false },
    splits: (u: any) => labelled(u.bbox.height / devicePixelRatio).map((index) => index + 1),
    values: (_: any, at: number[]) => at.map((value) => bound(value - 1)),
  } as any);
  builder.addSeries({ scaleKey: "y", drawStyle: GraphDrawStyle.Points, show: false, theme, facets: undefined } as any);
  builder.addHook("drawClear", (u) => {
    const width = u.valToPos(cells.times[1] ?? 0, "x", true) - u.valToPos(cells.times[0], "x", true);
    const gap = options.cellGap * devicePixelRatio;
    cells.counts.forEach((row, bucket) => {
      const top = u.valToPos(bucket + 1, "y", true);
      const height = u.valToPos(bucket, "y", true) - top;
      row.forEach((value, at) => {
        if (value <= options.filterValues.le) return;
        const left = Math.max(u.valToPos(cells.times[at], "x", true), u.bbox.left);
        const right = Math.min(u.valToPos(cells.times[at], "x", true) + width, u.bbox.left + u.bbox.width);
        if (right - left <= gap) return;
        u.ctx.fillStyle = colorOf(value, cells, options, theme);
        u.ctx.fillRect(left, top, right - left - gap, height - gap);
      });
    });
  });
  return builder;
}

export function Heatmap({ frames, options, range, theme, width, height }: any) {
  const cells = useMemo(() => cellsOf(frames), [frames]);
  const config = useMemo(() => configOf(cells, options, range, theme), [cells, options, range, theme, width]);
  const scale = Array.from({ length: 64 }, (_, index) => colorOf((cells.highest * index) / 63, cells, options, theme));
  const most = formattedValueToString(getValueFormat(options.cellValues.unit)(cells.highest, options.cellValues.decimals));
  return (
    <div>
      <UPlotChart config={config} data={[cells.times, cells.times.map(() => null)] as any} width={width} height={height - 30} />
      <div style={{ display: "flex", gap: 8, alignItems: "center", padding: "6px 8px", fontSize: 12, color: theme.colors.text.secondary }}>
        <span>0</span>
        <span style={{ width: 260, height: 8, background: `linear-gradient(90deg, ${scale.join(",")})` }} />
        <span>{most}</span>
      </div>
    </div>
  );
}
