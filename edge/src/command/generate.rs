//! `verge-edge generate`: writes the manual pages and the completions of shells, for packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::{Arguments, Failed};

#[derive(Debug, clap::Args)]
pub(super) struct Generate {
    /// The folder to write into
    folder: PathBuf,
}

impl Generate {
    pub(super) fn run(&self) -> Result<(), Failed> {
        write(&self.folder).map_err(|error| Failed::because(format!("{}: {error}", self.folder.display())))
    }
}

fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut all = Arguments::command();
    for (shell, file) in
        [(Shell::Bash, "verge-edge.bash"), (Shell::Zsh, "_verge-edge"), (Shell::Fish, "verge-edge.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut all, "verge-edge", &mut text);
        fs::write(folder.join(file), text)?;
    }
    all.build();
    page(&all, folder, "verge-edge")?;
    let shown =
        all.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    shown
        .into_iter()
        .try_for_each(|command| page(command, folder, &format!("verge-edge-{}", command.get_name())))
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
        assert!(read("verge-edge.1").contains("verge\\-edge\\-serve(1)"), "{}", read("verge-edge.1"));
        assert!(read("verge-edge-serve.1").contains(".SH OPTIONS"), "{}", read("verge-edge-serve.1"));
        assert!(!folder.path().join("verge-edge-generate.1").exists(), "it is for packagers");
        assert!(
            read("verge-edge.bash").contains("--config")
                && read("_verge-edge").starts_with("#compdef verge-edge")
        );
    }
}
