//! Line 8: the size of the binary.

use anyhow::Context as _;

use crate::Plan;
use crate::table::{Bar, Measure, Row};

const MOST: Measure = Measure::Bytes(20.0 * 1024.0 * 1024.0);

/// Measures.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let file = std::fs::metadata(&plan.binary);
    let file = file.with_context(|| plan.binary.display().to_string())?;
    let bytes = f64::from(u32::try_from(file.len())?);
    let row = Row::new("release binary, page included", Measure::Bytes(bytes));
    Ok(vec![row.must(Bar::FigureAtMost(MOST))])
}
