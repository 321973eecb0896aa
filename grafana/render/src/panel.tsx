// One panel: its frame, and in it the component of @grafana/ui that Grafana's own panel draws with.
import { type DataFrame, FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues, VizOrientation } from "@grafana/data";
import { BarGauge, BigValue, PanelChrome, TimeSeries, useTheme2, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { Heatmap } from "./heatmap";
import { type Context, replaced } from "./variables";

/** What a panel came to. */
export interface Drawn {
  frames: DataFrame[];
  error?: string;
}

interface Size {
  width: number;
  height: number;
}

type Viz = (props: { panel: any; frames: DataFrame[]; context: Context } & Size) => JSX.Element;

function useDisplayValues(panel: any, frames: DataFrame[], context: Context, sparkline: boolean) {
  const theme = useTheme2();
  return () =>
    getFieldDisplayValues({
      data: frames,
      fieldConfig: panel.fieldConfig,
      reduceOptions: panel.options.reduceOptions,
      replaceVariables: (text, scoped) => replaced(text, context, scoped),
      sparkline,
      theme,
      timeZone: "utc",
    });
}

const Stat: Viz = ({ panel, frames, context, width, height }) => {
  const theme = useTheme2();
  const { options } = panel;
  const values = useDisplayValues(panel, frames, context, options.graphMode !== "none");
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      renderValue={({ value, width, height, alignmentFactors, count }: any) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline && { ...value.sparkline, timeRange: context.range }}
          count={count}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          disableWideLayout={!options.wideLayout}
          alignmentFactors={alignmentFactors}
          width={width}
          height={height}
          theme={theme}
        />
      )}
      width={width}
      height={height}
      source={frames}
      itemSpacing={3}
      renderCounter={0}
      autoGrid
      orientation={VizOrientation.Auto}
    />
  );
};

const Bars: Viz = ({ panel, frames, context, width, height }) => {
  const theme = useTheme2();
  const { options } = panel;
  const values = useDisplayValues(panel, frames, context, false);
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors as any}
      renderValue={({ value, width, height, alignmentFactors, orientation, count }: any) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex)}
          text={options.text}
          width={width}
          height={height}
          orientation={orientation}
          theme={theme}
          itemSpacing={8}
          displayMode={options.displayMode}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
          showUnfilled={options.showUnfilled}
          alignmentFactors={count > 1 ? alignmentFactors : undefined}
        />
      )}
      width={width}
      height={height}
      source={frames}
      itemSpacing={8}
      renderCounter={0}
      minVizWidth={options.minVizWidth}
      minVizHeight={options.minVizHeight}
      maxVizHeight={options.maxVizHeight}
      orientation={options.orientation}
    />
  );
};

const Series: Viz = ({ panel, frames, context, width, height }) => (
  <TimeSeries
    frames={frames}
    width={width}
    height={height}
    timeRange={context.range}
    timeZone="utc"
    legend={panel.options.legend}
    options={panel.options}
  />
);

const Table: Viz = ({ panel, frames, context, width, height }) => (
  <TableNG
    data={frames[0]}
    width={width}
    height={height}
    noHeader={!panel.options.showHeader}
    cellHeight={panel.options.cellHeight}
    sortBy={panel.options.sortBy}
    fieldConfig={panel.fieldConfig}
    noValue={panel.fieldConfig.defaults.noValue}
    timeRange={context.range}
    enableVirtualization={false}
    structureRev={1}
  />
);

const Heat: Viz = ({ panel, frames, context, width, height }) => (
  <Heatmap frames={frames} options={panel.options} range={context.range} theme={useTheme2()} width={width} height={height} />
);

export const KINDS: Record<string, Viz> = { stat: Stat, bargauge: Bars, timeseries: Series, table: Table, heatmap: Heat };

export const isEmpty = (frames: DataFrame[]) =>
  !frames.some((frame) => frame.fields.some((field) => field.type === FieldType.number && field.values.some((v) => v !== null)));

export function Panel({ panel, drawn, context, width, height }: { panel: any; drawn: Drawn; context: Context } & Size) {
  const theme = useTheme2();
  const Kind = KINDS[panel.type];
  const nothing = isEmpty(drawn.frames) && panel.type !== "stat";
  return (
    <PanelChrome
      title={panel.title}
      description={panel.description}
      width={width}
      height={height}
      statusMessage={drawn.error}
      // As Grafana pads them.
      padding={panel.type === "table" ? "none" : "md"}
    >
      {(width, height) =>
        nothing ? (
          <div style={{ width, height, display: "flex", alignItems: "center", justifyContent: "center", textAlign: "center", color: theme.colors.text.secondary }}>
            {panel.fieldConfig.defaults.noValue}
          </div>
        ) : (
          <Kind panel={panel} frames={drawn.frames} context={context} width={width} height={height} />
        )
      }
    </PanelChrome>
  );
}
