//! An hour of a CDN in some seconds, by the code that decides in the server: `cargo bench -p verge-dns --bench steering [-- --svg FOLDER]`.
//!
//! 1,000 edges in five places are members of four pools; nine name servers check each edge every two seconds, tell each other what
//! they see, and answer 40,000 caches of resolvers with populations after Zipf, which keep answers for 30 seconds. A day of demand,
//! shifted from place to place, passes in an hour. One place is lost for ten minutes; later one name server loses its way to
//! another place. Each run is made with and without load feedback, and with smaller resolvers.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::net::Ipv4Addr;
use std::path::Path;

use verge_dns::steer::Asker;
use verge_dns::steer::bearing::Bearing;
use verge_dns::steer::choose::Plan;
use verge_dns::steer::decide::{Known, decide};
use verge_dns::steer::health::{Health, Seen, State};
use verge_dns::steer::quorum::{self, Observation};
use verge_dns::steer::rules::{Pace, Rules, Shed};

const SECONDS: usize = 3600;
const EDGES: usize = 1000;
const PLACES: usize = 5;
const POOLS: usize = 4;
const MEMBERS: usize = EDGES / POOLS;
const SERVERS: usize = 9;
const CACHES: usize = 40_000;
const TTL: usize = 30;
/// Addresses in an answer; a cache's users spread over them.
const COUNT: usize = 2;
/// Of what an edge can bear, for one pool: a larger resolver has several caches.
const LARGEST: f64 = 0.1;
/// The same where the largest resolvers are smaller beside an edge.
const SMALLER: [f64; 2] = [0.05, 0.02];
/// The load of a place's edges at its peak, if all were equal.
const PEAK: f64 = 0.8;
/// Where the edges of a place bear less on average, nobody has to be cooled.
const BUSY: f64 = 0.7;
/// At night as a part of the peak.
const NIGHT: f64 = 0.35;
/// The place that is lost, and when.
const LOST: (usize, std::ops::Range<usize>) = (1, 1500..2100);
/// A name server that does not reach a place, and when.
const BLIND: (usize, usize, std::ops::Range<usize>) = (8, 3, 2600..2800);
/// The last seconds before the loss, in which nothing but demand changes.
const CALM: std::ops::Range<usize> = 300..1500;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let folder = args.iter().position(|arg| arg == "--svg").and_then(|at| args.get(at + 1));
    let fed = Rules { count: Some(COUNT), ..Rules::default() };
    // Above what any edge tells.
    let unfed = Rules { shed: Shed { from: u16::MAX - 1, to: u16::MAX }, ..fed.clone() };
    let [smaller, smallest] = SMALLER;
    let runs = [(&fed, LARGEST), (&unfed, LARGEST), (&fed, smaller), (&fed, smallest)];
    let [fed, unfed, smaller, smallest] = std::thread::scope(|scope| {
        let runs = runs.map(|(rules, largest)| scope.spawn(move || World::new(rules.clone(), largest).run()));
        runs.map(|run| run.join().expect("a run ends"))
    });
    for (name, run) in [
        ("with load feedback", &fed),
        ("without", &unfed),
        ("with load feedback, no resolver above 5 % of an edge", &smaller),
        ("with load feedback, no resolver above 2 % of an edge", &smallest),
    ] {
        println!("{name}: {}", run.summary());
    }
    if let Some(folder) = folder {
        draw(Path::new(folder), &fed, &unfed);
    }
}

struct World {
    rules: Rules,
    edges: Vec<Edge>,
    servers: Vec<Server>,
    caches: Vec<Cache>,
    seen: Run,
}

struct Edge {
    place: usize,
    /// Demand at its peak of the users that go there, by their place, as a part of what it can bear.
    demand: [f64; PLACES],
    load: f64,
    is_lost: bool,
}

struct Server {
    health: Vec<Health>,
    bearing: Vec<Bearing>,
    /// The state that holds, by its own view and those of the others.
    held: Vec<State>,
    /// By pool and place.
    plans: Vec<Vec<Plan>>,
    flips: u64,
}

struct Cache {
    place: usize,
    asker: Asker,
    /// Of an edge's capacity, for one pool.
    demand: f64,
    /// The members that it keeps, for each pool.
    kept: [[usize; COUNT]; POOLS],
}

