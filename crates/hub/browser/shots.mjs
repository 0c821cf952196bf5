// Every screen as a picture and under axe: light and dark, wide and narrow. Ends with 1 where anything is wrong.

import { mkdirSync } from "node:fs";
import { ANSWERS, Hub } from "./hub.mjs";
import { seed } from "./seed.mjs";
import { breaches, launch, signIn } from "./browse.mjs";

const { HUB_URL, CLIENT_ID, CLIENT_SECRET, PROJECT_ID, EMAIL, PASSWORD, SHOTS, JOIN_URL } = process.env;
const only = process.argv[2];
const hub = new Hub(HUB_URL, CLIENT_ID, CLIENT_SECRET, PROJECT_ID);
const browser = await launch();
const wrong = [];
if (SHOTS) mkdirSync(SHOTS, { recursive: true });

async function look(page, name, theme, width) {
  const where = `${name} ${theme} ${width}`;
  for (const found of await breaches(page)) wrong.push(`${where}: ${found}`);
  const spill = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (spill > 0) wrong.push(`${where}: is ${spill} px wider than the window`);
  if (SHOTS) await page.screenshot({ path: `${SHOTS}/${name}-${theme}-${width}.png`, fullPage: true });
}

async function screens(page, where) {
  const { agents, pipelines } = where;
  const eu = pipelines["orders to lake"];
  const list = [
    ["agents", "/agents"], ["agents-none", "/agents?q=zzz"], ["agent-new", "/agents/new"],
    ["agent", `/agents/${agents["orders-eu"]}`], ["agent-pending", `/agents/${agents["a-name_of thirty characters-ok"]}`],
    ["agent-figures", `/agents/${agents["orders-eu"]}/figures`],
    ["agent-conditions", `/agents/${agents.warehouse}/conditions`], ["agent-events", `/agents/${agents["orders-eu"]}/events`],
    ["agent-edit", `/agents/${agents["orders-eu"]}/edit`], ["agent-remove", `/agents/${agents["orders-eu"]}/remove`],
    ["agent-credentials", `/agents/${agents["orders-eu"]}/credentials`],
    ["pipelines", "/pipelines"], ["pipeline", `/pipelines/${eu}`], ["pipeline-day", `/pipelines/${eu}?range=24h`],
    ["pipeline-month", `/pipelines/${eu}?range=30d`], ["pipeline-table", `/pipelines/${eu}?view=table`],
    ["pipeline-snapshot", `/pipelines/${pipelines["orders-us"]}`],
    ["pipeline-failed", `/pipelines/${pipelines.billing}`], ["pipeline-stopped", `/pipelines/${pipelines.returns}`],
    ["pipeline-broken", `/pipelines/${pipelines["warehouse-stock-and-movements-of-all-european-sites"]}`],
    ["pipeline-tables", `/pipelines/${eu}/tables`], ["pipeline-events", `/pipelines/${eu}/events`],
    ["pipeline-configuration", `/pipelines/${eu}/configuration`], ["pipeline-delete", `/pipelines/${eu}/delete`],
    ["wizard-name", "/pipelines/new"], ["activity", "/activity"], ["people", "/people"], ["missing", "/agents/none"],
    ["lost", "/no/such/page"], ["docs", "/docs"], ["docs-error", "/docs/errors/PG-012"],
    ["docs-codes", "/docs/reference/codes"], ["docs-cli", "/docs/reference/cli"],
  ];
  if (where.draft) {
    for (const step of ["source", "test", "tables", "target", "options", "review"]) {
      list.push([`wizard-${step}`, `/pipelines/new/${where.draft}/${step}`]);
    }
  }
  return list.filter(([name]) => !only || name.startsWith(only));
}

// A draft in the wizard, so that its steps can be looked at.
async function draft(page, where) {
  await page.goto(`${HUB_URL}/pipelines/new`);
  await page.getByLabel("Pipeline name").fill("stock");
  await page.getByLabel("Agent", { exact: true }).selectOption(where.agents.spare);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForURL(/\/source$/);
  for (const [label, text] of [["Host", "stock-db.internal"], ["Username", "millrace"], ["Secret name", "millrace/stock"]]) {
    await page.getByLabel(label).fill(text);
  }
  await page.getByLabel("Database", { exact: true }).fill("stock");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByRole("button", { name: "Test connection" }).click();
  await page.getByText("The agent is looking.").waitFor();
  const answer = async () => {
    const { commands } = await where.spare.sync();
    await where.spare.sync({ results: commands.map(({ id, kind }) => ({ id, done: true, result: ANSWERS[kind] })) });
  };
  await answer();
  await page.reload();
  await page.getByRole("button", { name: "Continue" }).click();
  await answer();
  await page.reload();
  await page.getByRole("button", { name: /Select these/ }).click();
  await page.getByText("6 chosen").waitFor();
  return page.url().split("/").at(-2);
}

// What each screen looks like when nobody has done anything yet.
async function empty(theme, width) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
  const page = await context.newPage();
  if (JOIN_URL) { await page.goto(JOIN_URL); await look(page, "join", theme, width); }
  await page.goto(`${HUB_URL}/sign-in`);
  await look(page, "sign-in", theme, width);
  await page.getByLabel("Email").fill("ann@example.com");
  await page.getByLabel("Password").fill("not the right one");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
  await look(page, "sign-in-refused", theme, width);
  await signIn(page, hub, EMAIL, PASSWORD);
  for (const name of ["agents", "pipelines", "activity"]) {
    await page.goto(`${HUB_URL}/${name}`);
    await look(page, `empty-${name}`, theme, width);
  }
  await context.close();
}

const views = [["light", 1280], ["dark", 1280], ["light", 320], ["dark", 320]];
if (SHOTS) views.push(["light", 390], ["dark", 390]);
if (!only) for (const [theme, width] of views.slice(0, 4)) await empty(theme, width);
const where = await seed(hub);
for (const [theme, width] of views) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
  const page = await context.newPage();
  await signIn(page, hub, EMAIL, PASSWORD);
  where.draft ??= await draft(page, where);
  for (const [name, path] of await screens(page, where)) {
    await where.renew();
    await page.goto(HUB_URL + path);
    await look(page, name, theme, width);
  }
  if (!only || only === "agent-new") {
    await page.goto(`${HUB_URL}/agents/new`);
    await page.getByLabel("Agent name").fill("not/allowed");
    await page.getByRole("button", { name: "Create agent" }).click();
    await page.getByRole("alert").waitFor();
    await look(page, "agent-new-refused", theme, width);
  }
  await context.close();
}
await browser.close();
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log("every screen was looked at");
