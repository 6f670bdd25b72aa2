//! Two small plots, as SVG.

use std::fmt::Write as _;
use std::time::Duration;

use super::{programming, traffic};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const MARGIN: f64 = 60.0;
const COLOURS: [&str; 4] = ["#0b62a4", "#7a92a3", "#c0392b", "#e59866"];

/// A line with a name.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Time to program against number of services, Sluice and the bare program, both axes logarithmic.
pub fn programming(rows: &[programming::Measured]) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.iter().filter(|row| row.size.endpoints == 4) {
        let named = [
            (format!("{} sluice", row.variant), Some(row.first.sluice)),
            (format!("{} bare", row.variant), row.first.bare),
        ];
        for (name, time) in named {
            let Some(time) = time else { continue };
            let point = (
                f64::from(row.size.services).log10(),
                (time.as_secs_f64() * 1e3).log10(),
            );
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name,
                    points: vec![point],
                }),
            }
        }
    }
    draw(
        "first program: milliseconds against services (both logarithmic)",
        &lines,
        |x| format!("{:.0}", 10f64.powf(x)),
    )
}

/// Latency of first packets by percentile.
pub fn first_packet(rows: &[traffic::Measured]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        for (name, times) in [("1 service", &row.alone), ("last of many", &row.among_many)] {
            let points = (1..100)
                .map(|percent| (f64::from(percent), at(times, percent).as_secs_f64() * 1e6));
            lines.push(Line {
                name: format!("{} {name}", row.variant),
                points: points.collect(),
            });
        }
    }
    draw("first packet: microseconds by percentile", &lines, |x| {
        format!("{x:.0}")
    })
}

fn at(times: &[Duration], percent: u32) -> Duration {
    times
        .get(times.len() * percent as usize / 100)
        .copied()
        .unwrap_or_default()
}

fn draw(title: &str, lines: &[Line], label: impl Fn(f64) -> String) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let low = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
    let high = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (x0, x1) = (low(|p| p.0), high(|p| p.0).max(low(|p| p.0) + 1e-9));
    let (y0, y1) = (low(|p| p.1).min(0.0), high(|p| p.1).max(1e-9));
    let x = |value: f64| MARGIN + (value - x0) / (x1 - x0) * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - (value - y0) / (y1 - y0) * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{title}</text>\n"
    );
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (at_x, at_y) = (x0 + part * (x1 - x0), y0 + part * (y1 - y0));
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"8\" y=\"{:.1}\">{at_y:.1}</text><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - MARGIN,
            y(at_y),
            y(at_y),
            y(at_y) + 4.0,
            x(at_x),
            HEIGHT - MARGIN + 20.0,
            label(at_x)
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<String> = line
            .points
            .iter()
            .map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1)))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{points}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            WIDTH - MARGIN - 130.0,
            50.0 + 16.0 * index as f64,
            line.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}
