// The whole story, as a person clicks it: sign in, add an agent, read its details, give it a pipeline, start it, stop it,
// remove it. `HUB_SCRIPT=off`: without JavaScript.

import assert from "node:assert/strict";
import { ANSWERS, Hub } from "./hub.mjs";
import { breaches, launch, signIn } from "./browse.mjs";

const { HUB_URL, CLIENT_ID, CLIENT_SECRET, PROJECT_ID, EMAIL, PASSWORD, HUB_SCRIPT } = process.env;
const hub = new Hub(HUB_URL, CLIENT_ID, CLIENT_SECRET, PROJECT_ID);
const browser = await launch();
const javaScriptEnabled = HUB_SCRIPT !== "off";
const context = await browser.newContext({ javaScriptEnabled, timezoneId: "Asia/Kolkata" });
const page = await context.newPage();
page.setDefaultTimeout(20_000);
const complaints = [];
page.on("console", (message) => {
  if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) complaints.push(message.text());
});
page.on("pageerror", (error) => complaints.push(String(error)));
const button = (name) => page.getByRole("button", { name, exact: true });

// A page that does not renew itself is loaded again until it says what is awaited.
async function until(locator) {
  for (const end = Date.now() + 20_000; ;) {
    if (await locator.first().isVisible()) return;
    assert.ok(Date.now() < end, `${locator} did not come`);
    if (javaScriptEnabled) await locator.first().waitFor({ timeout: 20_000 });
    else await page.reload();
  }
}

await page.goto(`${HUB_URL}/pipelines?sort=name`);
assert.match(page.url(), /\/sign-in\?next=/, "nobody looks in without signing in");
await signIn(page, hub, EMAIL, PASSWORD);

await button("Add agent").click();
await button("Streaming").click();
await page.getByLabel("Agent name").fill("bad/name");
// The rule is told before anything is sent, and taken back when it is kept.
const told = page.getByText("May hold letters A to Z, digits", { exact: false });
if (javaScriptEnabled) {
  for (const [name, times] of [["bad/name", 1], ["good name", 0], [" no", 1], ["", 0], ["bad/name", 1]]) {
    await page.getByLabel("Agent name").fill(name);
    assert.equal(await told.count(), times, `"${name}"`);
  }
  assert.deepEqual(await breaches(page), []);
}
await page.getByLabel("Cloud provider").selectOption({ label: "AWS" });
await page.getByLabel("Deployment").selectOption({ label: "Fargate" });
await button("Create agent").click();
await page.getByRole("alert").waitFor();
assert.equal(await page.getByLabel("Agent name").inputValue(), "bad/name", "nothing typed is lost");
await page.getByLabel("Agent name").fill("north");
await page.getByLabel("Description").fill("of the story");
await button("Create agent").click();
for (const name of ["Agent image URI", "Agent environment variables", "Credentials"]) {
  await page.getByRole("heading", { name, exact: true }).waitFor();
}
const agentPage = page.url();
const agent = agentPage.split("/").at(-1);
assert.match(await page.locator("pre", { hasText: "AGENT_ID" }).first().textContent(), new RegExp(`AGENT_ID=${agent}`));
await page.getByText("Pending", { exact: true }).first().waitFor();

await button("Show credentials").click();
await page.getByLabel("Password").fill("not the right one");
await button("Show credentials").click();
await page.getByRole("alert").waitFor();
await page.getByLabel("Password").fill(PASSWORD);
await button("Show credentials").click();
const { clientSecret } = await hub.call("GET", `/agents/${agent}/credentials`);
await page.getByText(clientSecret).waitFor();
await page.goto(agentPage);
assert.equal(await page.getByText(clientSecret).count(), 0, "the secret is not shown unasked");

const process_ = await hub.connect(agent);
const stop = new AbortController();
const serving = process_.serve(ANSWERS, stop.signal);
await until(page.getByText("Running", { exact: true }));

await page.getByRole("link", { name: "Agents", exact: true }).first().click();
for (const column of ["Status", "Platform", "Type"]) await page.getByRole("columnheader", { name: column }).waitFor();
await button("More actions").click();
await button("Agent details").click();
await page.getByRole("heading", { name: "Credentials", exact: true }).waitFor();

await page.getByRole("link", { name: "Pipelines", exact: true }).click();
await button("Create pipeline").click();
await page.getByLabel("Pipeline name").fill("shop");
await page.getByLabel("Agent", { exact: true }).selectOption({ label: "north" });
await button("Continue").click();
await page.getByLabel("Host").fill("db.internal");
await page.getByLabel("Database", { exact: true }).fill("shop");
await page.getByLabel("Username").fill("millrace");
await page.getByLabel("Secret name").fill("SHOP_PASSWORD");
await button("Continue").click();
await button("Test connection").click();
await until(page.getByText("The connection works."));
await page.getByText("Give it a primary key", { exact: false }).waitFor();
await button("Continue").click();
await until(page.getByRole("checkbox", { name: "sales.orders", exact: true }));
await page.getByRole("checkbox", { name: "sales.orders", exact: true }).check();
await page.getByRole("searchbox").fill("cust");
await button("Search").click();
await page.getByText("1 chosen").waitFor();
await page.getByRole("checkbox", { name: "sales.customers" }).check();
await button("Continue").click();
// Another kind asks for its own fields, and the folder comes back with its own.
for (const [kind, label, text] of [["Amazon S3", "Bucket", "acme-lake"], ["Folder", "Folder", "/lake"]]) {
  await page.getByLabel("Target type").selectOption({ label: kind });
  if (!javaScriptEnabled) await button("Show its fields").click();
  await page.getByLabel(label, { exact: true }).fill(text);
}
assert.equal(await page.getByLabel("Bucket", { exact: true }).count(), 0, "only what is chosen is asked for");
await button("Test target").click();
await until(page.getByText("The target works", { exact: false }));
await button("Continue").click();
await button("Continue").click();
await page.getByText("{schema: sales, table: orders}").waitFor();
await button("Create pipeline").click();
await page.getByRole("heading", { name: "shop" }).waitFor();

