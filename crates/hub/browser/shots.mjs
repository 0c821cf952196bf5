// Every screen as a picture and under axe: light and dark, wide and narrow. Ends with 1 where anything is wrong.

import { mkdirSync } from "node:fs";
import { ANSWERS, Hub } from "./hub.mjs";
import { seed } from "./seed.mjs";
import { breaches, launch, signIn } from "./browse.mjs";

const { HUB_URL, CLIENT_ID, CLIENT_SECRET, PROJECT_ID, EMAIL, PASSWORD, SHOTS } = process.env;
const only = process.argv[2];
const hub = new Hub(HUB_URL, CLIENT_ID, CLIENT_SECRET, PROJECT_ID);
const browser = await launch();
const wrong = [];
if (SHOTS) mkdirSync(SHOTS, { recursive: true });

const LISTS = ["agents", "pipelines"];

async function look(page, name, theme, width) {
  const where = `${name} ${theme} ${width}`;
  for (const found of await breaches(page)) wrong.push(`${where}: ${found}`);
  const spill = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (spill > 0) wrong.push(`${where}: is ${spill} px wider than the window`);
  // The two lists show all their columns in the usual window, however long the names.
  const hidden = LISTS.includes(name) && width === 1280 &&
    await page.evaluate(() => Math.max(0, ...[...document.querySelectorAll(".scroll")].map((box) => box.scrollWidth - box.clientWidth)));
  if (hidden > 0) wrong.push(`${where}: ${hidden} px of its table are out of sight`);
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
    ["wizard-name", "/pipelines/new"], ["activity", "/activity"], ["activity-all", "/activity?action=all"], ["activity-none", "/activity?actor=nobody"], ["people", "/people"],
    ["agent-credentials-two", `/agents/${agents.billing}/credentials`], ["agent-rotate", `/agents/${agents.billing}/credentials/rotate`],
    ["agent-revoke", `/agents/${agents.billing}/credentials/${where.old}/revoke`], ["agent-billing", `/agents/${agents.billing}`],
    ["agent-trust", `/agents/${agents["orders-eu"]}/trust`], ["agent-trust-none", `/agents/${agents.billing}/trust`],
    ["agent-trust-rule", `/agents/${agents["orders-eu"]}/trust/rules`], ["agent-trust-key", `/agents/${agents["orders-eu"]}/trust/keys`],
    ["agent-trust-remove-key", `/agents/${agents["orders-eu"]}/trust/${where.key}/remove`],
    ["agent-trust-remove-rule", `/agents/${agents["orders-eu"]}/trust/${where.rule}/remove`],
    ["agent-install-secret", `/agents/${agents.billing}/install`], ["join", where.join],
    ["agent-addresses", `/agents/${agents["orders-eu"]}/addresses`], ["me", "/me"], ["member", `/people/${where.person}`],
    ["member-disabled", `/people/${where.out}`], ["member-disable", `/people/${where.person}/disable`],
    ["member-remove", `/people/${where.person}/remove`], ["clients", "/api-clients"],
    ["client-revoke", `/api-clients/${where.client}/revoke`], ["settings", "/settings"], ["missing", "/agents/none"],
    ["agent-install", `/agents/${agents["orders-eu"]}/install`], ["agent-allowlist", `/agents/${agents["orders-eu"]}/allowlist`],
    ["agent-instances", `/agents/${agents.warehouse}/instances`], ["agent-commands", `/agents/${agents["orders-eu"]}/commands`],
    ["pipeline-restart", `/pipelines/${eu}/restart`], ["pipeline-revisions", `/pipelines/${eu}/revisions`],
    ["pipeline-commands", `/pipelines/${eu}/commands`], ["pipeline-activity", `/pipelines/${eu}/activity`],
    ["lost", "/no/such/page"], ["docs", "/docs"], ["docs-error", "/docs/errors/PG-012"],
    ["docs-codes", "/docs/reference/codes"], ["docs-cli", "/docs/reference/cli"],
    ["times", `/pipelines/${pipelines.returns}/times`], ["times-none", `/pipelines/${eu}/times`],
    ["notifications", "/settings/notifications"],
  ];
  if (where.draft) {
    for (const step of ["source", "test", "tables", "target", "options", "review"]) {
      list.push([`wizard-${step}`, `/pipelines/new/${where.draft}/${step}`]);
    }
  }
  for (const step of where.foreign ? ["source", "tables", "target", "options", "review"] : []) {
    list.push([`foreign-${step}`, `/pipelines/new/${where.foreign}/${step}`]);
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
  await page.getByRole("button", { name: "Choose all 6" }).click();
  await page.getByText("5 chosen").waitFor();
  return page.url().split("/").at(-2);
}

