//! `millrace read FILE --table T`: a table's committed rows, or its current ones, as JSON lines.

use std::io::{self, BufWriter, Write};

use super::DONE;
use crate::args::ReadArguments;
use crate::fault::{Cause, Failure};
use crate::load::{load, secrets_of};
use millrace_agent::wiring::{self, Identity};

/// Prints them. A reader that has seen enough (`| head`) ends it without a failure.
pub(crate) async fn read(arguments: ReadArguments) -> Result<u8, Failure> {
    let spec = load(&arguments.file)?;
    let files = wiring::target(&spec, &Identity::of_name(&spec), &secrets_of(&arguments.file))?;
    let mut stdout = BufWriter::new(io::stdout());
    let mut lost: Option<io::Error> = None;
    let answer = wiring::read(&files, &arguments.table, arguments.state, &mut |line| {
        writeln!(stdout, "{line}").map_err(|error| {
            let cause = Cause::OutputLost(io::Error::from(error.kind()));
            lost = Some(error);
            cause.into()
        })
    })
    .await;
    let lost = lost.or_else(|| stdout.flush().err());
    match (lost, answer) {
        (Some(error), _) if error.kind() == io::ErrorKind::BrokenPipe => Ok(DONE),
        (Some(error), _) => Err(Cause::OutputLost(error).into()),
        (None, answer) => Ok(answer.map(|()| DONE)?),
    }
}
