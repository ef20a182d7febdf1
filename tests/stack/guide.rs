//! Things to try, and what each line shows. The system tests read these lines and hold them to their word.

use std::fmt;

use crate::demo::Demo;

/// The whole text that is shown once the stack runs.
#[derive(Clone, Debug)]
pub struct Guide {
    listening: Vec<String>,
    page: String,
    second_page: String,
    names: Vec<Step>,
    pages: Vec<Step>,
    stop: Step,
}

/// One command line and what comes of it.
#[derive(Clone, Debug)]
pub struct Step {
    command: String,
    shows: &'static str,
}

/// Stands between a command and what it shows.
pub const SHOWS: &str = "  # ";

impl Guide {
    /// For a stack that runs.
    pub fn of(demo: &Demo) -> Self {
        let edges = demo.edges();
        let origin = format!("http://{}", demo.origin.address());
        Self {
            listening: demo
                .listening()
                .iter()
                .map(|l| format!("listening {} {}", l.what, l.address))
                .collect(),
            page: format!("http://{}/", edges[0]),
            second_page: format!("http://{}/", edges[1]),
            names: names(demo),
            pages: pages(&format!("http://{}", edges[0]), &origin),
            stop: Step {
                command: format!("kill -USR1 {}", std::process::id()),
                shows: "stops the second edge: within seconds www.example.com is 127.0.0.1 alone",
            },
        }
    }
}

fn names(demo: &Demo) -> Vec<Step> {
    let outside = format!("dig @{} -p {}", demo.outside().ip(), demo.outside().port());
    let inside = format!("dig @{} -p {}", demo.inside().ip(), demo.inside().port());
    let step = |server: &str, question: &str, shows| Step { command: format!("{server} {question}"), shows };
    vec![
        step(&outside, "cdn.example.com", "127.0.0.1: this internal address is published on purpose"),
        step(
            &outside,
            "www.example.com",
            "127.0.0.2 127.0.0.1: a pool of both edges, as long as both are well",
        ),
        step(&outside, "db.example.com", "NXDOMAIN with the SOA: outside there is no database"),
        step(&inside, "db.example.com", "10.0.0.5: inside there is"),
        step(&outside, "git.example.com", "203.0.113.20: a split name, as outsiders see it"),
        step(&inside, "git.example.com", "10.0.2.20: and as insiders do"),
        step(&outside, "example.com MX", "10 mail.example.com.: the internal backup is not named"),
        step(&outside, "admin.apps.example.com", "203.0.113.80: the wildcard answers for a hidden name"),
        step(&outside, "wiki.corp.internal", "REFUSED: outside there is no such zone"),
        step(&inside, "-x 10.0.0.5", "db.example.com.: the way back, inside only"),
    ]
}

fn pages(edge: &str, origin: &str) -> Vec<Step> {
    let step = |command: String, shows| Step { command, shows };
    vec![
        step(format!("curl -i {edge}/style.css"), "miss: Cache-Status says that it was fetched and stored"),
        step(format!("curl -i {edge}/style.css"), "hit: with an Age, and the origin was not asked"),
        step(format!("curl -i {origin}/origin.json"), "no cache: how often the origin was asked for what"),
        step(
            format!("seq 20 | xargs -P20 -I{{}} curl -s {edge}/slow"),
            "twenty clients at once, one request at the origin",
        ),
    ]
}

impl fmt::Display for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.listening {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nThe page, through verge-edge:  {}", self.page)?;
        writeln!(f, "Through the second edge:       {}", self.second_page)?;
        writeln!(f, "\nNames, from another terminal:")?;
        show(f, &self.names)?;
        writeln!(f, "\nPages:")?;
        show(f, &self.pages)?;
        writeln!(f, "\nSteering:")?;
        show(f, std::slice::from_ref(&self.stop))?;
        writeln!(
            f,
            "\nEdit zones/example.com.zone and ask again: a good edit is served at once, a broken one is"
        )?;
        writeln!(f, "pointed at here and changes nothing. Ctrl-C drains and ends.")
    }
}

fn show(f: &mut fmt::Formatter<'_>, steps: &[Step]) -> fmt::Result {
    let width = steps.iter().map(|step| step.command.len()).max().unwrap_or(0);
    for Step { command, shows } in steps {
        writeln!(f, "  {command:width$}{SHOWS}{shows}")?;
    }
    Ok(())
}
