//! `millrace`: the one binary. Reads the command line, runs one command, and ends with its exit code.
//!
//! Nothing of a pipeline is decided here: `commands` holds one file a command, `wiring` puts source, target and engine
//! together, `console` owns the terminal.

mod allocator;
mod api;
mod args;
mod commands;
mod console;
mod fault;
mod interrupt;
mod live;
mod load;
mod paint;
mod screen;
mod shown;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use commands::{
    agent, agents, check, cleanup, discover, fsck, health, hub, pipelines, read, restart, run, schema, status,
};
use console::Console;
use fault::{Cause, Failure};

fn main() -> ExitCode {
    allocator::bound();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // `--help` and `--version` are answers, not mistakes.
        Err(answer) if !answer.use_stderr() => {
            // A reader that has seen enough (`| head`) is no failure.
            drop(answer.print());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => return ExitCode::from(Console::before_arguments().report(&mistake.into())),
    };
    let console = Console::new(arguments.format);
    match arguments.log_level(commands::variable) {
        Ok(level) => telemetry::start(&console, level, matches!(arguments.command, Command::Agent)),
        Err(cause) => return ExitCode::from(console.report(&Failure::Fault(cause.into()))),
    }
    let ended =
        tokio::runtime::Runtime::new().map_err(|error| Failure::from(Cause::NoRuntime(error))).and_then(|runtime| {
            let ended = runtime.block_on(dispatch(arguments.command, &console));
            // Without waiting for file operations that hang: the deadline of a stop holds for them too.
            runtime.shutdown_background();
            ended
        });
    ExitCode::from(ended.unwrap_or_else(|failure| console.report(&failure)))
}

async fn dispatch(command: Command, console: &Console) -> Result<u8, Failure> {
    match command {
        Command::Run(arguments) => Box::pin(run::run(arguments, console)).await,
        Command::Check(arguments) => check::check(arguments, console).await,
        Command::Discover(arguments) => discover::discover(arguments, console).await,
        Command::Status(arguments) => status::status(arguments, console).await,
        Command::Read(arguments) => read::read(arguments).await,
        Command::Fsck(arguments) => fsck::fsck(arguments, console).await,
        Command::Restart(arguments) => restart::restart(arguments, console).await,
        Command::Cleanup(arguments) => cleanup::cleanup(arguments, console).await,
        Command::Health(arguments) => health::health(arguments, console).await,
        Command::Schema => schema::schema(),
        Command::Agent => agent::agent().await,
        Command::Agents(arguments) => agents::agents(arguments, console).await,
        Command::Pipelines(arguments) => pipelines::pipelines(arguments, console).await,
        Command::Hub(arguments) => Box::pin(hub::hub(arguments, console)).await,
    }
}
