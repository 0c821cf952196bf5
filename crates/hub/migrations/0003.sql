-- What is old enough is found by its age, and not by looking through all there is.

CREATE INDEX events_by_age ON events (received_at);

CREATE INDEX commands_by_age ON commands ((COALESCE(finished_at, expires_at)));

CREATE INDEX audit_log_by_age ON audit_log (at);
