// A hub with one of everything, for the screens to be looked at.

import { snapshotting, streaming } from "./hub.mjs";

export async function seed(hub) {
  const places = [["aws", "fargate"], ["aws", "eks"], ["azure", "aks"], ["gcp", "gke"], ["gcp", "gce"], ["azure", "aci"],
    ["aws", "fargate"]];
  const names = ["orders-eu", "orders-us", "billing", "warehouse", "returns", "spare",
    "a-name_of thirty characters-ok"];
  const ids = {};
  for (const [at, name] of names.entries()) {
    const [cloudProvider, deployment] = places[at];
    const description = at === 0 ? "Reads the order database in Frankfurt.\nOwned by the commerce team." : "";
    ids[name] = await hub.addAgent(name, { cloudProvider, deployment, description });
  }
  const pipelines = {};
  const add = async (name, agent) => {
    pipelines[name] = (await hub.addPipeline(name, ids[agent])).streamingPipelineId;
    return pipelines[name];
  };

  const eu = await hub.connect(ids["orders-eu"]);
  await hub.command(await add("orders to lake", "orders-eu"), "START");
  await eu.sync();
  const events = [
    ["info", "claimed", "claimed the chain", ""],
    ["info", "streaming", "streaming", ""],
    ["warning", "retrying", "nobody answers at `source`; it is tried again", ""],
    ["info", "streaming", "streaming", ""],
    ["error", "PG-012", "the slot millrace_orders is in use by another process",
      "wait until the other process is gone, or end it"],
  ].map(([severity, code, message, cure], at) => ({ id: crypto.randomUUID(), severity, code, message, cure,
    at: new Date(Date.now() - (600 - at * 90) * 1000).toISOString(), pipelineId: pipelines["orders to lake"] }));
  await eu.sync({ report: eu.report("STREAMING", streaming()), events, conditions: [] });

  await hub.revise(pipelines["orders to lake"], (body) => ({ ...body, advancedProperties: { "commit.interval": "5s" } }));
  const asked = async (more, result) => {
    await hub.command(pipelines["orders to lake"], "RESTART", more);
    const { commands } = await eu.sync({ report: eu.report("STREAMING", streaming()) });
    await eu.sync({ results: commands.map(({ id }) => ({ id, ...result })) });
  };
  await asked({ tables: ["sales.orders"] }, { done: true, result: { commit: 17_802, removed: 412, new_slot: false } });
  await asked({ tables: ["sales.order"] }, { done: false, result: { code: "failed", fault: "EN-018",
    message: "there is no table sales.order in the lake or the source", cure: "correct the name" } });

  const us = await hub.connect(ids["orders-us"]);
  await hub.command(await add("orders-us", "orders-us"), "START");
  await us.sync();
  await us.sync({ report: us.report("SNAPSHOTTING", snapshotting()) });

  const billing = await hub.connect(ids.billing);
  await hub.command(await add("billing", "billing"), "START");
  await billing.sync();
  await billing.sync({ report: billing.report("NOT_RUNNING", { reason: { code: "failed", fault: "PG-008",
    message: "the log that the pipeline needs is gone: the slot was invalidated",
    cure: "start with a new snapshot: RESTART" } }) });

  const source = { type: "mysql", connection: { host: "invoices.internal", port: 3306, username: "reader",
    password: { secretType: "aws_secrets_manager", secretName: "invoices/db" } },
    tables: [{ schema: "invoices", table: "lines" }] };
  const account = { accountName: "acme-eu", username: "MILLRACE",
    authentication: { type: "key-pair", privateKey: { secretType: "azure_key_vault", secretName: "snowflake-key" } } };
  const target = { type: "snowflake", connection: account, role: "LOADER", warehouse: "LOAD", database: "RAW",
    stageSchema: "PUBLIC", stageName: "MILLRACE", tableSchema: "INVOICES", tablePrefixType: "none",
    transformationType: "copy_table" };
  const extra = { streamingSource: source, streamingTarget: target };
  const invoices = await hub.addPipeline("invoices", ids["a-name_of thirty characters-ok"], extra);
  pipelines.invoices = invoices.streamingPipelineId;

  const retrying = { code: "retrying", message: "nobody answers at `source`; it is tried again",
    cure: "it goes on by itself once there is an answer" };
  const warehouse = await hub.connect(ids.warehouse);
  const cut = streaming();
  cut.figures.source_connected = false;
  await hub.command(await add("warehouse-stock-and-movements-of-all-european-sites", "warehouse"), "START");
  await warehouse.sync();
  await warehouse.sync({ report: warehouse.report("STREAMING", { ...cut, reason: retrying }),
    conditions: [{ kind: "duplicate_instance", message: "a second process with this identity was refused 3 min ago",
      since: new Date(Date.now() - 180_000).toISOString() }] });

  const returns = await hub.connect(ids.returns);
  await add("returns", "returns");
  await returns.sync();
  await returns.goodbye();

  await hub.call("POST", "/webhooks", { url: "https://hooks.example.com/millrace",
    events: ["pipeline_failed", "agent_unknown", "recovered"] });
  await hub.call("PUT", `/projects/${hub.project}/streaming-pipelines/${pipelines.returns}/set-times`,
    { start: "30 6 * * 1-5", stop: "*/20 20 1 * *" });

  const spare = await hub.connect(ids.spare);
  await spare.sync({ conditions: [] });
  const join = await people(hub);
  await hub.call("POST", "/api-clients", { name: "terraform of the platform team", role: "editor" });
  await hub.call("POST", "/projects", { name: "Finance and controlling" });
  await hub.call("POST", `/agents/${ids.billing}/credentials/rotate`, { expiresInDays: 20 });
  const { keyId } = await hub.call("POST", `/agents/${ids["orders-eu"]}/keys`, { name: "key of 2026", publicKey:
    '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' });
  const { trustRuleId } = await hub.call("POST", `/agents/${ids["orders-eu"]}/trust-rules`, { name: "pod in production",
    issuer: "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B716D3041E",
    subject: "system:serviceaccount:streaming-production:orders-agent", claims: { "/kubernetes.io/namespace": "streaming-production" } });
  const { results } = await hub.call("GET", `/agents/${ids.billing}/credentials/history`);
  const { results: users } = await hub.call("GET", "/users");
  const { results: clients } = await hub.call("GET", "/api-clients");
  const person = (email) => users.find((user) => user.email === email).userId;
  await past([pipelines["orders to lake"], pipelines["orders-us"], ids["orders-eu"]]);
  // Keeps them as they are while the screens are looked at. Without a start of its counters a report is no sample.
  const renew = async () => {
    const same = (report) => ({ ...report, countedSince: undefined });
    await eu.sync({ report: same(eu.report("STREAMING", streaming())) });
    await us.sync({ report: same(us.report("SNAPSHOTTING", snapshotting())) });
    await warehouse.sync({ report: same(warehouse.report("STREAMING", { ...cut, reason: retrying })) });
    await billing.sync();
    await spare.sync();
  };
  return { agents: ids, pipelines, spare, renew, join, key: keyId, rule: trustRuleId, old: results.at(-1).credentialId, client: clients.at(-1).clientId,
    person: person("vera.van.den.bergh-haarlemmer@commerce.example.com"), out: person("olaf@example.com") };
}

// Someone who joined, someone who is disabled, and someone who is only invited: the path to join by.
async function people(hub) {
  const names = ["vera.van.den.bergh-haarlemmer@commerce.example.com", "olaf@example.com", "invited@example.com"];
  let join;
  for (const email of names) {
    const { joinUrl } = await hub.call("POST", "/users", { email, role: email.startsWith("vera") ? "editor" : "viewer" });
    join = new URL(joinUrl).pathname;
    if (email === "invited@example.com") continue;
    await fetch(hub.url + new URL(joinUrl).pathname, { method: "POST", redirect: "manual",
      headers: { "sec-fetch-site": "same-origin" }, body: new URLSearchParams({ password: "four words that differ" }) });
  }
  const { results } = await hub.call("GET", "/users");
  const { userId } = results.find((user) => user.email === "olaf@example.com");
  await hub.call("PATCH", `/users/${userId}`, { disabled: true });
  return join;
}

// Whoever started this script writes a past for these, or there is none.
async function past(ids) {
  if (process.stdin.isTTY) return;
  console.log(`past ${JSON.stringify(ids)}`);
  await new Promise((resolve) => {
    process.stdin.once("data", resolve);
    process.stdin.once("end", resolve);
  });
  process.stdin.destroy();
}
