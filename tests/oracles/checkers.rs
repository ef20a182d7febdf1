//! The foreign programs: what each says of a zone file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::zones::{self, APEX, Records};

/// One program.
pub(crate) struct Checker {
    program: Program,
    file: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Bind,
    Nsd,
    Knot,
}

/// A program's verdict on a zone file.
pub(crate) enum Said {
    /// Its message.
    Refused(String),
    /// It takes the file and does not show what it understood.
    Fine,
    /// The records that it understood, read back from what it prints.
    Printed(Records),
}

impl Checker {
    /// BIND's, NSD's, Knot's.
    pub(crate) fn all(scratch: &Path) -> Vec<Self> {
        let programs = [Program::Bind, Program::Nsd, Program::Knot];
        programs.map(|program| Self { program, file: scratch.join(format!("{APEX}zone")) }).into()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.program {
            Program::Bind => "bind",
            Program::Nsd => "nsd",
            Program::Knot => "knot",
        }
    }

    /// Writes the zone file and asks. A program that cannot be started ends the run: an oracle that is silent proves nothing.
    pub(crate) fn check(&self, text: &str) -> Said {
        std::fs::write(&self.file, text).expect("the scratch folder can be written to");
        let output = self
            .command()
            .output()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.name()));
        match (output.status.success(), self.program) {
            (false, _) => Said::Refused(said(&output)),
            (true, Program::Knot) => Said::Fine,
            (true, _) => match zones::understand(&String::from_utf8_lossy(&output.stdout)) {
                Ok(records) => Said::Printed(records),
                Err(why) => Said::Refused(format!("prints what we cannot read: {why}")),
            },
        }
    }

    /// Whether what it printed is this RDATA. NSD writes names in lower case.
    pub(crate) fn prints(&self, theirs: &[String], ours: &str) -> bool {
        let same = |one: &String| match self.program {
            Program::Nsd => zones::bytes(one).eq_ignore_ascii_case(&zones::bytes(ours)),
            Program::Bind | Program::Knot => one == ours,
        };
        matches!(theirs, [one] if same(one))
    }

    fn command(&self) -> Command {
        let program = match self.program {
            Program::Bind => "named-checkzone",
            Program::Nsd => "nsd-checkzone",
            Program::Knot => "kzonecheck",
        };
        let mut command = Command::new(program);
        match self.program {
            // Only what the text means is asked, not whether it is wise.
            Program::Bind => command.args(["-D", "-o", "-", "-i", "none"]).args(
                ["-k", "-n", "-m", "-M", "-S", "-W", "-r", "-T"]
                    .iter()
                    .flat_map(|option| [*option, "ignore"]),
            ),
            Program::Nsd => command.arg("-p"),
            Program::Knot => command.args(["-d", "off", "-o", APEX]),
        };
        if self.program != Program::Knot {
            command.arg(APEX);
        }
        command.arg(&self.file);
        command
    }
}

fn said(output: &Output) -> String {
    let all = [&output.stderr[..], &output.stdout[..]].concat();
    String::from_utf8_lossy(&all).lines().take(3).collect::<Vec<_>>().join("; ")
}
