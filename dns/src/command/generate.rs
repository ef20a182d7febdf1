//! `verge-dns generate`: writes the manual pages and the completions of shells, for packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder to write into
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    write(&args.folder).map_err(|error| Failure::Unwritable(args.folder.clone(), error))
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut all = Cli::command();
    for (shell, file) in
        [(Shell::Bash, "verge-dns.bash"), (Shell::Zsh, "_verge-dns"), (Shell::Fish, "verge-dns.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut all, "verge-dns", &mut text);
        fs::write(folder.join(file), text)?;
    }
    all.build();
    page(&all, folder, "verge-dns")?;
    let shown =
        all.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    shown
        .into_iter()
        .try_for_each(|command| page(command, folder, &format!("verge-dns-{}", command.get_name())))
}

fn page(command: &Command, folder: &Path, name: &str) -> io::Result<()> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).render(&mut text)?;
    fs::write(folder.join(format!("{name}.1")), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_that_is_shown_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let read = |file: &str| {
            fs::read_to_string(folder.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
        };
        assert!(read("verge-dns.1").contains("verge\\-dns\\-serve(1)"), "{}", read("verge-dns.1"));
        assert!(read("verge-dns-serve.1").contains(".SH OPTIONS"), "{}", read("verge-dns-serve.1"));
        assert!(!folder.path().join("verge-dns-generate.1").exists(), "it is for packagers");
        assert!(
            read("verge-dns.bash").contains("--config")
                && read("_verge-dns").starts_with("#compdef verge-dns")
        );
    }
}
