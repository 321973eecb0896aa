"""Opens pages in headless Chromium, without JavaScript of their own, light and dark, wide and narrow; takes
their screenshots and prints what is wrong with them, a line each.

Standard input is JSON: {"screenshots": a directory, "pages": [{"name": ..., "url": ..., "whole": whether the
screenshot is of the whole page and not only of its top}, ...], "compressed": a page of plain text whose
compressed form is compared with its plain one}.
"""

import json
import re
import sys
import urllib.request

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = {"desktop": (1280, 900), "phone": (360, 740)}
SCHEMES = ["light", "dark"]

# Texts with less contrast than WCAG's AA asks for, and elements that stand out at the right.
LOOK = r"""
() => {
  const probe = document.createElement("i");
  document.body.append(probe);
  probe.style.color = "Canvas";
  const canvas = getComputedStyle(probe).color;
  probe.remove();

  const parse = (color) => {
    const parts = /^rgba?\(([^)]*)\)$/.exec(color);
    if (!parts) throw new Error(`a colour that the test does not know: ${color}`);
    const [r, g, b, a = 1] = parts[1].split(/[\s,/]+/).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, below) => top.rgb.map((value, index) => value * top.a + below[index] * (1 - top.a));
  const background = (element) => {
    if (!element) return parse(canvas).rgb;
    const color = parse(getComputedStyle(element).backgroundColor);
    return color.a === 1 ? color.rgb : over(color, background(element.parentElement));
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element, style) => {
    const back = background(element);
    const lights = [luminance(over(parse(style.color), back)), luminance(back)].sort((one, other) => other - one);
    return (lights[0] + 0.05) / (lights[1] + 0.05);
  };

  const wrong = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) wrong.push(`is ${root.scrollWidth} wide of ${root.clientWidth}`);
  let texts = 0;
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility()) continue;
    const box = element.getBoundingClientRect();
    const name = element.localName + (element.className ? `.${element.className}` : "");
    if (box.right > root.clientWidth + 0.5) wrong.push(`${name} ends at ${box.right} of ${root.clientWidth}`);
    if (element.scrollWidth > element.clientWidth && element.clientWidth > 0)
      wrong.push(`${name} has ${element.scrollWidth} in ${element.clientWidth}`);
    const styles = [];
    const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (text) styles.push(getComputedStyle(element));
    const before = getComputedStyle(element, "::before");
    if (!["none", "normal", '""'].includes(before.content)) styles.push(before);
    for (const style of styles) {
      texts += 1;
      const found = contrast(element, style);
      if (found < 4.5) wrong.push(`${name} has a contrast of ${found.toFixed(2)}: ${element.textContent.slice(0, 40)}`);
    }
  }
  if (texts === 0) wrong.push("has no text");
  return wrong;
}
"""


def series(text):
    """The lines of an exposition without the values, which change from scrape to scrape."""
    return [line if line.startswith("#") else re.sub(r" \S+$", "", line) for line in text.splitlines()]


def complaint(message):
    """A message of the console. Only an HTML page can say that it has its icon in itself: for others the
    browser asks, in vain."""
    if not message.location["url"].endswith("/favicon.ico"):
        yield f"console: {message.text}"


def visit(context, page, directory):
    """What is wrong with a page, as this browser shows it."""
    wrong = []
    tab = context.new_page()
    # Violations of the Content-Security-Policy are messages of the console too.
    tab.on("console", lambda message: wrong.extend(complaint(message)))
    tab.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    tab.on("requestfailed", lambda request: wrong.append(f"request failed: {request.url}"))
    answer = tab.goto(page["url"])
    if answer.status != 200:
        wrong.append(f"answered {answer.status}")
    for width, (across, down) in WIDTHS.items():
        tab.set_viewport_size({"width": across, "height": down})
        for scheme in SCHEMES:
            tab.emulate_media(color_scheme=scheme)
            wrong.extend(f"{width}, {scheme}: {line}" for line in tab.evaluate(LOOK))
            # Without the styles that a screenshot otherwise adds, and that the page's policy forbids.
            path = f"{directory}/{page['name']}-{width}-{scheme}.png"
            tab.screenshot(path=path, full_page=page["whole"], caret="initial")
    tab.close()
    return [f"{page['name']}: {line}" for line in wrong]


def compressed(context, url):
    """Whether the browser reads the compressed form to its end."""
    tab = context.new_page()
    answer = tab.goto(url)
    encoding = answer.all_headers().get("content-encoding")
    shown = series(tab.evaluate("() => document.body.textContent"))
    tab.close()
    plain = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    with urllib.request.urlopen(plain, timeout=60) as answer:
        expected = series(answer.read().decode())
    wrong = []
    if encoding != "gzip":
        wrong.append(f"{url}: the encoding is {encoding}")
    if shown != expected:
        wrong.append(f"{url}: {len(shown)} lines to {shown[-1:]}, not {len(expected)} to {expected[-1:]}")
    return wrong


def main():
    order = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        # One of the servers has a certificate that nobody should trust.
        context = browser.new_context(java_script_enabled=False, ignore_https_errors=True)
        wrong = [line for page in order["pages"] for line in visit(context, page, order["screenshots"])]
        wrong.extend(compressed(context, order["compressed"]))
        browser.close()
    print(*wrong, sep="\n")


main()
