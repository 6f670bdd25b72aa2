//! Small plots, as SVG.

use std::fmt::Write as _;

use super::traffic::rhythm::BUCKET;
use super::traffic::{first_packet, rhythm};
use super::{programming, report::at};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const MARGIN: f64 = 60.0;
/// Room for the names of the lines, right of the plot.
const LEGEND: f64 = 190.0;
const COLOURS: [&str; 10] = [
    "#0b62a4", "#7a92a3", "#c0392b", "#e59866", "#1e8449", "#6c3483", "#b7950b", "#17a589",
    "#34495e", "#e84393",
];

/// A line with a name.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// An axis: what is written at a position, which need not be the position itself.
type Label = fn(f64) -> String;

/// Time to program against number of services, Sluice and the bare program, both axes logarithmic.
pub fn programming(rows: &[programming::Measured]) -> String {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.iter().filter(|row| row.size.endpoints == 4) {
        let named = [
            ("sluice, first program", Some(row.first.sluice)),
            ("bare, first program", row.first.bare),
            ("sluice, endpoint replaced", Some(row.change.sluice)),
            ("bare, endpoint replaced", row.change.bare),
        ];
        for (name, time) in named {
            let Some(time) = time else { continue };
            let name = format!("{} {name}", row.plane);
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
    let title = "programming: milliseconds against services (both logarithmic)";
    draw(title, &lines, power_of_ten, power_of_ten)
}

/// Latency of first packets by percentile.
pub fn first_packet(rows: &[first_packet::Measured]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        for (name, times) in [("1 service", &row.alone), ("last of many", &row.among_many)] {
            let points = (1u16..100).map(|percent| {
                let time = at(times, percent.into());
                (f64::from(percent), time.as_secs_f64() * 1e6)
            });
            lines.push(Line {
                name: format!("{} {name}", row.plane),
                points: points.collect(),
            });
        }
    }
    let title = "first packet: microseconds by percentile";
    draw(title, &lines, whole, whole)
}

/// Connections over time: quiet, and while everything is written anew.
pub fn connections(rows: &[rhythm::Measured]) -> String {
    let mut lines = Vec::new();
    for row in rows {
        for (name, rhythm) in &row.rhythms {
            let points = rhythm.buckets.iter().enumerate().map(|(index, count)| {
                let seconds = index as f64 * BUCKET.as_secs_f64();
                (seconds, *count as f64 / BUCKET.as_secs_f64())
            });
            lines.push(Line {
                name: format!("{} {name}", row.plane),
                points: points.collect(),
            });
        }
    }
    let title = "connections a second, in buckets of 100 ms, against seconds";
    draw(title, &lines, |x| format!("{x:.1}"), whole)
}

fn power_of_ten(exponent: f64) -> String {
    let value = 10f64.powf(exponent);
    let decimals = usize::from(value < 10.0);
    format!("{value:.decimals$}")
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn draw(title: &str, lines: &[Line], label_x: Label, label_y: Label) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let low = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
    let high = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (x0, x1) = (low(|p| p.0), high(|p| p.0).max(low(|p| p.0) + 1e-9));
    let (y0, y1) = (low(|p| p.1).min(0.0), high(|p| p.1).max(1e-9));
    let x = |value: f64| MARGIN + (value - x0) / (x1 - x0) * (WIDTH - 2.0 * MARGIN);
    let y = |value: f64| HEIGHT - MARGIN - (value - y0) / (y1 - y0) * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{:.0}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{MARGIN}\" y=\"24\" font-size=\"15\">{title}</text>\n",
        WIDTH + LEGEND
    );
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let (at_x, at_y) = (x0 + part * (x1 - x0), y0 + part * (y1 - y0));
        let _ = writeln!(
            svg,
            "<line x1=\"{MARGIN}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"8\" y=\"{:.1}\">{}</text><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            WIDTH - MARGIN,
            y(at_y),
            y(at_y),
            y(at_y) + 4.0,
            label_y(at_y),
            x(at_x),
            HEIGHT - MARGIN + 20.0,
            label_x(at_x)
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
            WIDTH - MARGIN + 12.0,
            50.0 + 16.0 * index as f64,
            line.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}
