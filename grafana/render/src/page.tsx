// A dashboard as Grafana lays it out. The address says which, when, and with which variables; when all panels are
// drawn, `window.drawn` tells what each came to.
import { createTheme, type DataFrame, dateTimeFormat, ThemeContext } from "@grafana/data";
import { GlobalStyles, Icon, PortalContainer } from "@grafana/ui";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { prepared, unknownProperties } from "./fields";
import { type Drawn, isEmpty, KINDS, Panel } from "./panel";
import { frames } from "./query";
import { chosen, type Context, timeRange } from "./variables";

const GAP = 8;
const CELL = 30;
const COLUMNS = 24;

const address = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: address.get("theme") === "light" ? "light" : "dark" } });

async function draw(panel: any, context: Context): Promise<Drawn> {
  if (!KINDS[panel.type]) return { frames: [], error: `no panel of type ${panel.type} here` };
  const unknown = unknownProperties(panel);
  if (unknown.length) return { frames: [], error: `not drawn here: ${unknown}` };
  try {
    return { frames: await prepared(panel, await frames(panel, context), context, theme) };
  } catch (error) {
    return { frames: [] as DataFrame[], error: String(error) };
  }
}

function Bar({ dashboard, context }: { dashboard: any; context: Context }) {
  const box = {
    display: "inline-flex", alignItems: "center", height: 32, border: `1px solid ${theme.components.input.borderColor}`,
    borderRadius: theme.shape.radius.default, background: theme.components.input.background, overflow: "hidden",
  };
  const time = (at: any) => dateTimeFormat(at, { format: "YYYY-MM-DD HH:mm", timeZone: "utc" });
  return (
    <header style={{ marginBottom: 12 }}>
      <div style={{ display: "flex", alignItems: "center", marginBottom: 12 }}>
        <span style={{ ...theme.typography.h4, flexGrow: 1 }}>{dashboard.title}</span>
        <span style={{ ...box, padding: "0 12px", gap: 8 }}>
          <Icon name="clock-nine" /> Last {dashboard.time.from.replace("now-", "")} to {time(context.range.to)} UTC
        </span>
      </div>
      <div style={{ display: "flex", flexWrap: "wrap", gap: 8 }}>
        {dashboard.templating.list.map((variable: any) => (
          <span key={variable.name} style={box}>
            <span style={{ padding: "0 8px", lineHeight: "30px", background: theme.colors.background.secondary, fontWeight: 500, fontSize: 12 }}>
              {variable.label}
            </span>
            <span style={{ padding: "0 8px" }}>{context.variables[variable.name].text}</span>
            <Icon name="angle-down" style={{ marginRight: 4 }} />
          </span>
        ))}
        <span style={{ flexGrow: 1 }} />
        {dashboard.links.map((link: any) => (
          <span key={link.title} style={{ ...box, padding: "0 12px", gap: 6 }}>
            <Icon name="bars" /> {link.title}
          </span>
        ))}
      </div>
    </header>
  );
}

function Dashboard({ dashboard, context }: { dashboard: any; context: Context }) {
  const [drawn, setDrawn] = useState<Record<number, Drawn>>();
  const panels = dashboard.panels.flatMap((panel: any) => [panel, ...(panel.panels ?? [])]);
  useEffect(() => {
    const shown = panels.filter((panel: any) => panel.type !== "row");
    Promise.all(shown.map(async (panel: any) => [panel.id, await draw(panel, context)])).then(async (list) => {
      const drawn = Object.fromEntries(list);
      setDrawn(drawn);
      await document.fonts.ready;
      // Sizes are measured in a first frame and used in the next.
      setTimeout(() => {
        (window as any).drawn = shown.map((panel: any) => ({
          title: panel.title, error: drawn[panel.id].error, empty: isEmpty(drawn[panel.id].frames),
        }));
      }, 500);
    });
  }, []);
  const width = document.documentElement.clientWidth - 32;
  const column = (width + GAP) / COLUMNS;
  const bottom = Math.max(...panels.map(({ gridPos: { y, h } }: any) => y + h)) * (CELL + GAP);
  return (
    <main style={{ padding: 16, background: theme.colors.background.canvas }}>
      <Bar dashboard={dashboard} context={context} />
      <div style={{ position: "relative", height: bottom }}>
        {panels.map((panel: any) => {
          const { x, y, w, h } = panel.gridPos;
          const size = { width: w * column - GAP, height: h * (CELL + GAP) - GAP };
          return (
            <div key={panel.id} data-panel={panel.title} style={{ position: "absolute", left: x * column, top: y * (CELL + GAP), ...size }}>
              {panel.type === "row" ? (
                <div style={{ ...theme.typography.h6, display: "flex", alignItems: "center", gap: 4, height: CELL }}>
                  <Icon name={panel.collapsed ? "angle-right" : "angle-down"} /> {panel.title}
                </div>
              ) : (
                drawn && <Panel panel={panel} drawn={drawn[panel.id]} context={context} {...size} />
              )}
            </div>
          );
        })}
      </div>
    </main>
  );
}

async function start() {
  const dashboard = await (await fetch(`/dashboards/${address.get("dashboard")}.json`)).json();
  const context: Context = {
    range: timeRange(dashboard, Number(address.get("to"))),
    scrape: Number(address.get("scrape")) * 1000,
    variables: chosen(dashboard, address),
  };
  createRoot(document.getElementById("root")!).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Dashboard dashboard={dashboard} context={context} />
      <PortalContainer />
    </ThemeContext.Provider>,
  );
}

start();