await button("Start").click();
await until(page.getByText("Streaming", { exact: true }));
await until(page.getByText("12,346 rows/s"));

// Times are in UTC; with a script also by the clock of whoever looks. Without one there is no button that does nothing.
await page.locator('time[title$=" UTC"]').first().waitFor();
assert.equal(await page.getByRole("button", { name: "Clock: UTC" }).count(), javaScriptEnabled ? 1 : 0);
if (javaScriptEnabled) {
  await page.getByRole("button", { name: "Clock: UTC" }).click();
  await page.locator('time[title$=" UTC+05:30"]').first().waitFor();
  // A page that is paused stays as it is; one that is not renews its figures, and what stands beside them does not move.
  const place = () => page.getByRole("heading", { name: "Changes by kind" }).evaluate((heading) => heading.offsetTop);
  // The charts come with the second sample, ten seconds after the first.
  await page.locator("svg.chart").first().waitFor({ timeout: 40_000 });
  const before = await place();
  await page.waitForResponse((answer) => answer.request().headers()["hx-request"] === "true");
  await until(page.getByText("12,346 rows/s"));
  assert.equal(await place(), before, "a figure that changes does not move its neighbours");
  await button("Pause updates").click();
  await button("Resume updates").waitFor();
  assert.equal(await page.locator("[hx-trigger]").count(), 0, "a paused page asks for nothing");
  await button("Resume updates").click();
}
if (javaScriptEnabled) {
  // A table that renews itself stays where it was scrolled to, and keeps the focus.
  const [here, wide] = [page.url(), page.viewportSize()];
  await page.setViewportSize({ width: 320, height: 640 });
  await page.goto(`${HUB_URL}/agents`);
  const table = page.getByRole("region", { name: "Table of agents" });
  await table.focus();
  await table.evaluate((box) => { box.scrollLeft = 120; box.dataset.old = "yes"; });
  await page.waitForFunction(() => !document.querySelector(".scroll").dataset.old);
  assert.deepEqual(await table.evaluate((box) => [box.scrollLeft, box === document.activeElement]), [120, true]);
  await page.setViewportSize(wide);
  await page.goto(here);
}
// A code leads to the page about it.
await page.goto(`${HUB_URL}/docs/errors/PG-012`);
await page.getByRole("heading", { name: "PG-012: The slot is in use" }).waitFor();
await page.goBack();
await button("Stop").click();
await until(page.getByText("Not running", { exact: true }));

await button("More actions").click();
await button("Restart with a new snapshot").click();
await page.getByLabel("Only these").check();
await page.getByRole("checkbox", { name: "sales.orders" }).check();
await page.getByLabel("Type the pipeline's name").fill("shop");
await button("Restart with a new snapshot").click();
await page.waitForURL(/\/commands$/);
await until(page.getByText("3 files left the lake", { exact: false }));

await button("More actions").click();
await button("Edit").click();
await page.getByText("Nothing yet.", { exact: false }).waitFor();
await page.getByRole("link", { name: /Options/ }).click();
await page.getByLabel("Commit interval").fill("5s");
await button("Continue").click();
await page.getByText("commit.interval: \"5s\"").first().waitFor();
await button("Save changes").click();
await page.getByRole("link", { name: /Revisions/ }).click();
await page.getByRole("link", { name: "Show revision 1" }).click();
await button("Roll back to revision 1").click();
await page.getByText("commit.interval: \"5s\"").first().waitFor();
await page.getByRole("heading", { name: "Revision 3" }).waitFor();

await button("More actions").click();
await button("Delete pipeline").click();
await page.getByLabel("Type the pipeline's name").fill("shop");
await button("Delete pipeline").click();
await page.waitForURL(/\/agents\/.*\/commands$/);
await until(page.getByText("Dropped slot millrace_shop", { exact: false }));

stop.abort();
await serving;
await process_.goodbye();
await page.goto(agentPage);
await until(page.getByText("Stopped", { exact: true }));
await button("Remove agent").click();
await page.getByLabel("Type the agent's name").fill("nort");
await page.getByLabel("Your password").fill(PASSWORD);
await button("Remove agent").click();
await page.getByRole("alert").waitFor();
await page.getByLabel("Type the agent's name").fill("north");
await page.getByLabel("Your password").fill(PASSWORD);
await button("Remove agent").click();
await page.waitForURL(/\/agents$/);
assert.equal(await page.getByRole("link", { name: "north" }).count(), 0);
await button("Sign out").click();
await page.goto(`${HUB_URL}/agents`);
assert.match(page.url(), /\/sign-in/);
assert.deepEqual(complaints, []);
await browser.close();
console.log("the story is told");
