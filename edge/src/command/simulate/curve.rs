//! Draws miss-ratio curves as SVG: the share of misses over the memory, by requests and by bytes.

use std::fmt::Write;

use verge_edge::store::Eviction;

use super::trace::Trace;
use super::{Hits, belady, human, replay};

/// Sizes as parts of the footprint, and their marks on the axis.
const PARTS: [(f64, &str); 9] = [
    (0.001, "0.1 %"),
    (0.002, ""),
    (0.005, ""),
    (0.01, "1 %"),
    (0.02, ""),
    (0.05, ""),
    (0.1, "10 %"),
    (0.2, ""),
    (0.5, "50 %"),
];
/// The drawing of one of the two panels, within its margins.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 70.0;
const PANEL: f64 = WIDTH + 90.0;

/// One line: its name, colour and pattern, and the hits at each size.
struct Curve {
    name: &'static str,
    style: &'static str,
    hits: Vec<Hits>,
}

/// The drawing.
pub(super) fn draw(trace: &Trace) -> String {
    let sizes = PARTS.map(|(part, _)| ((trace.footprint() as f64 * part) as u64).max(1));
    let own = |name, style, eviction| Curve {
        name,
        style,
        hits: sizes.iter().map(|size| replay(trace, eviction, *size)).collect(),
    };
    let curves = [
        own("LRU", "stroke='#8a8a8a' stroke-width='2'", Eviction::Lru),
        own("LFU", "stroke='#c77700' stroke-width='2'", Eviction::Lfu),
        own("S3-FIFO", "stroke='#0b63c4' stroke-width='3'", Eviction::S3Fifo),
        Curve {
            name: "Belady",
            style: "stroke='#2f8f46' stroke-width='2' stroke-dasharray='6 4'",
            hits: sizes.iter().map(|size| belady(trace, *size)).collect(),
        },
    ];
    let all = Hits { requests: trace.requests.len() as u64, bytes: trace.bytes() };
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {} {}' font-family='sans-serif' font-size='13'>\
         <rect width='100%' height='100%' fill='white'/>",
        2.0 * PANEL + 10.0,
        TOP + HEIGHT + 60.0
    );
    legend(&mut svg, &curves);
    let by_requests = |hits: &Hits| 1.0 - hits.requests as f64 / all.requests.max(1) as f64;
    let by_bytes = |hits: &Hits| 1.0 - hits.bytes as f64 / all.bytes.max(1) as f64;
    panel(&mut svg, 0.0, "misses by requests", &curves, &by_requests);
    panel(&mut svg, PANEL, "misses by bytes", &curves, &by_bytes);
    let _ = write!(
        svg,
        "<text x='{LEFT}' y='{}' fill='#444'>memory, as a part of {} in {} objects; {} requests</text></svg>",
        TOP + HEIGHT + 46.0,
        human(trace.footprint()),
        trace.objects(),
        trace.requests.len()
    );
    svg
}

fn legend(svg: &mut String, curves: &[Curve]) {
    for (at, Curve { name, style, .. }) in (0..).zip(curves) {
        let x = LEFT + 110.0 * f64::from(at);
        let _ = write!(
            svg,
            "<line x1='{x}' y1='20' x2='{}' y2='20' {style}/><text x='{}' y='24'>{name}</text>",
            x + 28.0,
            x + 34.0
        );
    }
}

fn panel(svg: &mut String, from: f64, title: &str, curves: &[Curve], misses: &dyn Fn(&Hits) -> f64) {
    let (left, bottom) = (from + LEFT, TOP + HEIGHT);
    // Logarithmic: each tenfold is as wide.
    let (least, most) = (PARTS[0].0.ln(), PARTS[PARTS.len() - 1].0.ln());
    let x = |part: f64| left + (part.ln() - least) / (most - least) * WIDTH;
    let y = |share: f64| bottom - share * HEIGHT;
    let _ = write!(svg, "<text x='{left}' y='{}' font-weight='bold'>{title}</text>", TOP - 14.0);
    for tenths in (0..=10).step_by(2) {
        let at = y(f64::from(tenths) / 10.0);
        let _ = write!(
            svg,
            "<line x1='{left}' y1='{at}' x2='{}' y2='{at}' stroke='#e3e3e3'/>\
             <text x='{}' y='{}' text-anchor='end' fill='#444'>{} %</text>",
            left + WIDTH,
            left - 8.0,
            at + 4.0,
            tenths * 10
        );
    }
    for (part, mark) in PARTS.iter().filter(|(_, mark)| !mark.is_empty()) {
        let _ = write!(
            svg,
            "<text x='{}' y='{}' text-anchor='middle' fill='#444'>{mark}</text>",
            x(*part),
            bottom + 20.0
        );
    }
    for Curve { style, hits, .. } in curves {
        let points: Vec<String> = PARTS
            .iter()
            .zip(hits)
            .map(|((part, _), hits)| format!("{:.1},{:.1}", x(*part), y(misses(hits))))
            .collect();
        let _ = write!(svg, "<polyline points='{}' fill='none' {style}/>", points.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_a_curve_for_each_eviction_in_both_panels() {
        let text: String = (0..2_000).map(|n| format!("{n},{},10\n", n * n % 499)).collect();
        let trace = Trace::from_lines(text.as_bytes(), "test").unwrap();
        let svg = draw(&trace);
        assert_eq!(svg.matches("<polyline").count(), 8);
        assert!(!svg.contains("NaN") && svg.ends_with("</svg>"));
        for name in ["LRU", "LFU", "S3-FIFO", "Belady"] {
            assert!(svg.contains(&format!(">{name}<")), "{name}");
        }
    }

    #[test]
    fn an_empty_trace_is_drawn_without_a_fault() {
        assert!(!draw(&Trace::default()).contains("NaN"));
    }
}
