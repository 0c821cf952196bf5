-- What an agent may sign in with beside a secret. `kind` is `key` (a public key of its own) or `rule` (tokens of an issuer that
-- say the right things); `body` is what that is, as JSON.
CREATE TABLE agent_trust (
    id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id),
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    last_used_at BIGINT,
    last_address TEXT,
    removed_at BIGINT
);
CREATE INDEX agent_trust_by_agent ON agent_trust (agent_id);
-- Assertions that were taken once, until they have expired: none is taken twice, by whichever hub process.
CREATE TABLE taken_assertions (
    id_hash TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX taken_assertions_by_end ON taken_assertions (expires_at);
