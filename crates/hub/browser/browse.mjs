// The browser: Chromium of the machine, driven by playwright-core, and axe-core for accessibility.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const from = createRequire(`${process.env.MILLRACE_BROWSER}/`);
const { chromium } = from("playwright-core");
const AXE = readFileSync(from.resolve("axe-core/axe.min.js"), "utf8");

export function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
}

// What axe finds wrong with the page as it is. It runs beside the page's own policy, as an extension would.
export async function breaches(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("Runtime.evaluate", { expression: AXE });
  const { result } = await session.send("Runtime.evaluate", { awaitPromise: true, returnByValue: true,
    expression: `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
      .then((found) => found.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3)
        .map((n) => n.target.join(" ") + " " + n.failureSummary.split("\\n").slice(1, 2).join("")).join(" | ")))` });
  await session.detach();
  return result.value ?? [`axe did not run: ${JSON.stringify(result)}`];
}

export async function signIn(page, hub, email, password) {
  await page.goto(`${hub.url}/sign-in`);
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "Agents" }).waitFor();
}
