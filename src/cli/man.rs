//! `regulus man`.

use std::path::Path;

use clap::CommandFactory;

use super::args::Cli;
use super::print;
use crate::atomic;
use crate::error::{Error, WriteError};

pub(super) fn man(dir: Option<&Path>) -> Result<(), Error> {
    let mut command = Cli::command();
    command.build();
    let Some(dir) = dir else {
        return print::out(page(command)?.trim_end());
    };
    std::fs::create_dir_all(dir).map_err(WriteError::at(dir))?;
    let mut commands = vec![command];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        atomic::write(&dir.join(format!("{name}.1")), page(command)?.as_bytes())?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<String, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(WriteError::at(Path::new("manual page")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}
