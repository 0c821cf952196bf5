-- Times are microseconds since 1970 UTC, ids are UUIDs as text, JSON is text: what SQLite and PostgreSQL have in common.
-- `allowed` is a JSON list of address ranges; empty: from everywhere.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    allowed TEXT NOT NULL DEFAULT '[]',
    created_at BIGINT NOT NULL
);
CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (account_id, name)
);
-- Someone who belongs to no account any more has an empty hash: the next invitation sets a password anew.
CREATE TABLE people (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE memberships (
    person_id TEXT NOT NULL REFERENCES people (id),
    account_id TEXT NOT NULL REFERENCES accounts (id),
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    -- Kept so that the audit log goes on calling people by their name.
    removed_at BIGINT,
    PRIMARY KEY (person_id, account_id)
);
-- The cookie's value is not kept, only its hash.
CREATE TABLE sessions (
    id_hash TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    person_id TEXT NOT NULL REFERENCES people (id),
    account_id TEXT NOT NULL REFERENCES accounts (id),
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    signed_in_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    browser TEXT NOT NULL
);
-- One-time links: the first owner's, and invitations.
CREATE TABLE invitations (
    token_hash TEXT PRIMARY KEY,
    account_id TEXT REFERENCES accounts (id),
    email TEXT,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE TABLE api_clients (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT 'hub',
    last_used_at BIGINT,
    last_address TEXT,
    revoked_at BIGINT
);
CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    cloud_provider TEXT NOT NULL,
    deployment TEXT NOT NULL,
    agent_type TEXT NOT NULL,
    -- As in `accounts`: where its process may call from.
    allowed TEXT NOT NULL DEFAULT '[]',
    client_id TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    first_connected_at BIGINT,
    goodbye_at BIGINT,
    goodbye_reason TEXT,
    removed_at BIGINT
);
CREATE UNIQUE INDEX agents_by_name ON agents (account_id, name) WHERE removed_at IS NULL;
-- At most two live ones while they are rotated; sealed under the hub's key, which is not in this database.
CREATE TABLE agent_credentials (
    id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    secret_hash TEXT NOT NULL,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    last_used_at BIGINT,
    last_address TEXT,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX agent_credentials_by_agent ON agent_credentials (agent_id);
-- Narrow and hot: renewed by every sync.
CREATE TABLE leases (
    agent_id TEXT PRIMARY KEY REFERENCES agents (id),
    session_id TEXT NOT NULL,
    instance TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    granted_at BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- Another process of the same agent that asked for the lease while it was alive, and when it asked last.
    rival TEXT,
    rival_at BIGINT
);
-- The processes that have run as an agent, or wanted to.
CREATE TABLE agent_instances (
    agent_id TEXT NOT NULL REFERENCES agents (id),
    instance TEXT NOT NULL,
    version TEXT NOT NULL,
    platform TEXT NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    refused_at BIGINT,
    goodbye_at BIGINT,
    goodbye_reason TEXT,
    PRIMARY KEY (agent_id, instance)
);
CREATE TABLE agent_reports (
    agent_id TEXT PRIMARY KEY REFERENCES agents (id),
    version TEXT NOT NULL,
    platform TEXT NOT NULL,
    conditions TEXT NOT NULL,
    clock_skew_ms BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- `wish` rises with each START and STOP. Default slot and publication are named after `first_name`. `epoch` rises whenever a process is given the pipeline; `given_to` is the session that has it now, `holder` the agent
-- that has not yet said that it runs no more.
CREATE TABLE pipelines (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    wanted TEXT NOT NULL,
    wish BIGINT NOT NULL,
    first_name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    given_to TEXT,
    holder TEXT,
    -- The revision that moved the target to another root, until a report has shown a commit there.
    new_lake BIGINT,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX pipelines_by_name ON pipelines (project_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX pipelines_by_agent ON pipelines (agent_id) WHERE deleted_at IS NULL;
CREATE INDEX pipelines_by_holder ON pipelines (holder);
CREATE TABLE pipeline_revisions (
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id),
    revision BIGINT NOT NULL,
    body TEXT NOT NULL,
    author TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (pipeline_id, revision)
);
CREATE TABLE pipeline_reports (
    pipeline_id TEXT PRIMARY KEY REFERENCES pipelines (id),
    agent_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    report TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- Pipelines that someone is still filling in: `body` as the API would take it, `notes` what else the wizard remembers.
CREATE TABLE drafts (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    person_id TEXT NOT NULL REFERENCES people (id),
    body TEXT NOT NULL,
    notes TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE commands (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    agent_id TEXT NOT NULL REFERENCES agents (id),
    pipeline_id TEXT,
    kind TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL,
    issued_by TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    finished_at BIGINT,
    result TEXT
);
CREATE INDEX commands_by_agent ON commands (agent_id, state);
CREATE TABLE events (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    agent_id TEXT NOT NULL,
    pipeline_id TEXT,
    at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    severity TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    cure TEXT NOT NULL,
    fields TEXT NOT NULL
);
CREATE INDEX events_by_pipeline ON events (pipeline_id, received_at);
CREATE INDEX events_by_agent ON events (agent_id, received_at);
CREATE TABLE audit_log (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    account_id TEXT,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    outcome TEXT NOT NULL
);
CREATE INDEX audit_log_by_account ON audit_log (account_id, id);
-- Keys that sign access tokens, sealed.
CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);
-- What was done under an Idempotency-Key.
CREATE TABLE repeats (
    actor TEXT NOT NULL,
    repeat_key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    outcome TEXT NOT NULL,
    done_at BIGINT NOT NULL,
    PRIMARY KEY (actor, repeat_key)
);
-- What is wrong now and was told of: a state that begins is told once, whichever hub process sees it first.
CREATE TABLE troubles (
    object TEXT NOT NULL,
    event TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    since BIGINT NOT NULL,
    PRIMARY KEY (object, event)
);
-- What someone should know; `told_at`: it has become messages.
CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    event TEXT NOT NULL,
    object TEXT NOT NULL,
    name TEXT NOT NULL,
    code TEXT,
    at BIGINT NOT NULL,
    told_at BIGINT
);
CREATE INDEX notices_untold ON notices (at) WHERE told_at IS NULL;
-- Who is told. `sealed`: what a webhook's messages are signed with. `trouble`: why the last message did not arrive.
CREATE TABLE recipients (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    kind TEXT NOT NULL,
    address TEXT NOT NULL,
    events TEXT NOT NULL,
    sealed TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    removed_at BIGINT,
    reached_at BIGINT,
    trouble TEXT,
    trouble_at BIGINT
);
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    recipient_id TEXT NOT NULL REFERENCES recipients (id),
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX deliveries_due ON deliveries (due_at) WHERE ended_at IS NULL;
-- When a pipeline is started and stopped by the clock, as cron in UTC, and the next of each.
CREATE TABLE set_times (
    pipeline_id TEXT PRIMARY KEY REFERENCES pipelines (id),
    start_at TEXT,
    stop_at TEXT,
    next_start BIGINT,
    next_stop BIGINT,
    author TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- Figures over time: counters as they stood, so that what is stored twice or late adds nothing. `series` is the half of a
-- pipeline's or an agent's id that is random, `run` when its counters began at nothing.
CREATE TABLE samples (
    series BIGINT NOT NULL,
    at BIGINT NOT NULL,
    run BIGINT NOT NULL,
    lag_us BIGINT,
    retained BIGINT,
    memory BIGINT,
    row_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    inserts BIGINT NOT NULL,
    updates BIGINT NOT NULL,
    deletes BIGINT NOT NULL,
    truncates BIGINT NOT NULL,
    reads BIGINT NOT NULL,
    commits BIGINT NOT NULL,
    commit_us BIGINT NOT NULL,
    cpu_ms BIGINT NOT NULL,
    PRIMARY KEY (series, at)
);
-- The same by quarters of an hour, kept for longer. `at` is the time of the last sample in it, `lag_sum` over `lags` of them.
CREATE TABLE sample_quarters (
    series BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    at BIGINT NOT NULL,
    run BIGINT NOT NULL,
    lag_us BIGINT,
    lag_sum BIGINT,
    lags BIGINT NOT NULL,
    retained BIGINT,
    memory BIGINT,
    row_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    inserts BIGINT NOT NULL,
    updates BIGINT NOT NULL,
    deletes BIGINT NOT NULL,
    truncates BIGINT NOT NULL,
    reads BIGINT NOT NULL,
    commits BIGINT NOT NULL,
    commit_us BIGINT NOT NULL,
    cpu_ms BIGINT NOT NULL,
    PRIMARY KEY (series, slot, run)
);
