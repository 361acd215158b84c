//! `regulus completions`.

use clap::CommandFactory;

use super::args::Cli;
use super::print;
use crate::error::Error;

pub(super) fn completions(shell: clap_complete::Shell) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "regulus", &mut script);
    print::out(String::from_utf8_lossy(&script).trim_end())
}
