// Takes screenshots of the dashboards and tells what is wrong with them, a line each:
// node shoot.mjs --page=DIR --prometheus=URL --to=UNIX --scrape=SECONDS --out=DIR --demand=DEMAND [--small] PICTURE…
// A picture is DASHBOARD:SUFFIX:THEME:WIDTH, then if wanted :QUERY, which is added to the page's address; its file
// is named by the first two. Every panel is to be drawn; where `data` is demanded it is to show some too.
import { createReadStream } from "node:fs";
import { access, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import UPNG from "upng-js";

const { values: given, positionals: pictures } = parseArgs({
  allowPositionals: true,
  options: {
    ...Object.fromEntries(["page", "prometheus", "to", "scrape", "out", "demand"].map((name) => [name, { type: "string" }])),
    small: { type: "boolean" },
  },
});
const dashboards = fileURLToPath(new URL("..", import.meta.url));
const TYPES = { ".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".svg": "image/svg+xml" };
const PATIENCE = 120_000;
// Tables are drawn where they are seen.
const TALL = 5000;

/** The page, the dashboards, and Prometheus behind one origin. */
const server = createServer(async (asked, answer) => {
  const { pathname } = new URL(asked.url, "http://localhost");
  if (pathname.startsWith("/api/")) {
    const passed = request(new URL(pathname, given.prometheus), { method: asked.method, headers: asked.headers }, (its) => {
      answer.writeHead(its.statusCode, its.headers);
      its.pipe(answer);
    });
    passed.on("error", (error) => answer.writeHead(502).end(String(error)));
    asked.pipe(passed);
    return;
  }
  const path = normalize(pathname === "/" ? "/index.html" : pathname);
  const file = path.startsWith("/dashboards/") ? join(dashboards, path.slice("/dashboards".length)) : join(given.page, path);
  try {
    await access(file);
  } catch {
    answer.writeHead(404).end();
    return;
  }
  answer.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(answer);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

/** In 256 colours, a picture is a third as large, and looks the same. */
async function store(path, shot) {
  if (!given.small) return writeFile(path, shot);
  const image = UPNG.decode(shot);
  await writeFile(path, new Uint8Array(UPNG.encode(UPNG.toRGBA8(image), image.width, image.height, 256)));
}

/** What is wrong with the picture that is taken. */
async function take(picture) {
  const [dashboard, suffix, theme, width, ...rest] = picture.split(":");
  const wrong = [];
  const context = await browser.newContext({ viewport: { width: Number(width), height: TALL }, timezoneId: "UTC", locale: "en-GB" });
  const page = await context.newPage();
  // What is so long ago is so before the end of the data.
  await page.clock.setFixedTime(Number(given.to) * 1000);
  page.on("console", (message) => message.type() === "error" && wrong.push(`${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => wrong.push(String(error)));
  const { port } = server.address();
  const query = `dashboard=${dashboard}&theme=${theme}&to=${given.to * 1000}&scrape=${given.scrape}&${rest.join(":")}`;
  await page.goto(`http://127.0.0.1:${port}/?${query}`);
  try {
    await page.waitForFunction("window.drawn", undefined, { timeout: PATIENCE });
    for (const { title, error, empty } of await page.evaluate("window.drawn")) {
      if (error) wrong.push(`${title}: ${error}`);
      if (empty && given.demand === "data") wrong.push(`${title}: no data`);
    }
  } catch (error) {
    wrong.push(String(error));
  }
  await store(join(given.out, `${dashboard}${suffix}.png`), await page.locator("main").screenshot());
  await context.close();
  return wrong.map((line) => `${dashboard}${suffix}: ${line}`);
}

const wrong = [];
for (const picture of pictures) wrong.push(...(await take(picture)));
await browser.close();
server.close();
for (const line of wrong) console.error(line);
process.exitCode = wrong.length ? 1 : 0;
