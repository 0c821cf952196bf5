// A hub as the browser tests see it: its API, and agents that speak at its gateway without a process.

export class Hub {
  constructor(url, clientId, clientSecret, project) {
    Object.assign(this, { url, clientId, clientSecret, project });
  }

  async token(id, secret) {
    const body = new URLSearchParams({ grant_type: "client_credentials", client_id: id, client_secret: secret });
    const answer = await fetch(`${this.url}/oauth/token`, { method: "POST", body });
    if (!answer.ok) throw new Error(`token: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).access_token;
  }

  async call(method, path, body) {
    const token = await this.token(this.clientId, this.clientSecret);
    return this.send(method, `/v1${path}`, token, body);
  }

  async send(method, path, token, body) {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  async addAgent(name, extra = {}) {
    const body = { name, deployment: "fargate", cloudProvider: "aws", agentType: "streaming", ...extra };
    return (await this.call("POST", "/agents", body)).agentId;
  }

  addPipeline(name, agentId, extra = {}) {
    return this.call("POST", `/projects/${this.project}/streaming-pipelines`, { ...pipeline(name, agentId), ...extra });
  }

  command(pipeline, command, more = {}) {
    return this.call("POST", `/projects/${this.project}/streaming-pipelines/${pipeline}/commands`, { command, ...more });
  }

  async revise(pipeline, change) {
    const path = `/projects/${this.project}/streaming-pipelines/${pipeline}`;
    return this.call("PUT", path, change(await this.call("GET", path)));
  }

  async connect(agentId) {
    const { clientId, clientSecret } = await this.call("GET", `/agents/${agentId}/credentials`);
    const token = await this.token(clientId, clientSecret);
    const hello = { protocol: 1, instance: crypto.randomUUID(), agentVersion: "0.1.0",
      platform: { os: "linux", arch: "x86_64", host: "ip-10-0-3-17" } };
    const { sessionId } = await this.send("POST", "/agent/v1/session", token, hello);
    return new Agent(this, token, sessionId);
  }
}

export class Agent {
  constructor(hub, token, sessionId) {
    Object.assign(this, { hub, token, sessionId, sequence: 0, held: undefined });
  }

  // Reports, and takes over what the hub wants.
  async sync(more = {}) {
    const body = { sessionId: this.sessionId, sequence: ++this.sequence, sentAt: new Date().toISOString(), waitMs: 0,
      held: this.held, ...more };
    const told = await this.hub.send("POST", "/agent/v1/sync", this.token, body);
    if (told.desired) {
      const wanted = told.desired.pipeline;
      this.held = wanted && { pipelineId: wanted.pipelineId, revision: wanted.revision, epoch: wanted.epoch,
        wanted: wanted.wanted, wish: wanted.wish };
    }
    return told;
  }

  report(status, more = {}) {
    const { pipelineId, revision, wish, epoch } = this.held;
    return { pipelineId, revision, wish, epoch, status, since: new Date(Date.now() - 64_000).toISOString(), ...more };
  }

  // Does at once whatever the hub wants, until it is told to stop; answers questions with `answers`.
  async serve(answers, signal) {
    while (!signal.aborted) {
      const told = await this.sync({ waitMs: 400, report: this.held && this.now() });
      const results = told.commands.map(({ id, kind }) => ({ id, done: true, result: answers[kind] }));
      if (results.length > 0) await this.sync({ results });
    }
  }

  now() {
    return this.held.wanted === "running" ? this.report("STREAMING", streaming()) : this.report("NOT_RUNNING");
  }

  goodbye() {
    return this.hub.send("POST", "/agent/v1/goodbye", this.token, { sessionId: this.sessionId, reason: "stopped" });
  }
}

export function pipeline(name, agentId) {
  const tables = ["customers", "orders", "order_lines", "payments", "shipments"];
  return {
    name,
    agentId,
    streamingSource: {
      type: "postgres",
      connection: { host: "orders-db.internal", port: 5432, database: "shop", username: "millrace",
        password: { secretType: "env", secretName: "SHOP_PASSWORD" } },
      tables: tables.map((table) => ({ schema: "sales", table })),
    },
    streamingTarget: { type: "local", path: "/lake", prefix: "shop", format: "parquet", layout: "flat" },
  };
}

const BEGAN = new Date(Date.now() - 1_500_000).toISOString();

export function streaming() {
  const at = new Date(Date.now() - 1_200).toISOString();
  return {
    countedSince: BEGAN,
    checkpoint: { commit: 18_204, position: "0/1A2B3C48", sequence: 981_233, at },
    figures: { lag_seconds: 1.42, rows_per_second: 12_345.6, bytes_per_second: 986_400,
      source_retained_bytes: 48_230_000, tables_remaining: 0, source_connected: true,
      target_connected: true, rows_written_total: 48_211_907, bytes_written_total: 3_911_274_000,
      files_written_total: 9_120, commits_total: 18_204,
      changes_total: { create: 30_118_004, update: 17_002_881, delete: 1_091_022, truncate: 0, read: 9_300_000 } },
    tables: ["customers", "orders", "order_lines", "payments", "shipments"].map((table, at) => ({
      table: `sales.${table}`, snapshot: "finished", snapshotRows: 1_860_000 * (at + 1),
      snapshotRowsEstimate: 1_860_000 * (at + 1), rows: 9_642_381 - at * 1_511_003,
      inserts: 6_023_600 - at * 944_376, updates: 3_400_576 - at * 533_140, deletes: 218_205 - at * 33_487,
      bytes: 782_254_800 - at * 122_580_000 })),
  };
}

export function snapshotting() {
  const now = streaming();
  const tables = now.tables.map((table, at) => at === 0 ? table
    : { ...table, snapshot: at < 3 ? "running" : "pending", snapshotRows: at < 3 ? 1_200_400 * at : 0,
      snapshotRowsEstimate: 3_700_000 * at });
  return { ...now, tables, figures: { ...now.figures, rows_per_second: 84_210, tables_remaining: 4 } };
}

export const ANSWERS = {
  restart: { commit: 18_205, removed: 3, new_slot: false },
  cleanup: { slot: "millrace_shop", publication: "millrace_shop" },
  check: { ok: true, findings: [
    { code: "PG-014", severity: "warning", subject: "source", message: "the table sales.audit has no key",
      cure: "give it a primary key, or set REPLICA IDENTITY FULL" },
    { code: "PG-001", severity: "info", subject: "source", message: "PostgreSQL 16.4, wal_level is logical", cure: "" }] },
  discover: { tables: ["customers", "orders", "order_lines", "payments", "shipments", "audit"].map((table, at) => ({
    schema: "sales", table, key: table === "audit" ? [] : ["id"], columns: [], rows_estimate: 120_000 * (at + 1),
    bytes: 41_000_000 * (at + 1), findings: table === "audit"
      ? [{ code: "PG-017", severity: "warning", message: "has neither a key nor full old rows" }] : [] })) },
};
