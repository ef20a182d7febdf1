// The status pages in Chromium: node .ci/pages.mjs MODULES OUT DNS-TOKEN EDGE-TOKEN. See .ci/pages.
import { createRequire } from "node:module";
import path from "node:path";

const [modules, out, dnsToken, edgeToken] = process.argv.slice(2);
const load = createRequire(path.join(modules, "package.json"));
const { chromium } = load("playwright-core");
const axe = load.resolve("axe-core/axe.min.js");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
let failed = 0;
const check = (what, is, more = "") => {
  if (!is) { failed += 1; console.log(`FAIL  ${what} ${more}`); }
};

async function open(url, options = {}, headers = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, extraHTTPHeaders: headers, bypassCSP: false, ...options });
  const page = await context.newPage();
  page.said = [];
  page.on("console", (message) => { if (["error", "warning"].includes(message.type())) page.said.push(message.text()); });
  page.on("pageerror", (error) => page.said.push(String(error)));
  await page.goto(url);
  return page;
}

async function accessible(name, page) {
  // Playwright's world is not the page's: its policy stays as it is.
  const source = (await import("node:fs")).readFileSync(axe, "utf8");
  await page.evaluate(source);
  const result = await page.evaluate((tags) => axe.run(document, { runOnly: tags }), TAGS);
  for (const one of result.violations) check(`${name}: axe`, false, `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  check(`${name}: axe has looked`, result.passes.length > 10);
}

async function looked(unit, url, ready) {
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 320]) {
      const name = `${unit}-${scheme}-${width}`;
      const page = await open(url, { viewport: { width, height: 900 }, colorScheme: scheme });
      await page.getByText("Live", { exact: true }).waitFor();
      await page.waitForFunction(ready);
      await accessible(name, page);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      check(`${name}: no sideways scrolling`, wide <= 0, `${wide} px`);
      check(`${name}: the console is quiet`, page.said.length === 0, page.said.join("; "));
      await page.screenshot({ path: path.join(out, `${name}.png`), fullPage: true });
      await page.context().close();
    }
  }
  const plain = await open(url, { javaScriptEnabled: false });
  check(`${unit}: without JavaScript the numbers are there`, (await plain.locator("table").count()) >= 6);
  check(`${unit}: without JavaScript no form that does nothing`, (await plain.locator("form:visible").count()) === 0);
  await plain.screenshot({ path: path.join(out, `${unit}-no-script.png`), fullPage: true });
  await plain.context().close();
}

/** All that takes the keyboard's focus, and shows it. */
async function keyboard(unit, url) {
  const page = await open(url);
  await page.getByText("Live", { exact: true }).waitFor();
  const wanted = await page.evaluate(() => [...document.querySelectorAll("a, button, input, select, [tabindex='0']")].filter((one) => one.checkVisibility()).length);
  const seen = new Set();
  for (let n = 0; n < wanted + 2; n += 1) {
    await page.keyboard.press("Tab");
    const [id, shown] = await page.evaluate(() => {
      const one = document.activeElement;
      if (!one.dataset.seen) one.dataset.seen = String(Math.random());
      return [one.dataset.seen, one === document.body || getComputedStyle(one).outlineStyle !== "none"];
    });
    seen.add(id);
    check(`${unit}: focus is seen`, shown);
  }
  check(`${unit}: Tab reaches everything`, seen.size >= wanted, `${seen.size} of ${wanted}`);
  await page.getByRole("button", { name: "Pause" }).press("Enter");
  await page.getByText("Paused", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Go on" }).press("Enter");
  await page.getByText("Live", { exact: true }).waitFor();
  const moved = page.waitForFunction((before) => document.getElementById("now").innerHTML !== before, await page.locator("#now").innerHTML());
  await moved;
  return page;
}

const dns = "http://127.0.0.1:9300/";
await looked("dns", dns, () => document.getElementById("zones").textContent.includes("broken.example."));
let page = await keyboard("dns", dns);
check("dns: a name is no element", (await page.locator("#zones b, #zones script").count()) === 0 && (await page.locator("#zones").textContent()).includes("<b>hostile.example."));
check("dns: long lists are bounded", (await page.locator("#zones tbody tr").count()) === 100);
await page.getByLabel("Token, from the file").fill(dnsToken);
await page.getByLabel("Name").fill("www.example.com");
await page.getByLabel("Client's address").fill("192.0.2.9");
await page.getByRole("button", { name: "Explain" }).click();
await page.getByText("there are such records").waitFor();
await page.getByLabel("Token, from the file").fill("wrong");
await page.getByRole("button", { name: "Explain" }).click();
await page.getByText("send the token").waitFor();
await accessible("dns, explained", page);
await page.screenshot({ path: path.join(out, "dns-explained.png"), fullPage: true });
await page.context().close();
const hidden = await open(`${dns}hidden`, { httpCredentials: { username: "me", password: dnsToken } });
check("dns: hidden records with their rules", (await hidden.locator("tbody tr").count()) > 3);
await accessible("dns, hidden", hidden);
await hidden.screenshot({ path: path.join(out, "dns-hidden.png"), fullPage: true });
await hidden.context().close();

const edge = "http://127.0.0.1:9301/";
await looked("edge", edge, () => document.getElementById("outcomes").textContent.includes("hit"));
page = await keyboard("edge", edge);
await page.getByLabel("Token, from the file").fill(edgeToken);
await page.getByLabel("URL", { exact: true }).fill("http://www.example.com/a/1");
await page.getByRole("button", { name: "Explain" }).click();
await page.locator("#explain-said").filter({ hasText: "site: www.example.com" }).waitFor();
await page.getByLabel("Which").fill("http://www.example.com/a/1");
await page.getByRole("button", { name: "Purge" }).click();
await page.getByText("stored responses purged").waitFor();
await page.getByLabel("By", { exact: true }).selectOption("tag");
await page.getByLabel("Which").fill("");
await accessible("edge, asked", page);
await page.screenshot({ path: path.join(out, "edge-asked.png"), fullPage: true });
await page.context().close();

await browser.close();
if (failed) process.exit(1);
console.log("ok    axe, 320 pixels, light, dark, keyboard, no script, live, boxes");
