// Units, thresholds, mappings, colours, links and transformations, by Grafana's own rules.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  type DataFrame,
  type Field,
  FieldColorModeId,
  FieldConfigOptionsRegistry,
  FieldType,
  getFieldSeriesColor,
  type GrafanaTheme2,
  standardTransformersRegistry,
  standardTransformers,
  transformDataFrame,
} from "@grafana/data";
import { lastValueFrom } from "rxjs";
import { type Context, replaced } from "./variables";

const STANDARD = ["color", "decimals", "displayName", "links", "mappings", "max", "min", "noValue", "thresholds", "unit"];
const NUMBERS = ["decimals", "max", "min", "thresholds"];
const CUSTOM = [
  "align", "axisBorderShow", "axisPlacement", "barAlignment", "cellOptions", "drawStyle", "fillOpacity", "filterable",
  "footer", "gradientMode", "hideFrom", "inspect", "lineInterpolation", "lineStyle", "lineWidth", "minWidth", "pointSize",
  "scaleDistribution", "showPoints", "spanNulls", "stacking", "thresholdsStyle", "width", "wrapHeaderText", "wrapText",
];

const property = (path: string, isCustom: boolean): any => ({
  id: isCustom ? `custom.${path}` : path,
  path,
  isCustom,
  name: path,
  process: (value: unknown) => value,
  shouldApply: (field: any) => !NUMBERS.includes(path) || field.type === FieldType.number,
});

export const registry = new FieldConfigOptionsRegistry(() => [
  ...STANDARD.map((path) => property(path, false)),
  ...CUSTOM.map((path) => property(path, true)),
]);

// One of them is there under two names.
const transformations = new Map(Object.values(standardTransformers).map((transformation: any) => [transformation.id, transformation]));
standardTransformersRegistry.setInit(() =>
  [...transformations.values()].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
    editor: () => null,
    imageDark: "",
    imageLight: "",
  })),
);

/** Properties that the page would leave out without a word. */
export function unknownProperties(panel: any): string[] {
  const { defaults, overrides } = panel.fieldConfig;
  const ids = [
    ...Object.keys(defaults).filter((key) => key !== "custom"),
    ...Object.keys(defaults.custom ?? {}).map((key) => `custom.${key}`),
    ...overrides.flatMap((override: any) => override.properties.map((property: any) => property.id)),
  ];
  return ids.filter((id) => !registry.getIfExists(id) && !registry.getIfExists(id.split(".").slice(0, 2).join(".")));
}

/** A colour by name is worked out before the time series' component has joined the frames, and lost their names. */
function namedColor(field: Field, theme: GrafanaTheme2) {
  if (field.config.color?.mode !== FieldColorModeId.PaletteClassicByName) return;
  field.config.color = { mode: FieldColorModeId.Fixed, fixedColor: getFieldSeriesColor(field, theme).color };
}

/** Frames as the panel shows them. */
export async function prepared(panel: any, data: DataFrame[], context: Context, theme: GrafanaTheme2): Promise<DataFrame[]> {
  const transformed = panel.transformations?.length
    ? await lastValueFrom(transformDataFrame(panel.transformations, data, { interpolate: (text: string) => text }))
    : data;
  const frames = applyFieldOverrides({
    data: transformed,
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: registry,
    replaceVariables: (text, scoped) => replaced(text, context, scoped),
    theme,
    timeZone: "utc",
  });
  cacheFieldDisplayNames(frames);
  frames.forEach((frame) => frame.fields.forEach((field) => namedColor(field, theme)));
  return frames;
}
