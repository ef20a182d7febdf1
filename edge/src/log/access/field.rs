//! Which fields a line of the access log has, and in which shape.

/// A field of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// When the request's head was there, in UTC.
    Time,
    /// The client's address.
    Client,
    /// The name that a password let in.
    User,
    /// The method.
    Method,
    /// The URL that was asked for, without a signature.
    Url,
    /// HTTP's version on the client's side.
    Version,
    /// The request's host.
    Host,
    /// The answer's status.
    Status,
    /// How the cache answered: hit, miss, pass and so on.
    Cache,
    /// Why, in a word.
    Why,
    /// The age of what was stored.
    AgeSecs,
    /// How long it is fresh in all.
    LifetimeSecs,
    /// Bytes of the body that went to the client.
    Bytes,
    /// From the request's head to the answer's.
    WaitedUs,
    /// From the request's head to the answer's end.
    TotalUs,
    /// The site's name.
    Site,
    /// The site's route, by its first path.
    Route,
    /// The page that the client came from.
    Referer,
    /// The client's program.
    Agent,
    /// The events on the way of the answer, if there were any.
    Events,
}

const ALL: [Field; 20] = [
    Field::Time,
    Field::Client,
    Field::User,
    Field::Method,
    Field::Url,
    Field::Version,
    Field::Host,
    Field::Status,
    Field::Cache,
    Field::Why,
    Field::AgeSecs,
    Field::LifetimeSecs,
    Field::Bytes,
    Field::WaitedUs,
    Field::TotalUs,
    Field::Site,
    Field::Route,
    Field::Referer,
    Field::Agent,
    Field::Events,
];

impl Field {
    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        ALL.map(Self::as_str).join(", ")
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Client => "client",
            Self::User => "user",
            Self::Method => "method",
            Self::Url => "url",
            Self::Version => "version",
            Self::Host => "host",
            Self::Status => "status",
            Self::Cache => "cache",
            Self::Why => "why",
            Self::AgeSecs => "age_secs",
            Self::LifetimeSecs => "lifetime_secs",
            Self::Bytes => "bytes",
            Self::WaitedUs => "waited_us",
            Self::TotalUs => "total_us",
            Self::Site => "site",
            Self::Route => "route",
            Self::Referer => "referer",
            Self::Agent => "agent",
            Self::Events => "events",
        }
    }
}

/// How lines look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// As Apache and nginx write it by default.
    Combined,
    /// These fields, each once at most.
    Of(Shape, Vec<Field>),
}

/// How fields stand in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One after another; `-` for what is not known.
    Plain,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The verdict, the status, the time and the bytes, in a line to read.
    #[must_use]
    pub fn plain() -> Self {
        use Field::{Bytes, Cache, Client, Method, Site, Status, Time, TotalUs, Url, Why};
        let fields = [Time, Client, Method, Url, Status, Cache, Why, Bytes, TotalUs, Site];
        Self::Of(Shape::Plain, fields.to_vec())
    }

    /// All fields.
    #[must_use]
    pub fn json() -> Self {
        Self::Of(Shape::Json, ALL.to_vec())
    }
}