/// The figures of each second.
#[derive(Default)]
struct Run {
    failed: Vec<f64>,
    hottest: Vec<f64>,
    /// The mean load of the busiest place.
    busiest: Vec<f64>,
    /// The load of one edge.
    one: Vec<f64>,
    flips: Vec<u64>,
}

/// A number that looks like chance (splitmix64).
fn chance(seed: u64) -> u64 {
    let mut seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x5851_f42d_4c95_7f2d);
    seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

/// Demand of a place as a part of its peak: a cosine over the day, later in each place.
fn demand(place: usize, second: usize) -> f64 {
    let day = second as f64 / SECONDS as f64 - place as f64 / PLACES as f64;
    let wave = 0.5 + 0.5 * (day * std::f64::consts::TAU).cos();
    NIGHT + (1.0 - NIGHT) * wave
}

impl World {
    fn new(rules: Rules, largest: f64) -> Self {
        let edge =
            |at: usize| Edge { place: at / POOLS % PLACES, demand: [0.0; PLACES], load: 0.0, is_lost: false };
        let servers = (0..SERVERS).map(|_| Server {
            health: vec![Health::default(); EDGES],
            bearing: vec![Bearing::default(); EDGES],
            held: vec![State::Unknown; EDGES],
            plans: Vec::new(),
            flips: 0,
        });
        let mut world = Self {
            rules,
            edges: (0..EDGES).map(edge).collect(),
            servers: servers.collect(),
            caches: caches(largest),
            seen: Run::default(),
        };
        for server in 0..SERVERS {
            world.servers[server].plans = (0..POOLS).map(|pool| world.plans(server, pool)).collect();
        }
        for cache in 0..CACHES {
            (0..POOLS).for_each(|pool| world.ask(cache, pool, 0, true));
        }
        world
    }

    fn run(mut self) -> Run {
        for second in 0..SECONDS {
            self.edges.iter_mut().for_each(|edge| {
                edge.is_lost = edge.place == LOST.0 && LOST.1.contains(&second);
                let of_places = edge.demand.iter().enumerate();
                edge.load = of_places.map(|(place, peak)| peak * demand(place, second)).sum();
            });
            self.check(second);
            self.agree();
            for server in 0..SERVERS {
                for pool in (0..POOLS).filter(|pool| (server + pool + second).is_multiple_of(2)) {
                    self.servers[server].plans[pool] = self.plans(server, pool);
                }
            }
            for cache in (0..CACHES).filter(|cache| chance(*cache as u64) as usize % TTL == second % TTL) {
                (0..POOLS).for_each(|pool| self.ask(cache, pool, second, false));
            }
            self.note();
        }
        self.seen
    }

    /// Each server checks half of the edges.
    fn check(&mut self, second: usize) {
        let pace = Pace::default();
        let now = second as u64 * 1000 + 1;
        for (at, server) in self.servers.iter_mut().enumerate() {
            for it in (0..EDGES).filter(|it| (at + it + second).is_multiple_of(2)) {
                let edge = &self.edges[it];
                let is_blind = at == BLIND.0 && edge.place == BLIND.1 && BLIND.2.contains(&second);
                let good = !edge.is_lost && !is_blind;
                let load = good.then_some((edge.load.min(60.0) * 1000.0) as u16);
                server.health[it].see(
                    Seen { good, why: String::new(), load: load.into(), rtt: None },
                    &pace,
                    now,
                );
                if let Some(load) = server.health[it].load.filter(|_| good) {
                    server.bearing[it].tell(load, self.rules.shed, TTL as u32, now);
                }
            }
        }
    }

    /// The others know of each server the state that it told a second ago.
    fn agree(&mut self) {
        let told: Vec<Vec<State>> = self
            .servers
            .iter()
            .map(|server| server.health.iter().map(|health| health.state).collect())
            .collect();
        for (at, server) in self.servers.iter_mut().enumerate() {
            for (edge, held) in server.held.iter_mut().enumerate() {
                let seen = (0..SERVERS).map(|other| {
                    let age = if other == at { 0 } else { 1000 };
                    Observation { state: told[other][edge], age }
                });
                let state = quorum::decide(seen, *held).state;
                if state != *held {
                    server.flips += u64::from(*held != State::Unknown);
                    *held = state;
                }
            }
        }
    }

