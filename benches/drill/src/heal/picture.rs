//! Draws how much of the traffic each endpoint has, over time.

use super::{BEFORE, MEANWHILE, Row, STEP};
use plotters::prelude::*;
use std::error::Error;
use std::path::Path;

const SIZE: (u32, u32) = (860, 800);
const ILL: RGBColor = RGBColor(200, 60, 40);
const OTHERS: RGBColor = RGBColor(40, 90, 180);
const GREY: RGBColor = RGBColor(235, 235, 235);

/// Writes one picture with a panel for each row.
pub(super) fn draw(file: &Path, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    for (row, panel) in rows.iter().zip(area.split_evenly((rows.len(), 1))) {
        let steps = row.reached[0].len();
        let seconds = steps as f64 * STEP.as_secs_f64();
        let mut chart = ChartBuilder::on(&panel)
            .caption(format!("one of three endpoints {}", row.words), ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(26)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..seconds, 0.0..100.0)?;
        let (from, to) = (BEFORE.as_secs_f64(), (BEFORE + MEANWHILE).as_secs_f64());
        chart.draw_series([Rectangle::new([(from, 0.0), (to, 100.0)], GREY.filled())])?;
        chart
            .configure_mesh()
            .x_desc("seconds")
            .y_labels(5)
            .y_label_formatter(&|share| format!("{share:.0} %"))
            .draw()?;
        for (number, reached) in row.reached.iter().enumerate().rev() {
            let colour = if number == 0 { ILL } else { OTHERS };
            let share = |step: usize| {
                let all: u32 = row.reached.iter().map(|steps| steps[step]).sum();
                f64::from(reached[step]) * 100.0 / f64::from(all.max(1))
            };
            let at = |step: usize| (step as f64 + 0.5) * STEP.as_secs_f64();
            let points = (0..steps).map(|step| (at(step), share(step)));
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
    }
    area.present()?;
    Ok(())
}
