//! Draws what was simulated: commands per second over time, acquires and renewals.

use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (860, 320);
const NAMES: [&str; 2] = ["acquires per second", "renewals per second"];
const COLOURS: [RGBColor; 2] = [RGBColor(200, 60, 40), RGBColor(40, 90, 180)];

/// Writes one picture; each series has a figure per second.
pub(crate) fn draw(file: &Path, title: &str, series: &[Vec<f64>; 2]) -> Result<(), Box<dyn Error>> {
    let most = series.iter().flatten().copied().fold(1.0, f64::max);
    let seconds = series[0].len() as f64;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(74)
        .build_cartesian_2d(0.0..seconds, 0.0..most * 1.05)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_label_formatter(&|value| format!("{:.0} k", value / 1e3))
        .draw()?;
    for ((values, colour), name) in series.iter().zip(COLOURS).zip(NAMES) {
        let points = values.iter().enumerate().map(|(at, value)| (at as f64 + 0.5, *value));
        chart
            .draw_series(LineSeries::new(points, &colour))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