    /// A pool's plans for each place, as a server knows the edges.
    fn plans(&self, server: usize, pool: usize) -> Vec<Plan> {
        let server = &self.servers[server];
        let known = |member: usize| {
            let edge = member * POOLS + pool;
            Known {
                address: Ipv4Addr::from_bits(edge as u32).into(),
                weight: 1,
                priority: 0,
                place: Some(self.edges[edge].place as u16),
                state: server.held[edge],
                since: 0,
                load: server.bearing[edge].load(self.rules.shed),
                drained: false,
                rtt: None,
                awaited: false,
            }
        };
        let known: Vec<Known> = (0..MEMBERS).map(known).collect();
        // The next places around the world, each way in turn.
        let near = |place: usize| [0, 1, 4, 2, 3].map(|step| ((place + step) % PLACES) as u16);
        (0..PLACES).map(|place| decide(&self.rules, &known, TTL as u32, &near(place)).plan).collect()
    }

    /// A cache asks again: its users move.
    fn ask(&mut self, cache: usize, pool: usize, second: usize, is_first: bool) {
        let server = chance((cache * POOLS + pool) as u64 ^ (second as u64) << 32) as usize % SERVERS;
        let Cache { place, asker, demand, kept } = &mut self.caches[cache];
        let (mut given, mut count) = ([0; COUNT], 0);
        self.servers[server].plans[pool][*place].choose(*asker, pool as u64, |member| {
            given[count] = member * POOLS + pool;
            count += 1;
        });
        // Where fewer are fit, one has all.
        (count..COUNT).for_each(|at| given[at] = given[0]);
        let part = *demand / COUNT as f64;
        if !is_first {
            kept[pool].iter().for_each(|edge| self.edges[*edge].demand[*place] -= part);
        }
        given.iter().for_each(|edge| self.edges[*edge].demand[*place] += part);
        kept[pool] = given;
    }

    fn note(&mut self) {
        let all: f64 = self.edges.iter().map(|edge| edge.load).sum();
        let lost: f64 = self.edges.iter().filter(|edge| edge.is_lost).map(|edge| edge.load).sum();
        let hottest = (0..PLACES).map(|place| {
            let there = || {
                self.edges.iter().filter(|edge| edge.place == place && !edge.is_lost).map(|edge| edge.load)
            };
            let mean = there().sum::<f64>() / there().count().max(1) as f64;
            // Below the first water mark nothing is shed.
            if mean < BUSY { 1.0 } else { there().fold(0.0, f64::max) / mean }
        });
        self.seen.hottest.push(hottest.fold(0.0, f64::max));
        let mean = |place: usize| {
            let there = || self.edges.iter().filter(|edge| edge.place == place && !edge.is_lost);
            there().map(|edge| edge.load).sum::<f64>() / there().count().max(1) as f64
        };
        self.seen.busiest.push((0..PLACES).map(mean).fold(0.0, f64::max));
        self.seen.failed.push(lost / all);
        self.seen.one.push(self.edges[8].load);
        self.seen.flips.push(self.servers.iter().map(|server| server.flips).sum());
    }
}

/// Resolvers with populations after Zipf. A large one has many caches in networks of their own, so that none has more users than this
/// part of what an edge can bear.
fn caches(largest: f64) -> Vec<Cache> {
    let parts: Vec<f64> = (0..CACHES).map(|rank| 1.0 / (rank as f64 + 1.0)).collect();
    let places: Vec<usize> = (0..CACHES).map(|at| chance(at as u64 ^ 77) as usize % PLACES).collect();
    // The peak of each place is spread over its caches; what is above the bound goes to all.
    let capacity = PEAK * (EDGES / PLACES / POOLS) as f64;
    let mut caches = Vec::new();
    for (at, place) in places.iter().enumerate() {
        let address = Ipv4Addr::from_bits((chance(at as u64) as u32 >> 8) << 8);
        let cache = Cache {
            place: *place,
            asker: Asker::at(address.into()),
            demand: parts[at],
            kept: [[0; COUNT]; POOLS],
        };
        caches.push(cache);
    }
    for place in 0..PLACES {
        for _ in 0..50 {
            let sum: f64 = caches.iter().filter(|cache| cache.place == place).map(|cache| cache.demand).sum();
            let scale = capacity / sum;
            let of_place = caches.iter_mut().filter(|cache| cache.place == place);
            of_place.for_each(|cache| cache.demand = (cache.demand * scale).min(largest));
        }
    }
    caches
}

