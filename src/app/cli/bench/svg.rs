//! The distribution of the latencies as a plot, a panel for each load. Pure.
//!
//! To the right are percentiles, every further nine as wide as the one before; upwards latencies,
//! every decade as high as the one below. Names of targets and loads need no escaping.

use std::fmt::Write;
use std::time::Duration;

use super::table::short;
use crate::load::bench::{Measured, Plan, Side};

const WIDTH: f64 = 860.0;
const PANEL: f64 = 340.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 280.0;

/// Percentiles with a line; the last one is the end.
const MARKS: [(&str, f64); 6] =
    [("0", 0.0), ("50", 0.5), ("90", 0.9), ("99", 0.99), ("99.9", 0.999), ("99.99", 0.9999)];

/// Nines of the last mark.
const NINES: f64 = 4.0;

/// Points of a curve.
const POINTS: u32 = 160;

/// Told apart also by those who see few colours (Okabe and Ito), dark enough for white paper.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/// The whole file.
pub(super) fn draw(plan: &Plan, measured: &[Measured]) -> String {
    let height = PANEL * measured.len() as f64;
    let mut svg = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" \
         fill=\"#222222\">\n\
         <title>txguard bench: latency by percentile</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (number, load) in measured.iter().enumerate() {
        let down = PANEL * number as f64;
        let _ = writeln!(svg, "<g transform=\"translate(0 {down})\">");
        panel(plan, load, &mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(plan: &Plan, load: &Measured, svg: &mut String) {
    let scale = Scale::of(&load.sides);
    let middle = f64::midpoint(LEFT, RIGHT);
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}, {} connections, {}\
         </text>",
        load.kind,
        plan.connections,
        match plan.rate {
            Some(rate) => format!("{rate}/s"),
            None => "closed loop".to_owned(),
        }
    );
    for (name, part) in MARKS {
        let x = across(part);
        grid(svg, [x, TOP, x, BOTTOM]);
        let y = BOTTOM + 18.0;
        text(svg, [x, y], "middle", name);
    }
    for exponent in scale.low..=scale.high {
        let y = scale.up(10_f64.powi(exponent));
        grid(svg, [LEFT, y, RIGHT, y]);
        let name = short(Duration::from_secs_f64(10_f64.powi(exponent)));
        // 1 µs, 10 ms: no digits behind the point.
        let name = name.replacen(".00", "", 1).replacen(".0", "", 1);
        text(svg, [LEFT - 8.0, y + 4.0], "end", &name);
    }
    text(svg, [middle, BOTTOM + 38.0], "middle", "percentile of operations (%)");
    let y = f64::midpoint(TOP, BOTTOM);
    let _ = writeln!(
        svg,
        "<text x=\"18\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {y})\">\
         latency (logarithmic)</text>"
    );
    for (number, (target, side)) in plan.targets.iter().zip(&load.sides).enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let y = TOP + 12.0 + 20.0 * number as f64;
        grid_of(svg, [RIGHT + 16.0, y - 4.0, RIGHT + 40.0, y - 4.0], colour, 2.5);
        text(svg, [RIGHT + 48.0, y], "start", &target.name);
        curve(svg, &scale, side, colour);
    }
}

fn curve(svg: &mut String, scale: &Scale, side: &Side, colour: &str) {
    // Beyond the last operation there is nothing to see.
    let nines_most = (side.latencies() as f64).log10().min(NINES);
    let mut points = String::new();
    for number in 0..=POINTS {
        let nines = nines_most * f64::from(number) / f64::from(POINTS);
        let part = 1.0 - 10_f64.powf(-nines);
        // Without an operation there is no curve, only its name.
        let Some(latency) = side.quantile(part) else { return };
        let y = scale.up(latency.as_secs_f64());
        let _ = write!(points, "{:.1},{y:.1} ", across(part));
    }
    let _ = writeln!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" points=\"{}\"/>",
        points.trim_end()
    );
}

fn grid(svg: &mut String, ends: [f64; 4]) {
    grid_of(svg, ends, "#cccccc", 1.0);
}

fn grid_of(svg: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str, width: f64) {
    let _ = writeln!(
        svg,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
         stroke-width=\"{width}\"/>"
    );
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, what: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>");
}

/// Where a percentile is, 0 to 1.
fn across(part: f64) -> f64 {
    let nines = -(1.0 - part).max(1e-12).log10();
    LEFT + (RIGHT - LEFT) * (nines / NINES).min(1.0)
}

/// Decades of seconds, whole ones.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(sides: &[Side]) -> Self {
        let ends = sides.iter().flat_map(|side| [0.0, 0.9999].map(|part| side.quantile(part)));
        // Nothing is faster than a nanosecond.
        let logs = ends.flatten().map(|end| end.as_secs_f64().max(1e-9).log10());
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| {
            (low.min(log), high.max(log))
        });
        if low > high {
            return Self { low: -6, high: 0 };
        }
        let low = low.floor() as i32;
        Self { low, high: (high.ceil() as i32).max(low + 1) }
    }

    /// Where a latency in seconds is.
    fn up(&self, seconds: f64) -> f64 {
        let log = seconds.max(1e-9).log10().clamp(f64::from(self.low), f64::from(self.high));
        let height = (log - f64::from(self.low)) / f64::from(self.high - self.low);
        BOTTOM - (BOTTOM - TOP) * height
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nine_is_as_wide_and_every_decade_as_high() {
        let near = |a: f64, b: f64| (a - b).abs() < 0.01;
        let nine = (RIGHT - LEFT) / NINES;
        assert!(near(across(0.0), LEFT) && near(across(0.9), LEFT + nine));
        assert!(near(across(0.99), LEFT + 2.0 * nine) && near(across(1.0), RIGHT));
        let scale = Scale { low: -4, high: -2 };
        assert!(near(scale.up(1e-4), BOTTOM) && near(scale.up(1e-2), TOP));
        assert!(near(scale.up(1e-3), f64::midpoint(TOP, BOTTOM)));
        assert!(near(scale.up(0.0), BOTTOM) && near(scale.up(9.0), TOP));
    }
}