// An edit of a pipeline that no agent can run yet, so that it can be looked at.
async function edited(page, where) {
  await page.goto(`${HUB_URL}/pipelines/${where.pipelines.invoices}`);
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("button", { name: "Edit" }).click();
  await page.waitForURL(/\/review$/);
  const draft = page.url().split("/").at(-2);
  await page.goto(`${HUB_URL}/pipelines/new/${draft}/options`);
  await page.getByLabel("Commit interval").fill("5s");
  await page.getByRole("button", { name: "Continue" }).click();
  return draft;
}

// What each screen looks like when nobody has done anything yet.
async function empty(theme, width) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
  const page = await context.newPage();
  await page.goto(`${HUB_URL}/sign-in`);
  await look(page, "sign-in", theme, width);
  await page.goto(`${HUB_URL}/register`);
  await look(page, "register", theme, width);
  await page.goto(`${HUB_URL}/sign-in`);
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

// The stores whose fields wait until they are chosen.
const KINDS = [["Amazon S3", "s3"], ["Azure Blob Storage", "abs"], ["Google Cloud Storage", "gcs"]];
const views = [["light", 1280], ["dark", 1280], ["light", 320], ["dark", 320]];
if (SHOTS) views.push(["light", 390], ["dark", 390]);
if (!only) for (const [theme, width] of views.slice(0, 4)) await empty(theme, width);
const where = await seed(hub);
// The owner has a second account from here on, so the top of each page leads to it.
const form = { account: "A second account with a rather long name", email: EMAIL, password: PASSWORD };
await fetch(`${HUB_URL}/register`, { method: "POST", redirect: "manual", headers: { "sec-fetch-site": "same-origin" },
  body: new URLSearchParams(form) });
for (const [theme, width] of views) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme });
  const page = await context.newPage();
  await signIn(page, hub, EMAIL, PASSWORD);
  where.draft ??= await draft(page, where);
  where.foreign ??= await edited(page, where);
  for (const [name, path] of await screens(page, where)) {
    await where.renew();
    await page.goto(HUB_URL + path);
    await look(page, name, theme, width);
  }
  for (const [kind, word] of only && !"wizard-target".startsWith(only) ? [] : KINDS) {
    await where.renew();
    await page.goto(`${HUB_URL}/pipelines/new/${where.draft}/target`);
    await page.getByLabel("Target type").selectOption({ label: kind });
    await page.getByText("More settings").click();
    await look(page, `wizard-target-${word}`, theme, width);
  }
  if (!only || "wizard-options-refused".startsWith(only)) {
    await where.renew();
    await page.goto(`${HUB_URL}/pipelines/new/${where.draft}/options`);
    await page.getByLabel("Advanced properties").fill("note=a\ndatabase.password=not-here");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("alert").waitFor();
    await look(page, "wizard-options-refused", theme, width);
  }
  if (!only || only === "client-made") {
    await page.goto(`${HUB_URL}/api-clients`);
    await page.getByLabel("Name", { exact: true }).fill(`report ${theme} ${width}`);
    await page.getByLabel("Your password").fill(PASSWORD);
    await page.getByRole("button", { name: "Create API client" }).click();
    await page.getByRole("status").waitFor();
    await look(page, "client-made", theme, width);
  }
  if (!only || only === "settings-refused") {
    await page.goto(`${HUB_URL}/settings`);
    await page.getByLabel("Allowed addresses").fill("203.0.113.0/24");
    await page.getByLabel("Your password").fill(PASSWORD);
    await page.getByRole("button", { name: "Save addresses" }).click();
    await page.getByRole("alert").waitFor();
    await look(page, "settings-refused", theme, width);
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
