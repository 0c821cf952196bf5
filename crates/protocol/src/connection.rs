//! `jdbcProperties` of a PostgreSQL connection: the `sslmode` rule, and what happens to everything else.
//!
//! Until TLS is built a connection is plain. What would ask for more is refused, never silently weakened.

use millrace_model::Finding;

use crate::fault::{MEANINGLESS, NO_TLS, PLAIN_CONNECTION, Problem, Wrong};
use crate::tree::Node;
use crate::validate::Report;
use millrace_model::nearest;

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// Looks at the properties of a PostgreSQL source. `node` is the map, or nothing where the file has none.
pub(crate) fn check_postgres(node: Option<&Node>, report: &mut Report) {
    let path = "streamingSource.connection.jdbcProperties";
    let property = |name: &str| node.and_then(|node| node.get(name)).and_then(Node::as_text);
    for (name, _) in node.into_iter().flat_map(Node::entries) {
        if name != "sslmode" && name != "ssl" && !FILES.contains(&name) {
            let cure = match nearest(name, ["sslmode", "ssl"].into_iter().chain(FILES)) {
                Some(meant) => format!("did you mean `{meant}`? Otherwise leave it: it changes nothing"),
                None => "remove it, or leave it: it changes nothing".into(),
            };
            let message = format!("`{name}` means nothing here and is kept as it is");
            report.finding(Finding::warning(MEANINGLESS, format!("{path}.{name}"), message, cure));
        }
    }
    let (name, mode) = match (property("sslmode"), property("ssl").map(str::to_lowercase).as_deref()) {
        (Some(mode), _) => ("sslmode", mode.to_lowercase()),
        (None, None) => ("sslmode", "prefer".to_owned()),
        (None, Some("false")) => ("ssl", "disable".to_owned()),
        // In the JDBC driver a bare `ssl=true` verifies the server.
        (None, Some("true" | "")) => ("ssl", "verify-full".to_owned()),
        (None, Some(mode)) => ("ssl", mode.to_owned()),
    };
    let at = format!("{path}.{name}");
    let line = node.and_then(|node| node.get(name)).map_or(0, |node| node.line);
    match mode.as_str() {
        "disable" | "allow" => {}
        "prefer" => report.finding(Finding::warning(
            PLAIN_CONNECTION,
            at,
            "`sslmode` is `prefer`, and this version connects without encryption although the server offers it",
            "write `jdbcProperties: {sslmode: disable}` to say that this is meant",
        )),
        mode if MODES.contains(&mode) => report.problem(
            Problem::new(
                NO_TLS,
                at,
                format!("`{mode}` asks for an encrypted connection, which is not built yet"),
                "write `sslmode: disable` if the network between here and the server is trusted, or go through a tunnel",
            )
            .line(line),
        ),
        // Not quoted: it is not known what it is.
        _ => report.problem(
            Wrong::new(format!("must be one of {}", MODES.join(", ")), "write `sslmode: disable`, or leave it out")
                .at(at, line),
        ),
    }
}