impl Run {
    fn summary(&self) -> String {
        let most = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let recovered =
            self.failed[LOST.1.clone()].iter().rposition(|failed| *failed > 0.001).map_or(0, |at| at + 1);
        let lost_in_all: f64 = self.failed.iter().sum();
        let calm = &self.hottest[CALM];
        // The way that one edge's load went, over the way it had to go.
        let one = &self.one[CALM];
        let way: f64 = one.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum();
        let turns = smooth(one).windows(3).filter(|it| (it[1] - it[0]) * (it[2] - it[1]) < 0.0).count();
        let blind = self.flips[BLIND.2.end + 60] - self.flips[BLIND.2.start];
        format!(
            "hottest edge over the mean of its place {:.2} (mean {:.2}) in calm, {:.2} in the loss, {:.2} at its end and after; \
             the busiest place bears {:.2} in the loss after two minutes; \
             failed requests below 0.1 % after {recovered} s (in all {lost_in_all:.1} s of all requests); one edge's load moved by {way:.2} \
             and turned {turns} times in {} s; flips while a name server is blind: {blind}",
            most(calm),
            mean(calm),
            most(&self.hottest[LOST.1.start + 60..LOST.1.end]),
            most(&self.hottest[LOST.1.end + 120..]),
            most(&self.busiest[LOST.1.start + 120..LOST.1.end]),
            one.len(),
        )
    }
}

/// Means of a minute.
fn smooth(of: &[f64]) -> Vec<f64> {
    of.chunks(60).map(|chunk| chunk.iter().sum::<f64>() / chunk.len() as f64).collect()
}

fn draw(folder: &Path, fed: &Run, unfed: &Run) {
    let percent = |of: &[f64]| of.iter().map(|part| part * 100.0).collect::<Vec<_>>();
    let plots = [
        (
            "steering-spread.svg",
            "Hottest edge over the mean of its place",
            2.0,
            fed.hottest.clone(),
            unfed.hottest.clone(),
        ),
        (
            "steering-failed.svg",
            "Requests that fail, percent",
            25.0,
            percent(&fed.failed),
            percent(&unfed.failed),
        ),
        ("steering-load.svg", "Load of one edge, percent", 120.0, percent(&fed.one), percent(&unfed.one)),
    ];
    for (name, title, top, fed, unfed) in plots {
        std::fs::write(folder.join(name), svg(title, top, &fed, &unfed)).expect("the folder can be written");
    }
}

fn svg(title: &str, top: f64, fed: &[f64], unfed: &[f64]) -> String {
    let (width, height) = (900.0, 260.0);
    let x = |second: usize| 60.0 + second as f64 / SECONDS as f64 * width;
    let y = |value: f64| 40.0 + height - value.min(top) / top * height;
    let line = |of: &[f64]| {
        let points = of.iter().enumerate().step_by(4);
        points
            .map(|(second, value)| format!("{:.0},{:.1}", x(second), y(*value)))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 990 350\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"990\" height=\"350\" fill=\"#fff\"/><text x=\"60\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let mut add = |text: String| out.push_str(&(text + "\n"));
    for (from, to, colour) in [(LOST.1.start, LOST.1.end, "#f6d5d5"), (BLIND.2.start, BLIND.2.end, "#dde6f6")]
    {
        let (from, wide) = (x(from), x(to) - x(from));
        add(format!(
            "<rect x=\"{from:.0}\" y=\"40\" width=\"{wide:.0}\" height=\"{height}\" fill=\"{colour}\"/>"
        ));
    }
    for step in 0..=5 {
        let value = top * f64::from(step) / 5.0;
        let at = y(value);
        add(format!(
            "<path d=\"M60 {at:.1}h{width}\" stroke=\"#ddd\"/><text x=\"52\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            at + 4.0
        ));
    }
    for minute in (0..=60).step_by(10) {
        add(format!(
            "<text x=\"{:.0}\" y=\"318\" text-anchor=\"middle\">{minute} min</text>",
            x(minute * 60)
        ));
    }
    for (of, colour) in [(unfed, "#c60"), (fed, "#05a")] {
        add(format!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" points=\"{}\"/>",
            line(of)
        ));
    }
    add("<text x=\"60\" y=\"340\"><tspan fill=\"#05a\">with load feedback</tspan>  <tspan fill=\"#c60\">without</tspan>  \
         red: a place is lost; blue: a name server is blind</text>".to_owned());
    out.push_str("</svg>\n");
    out
}
