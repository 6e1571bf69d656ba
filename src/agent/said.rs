//! What checks said last, as alerts about them tell it.

use std::sync::Arc;
use std::time::Instant;

use crate::alerting::ChecksSaid;
use crate::checks::Board;
use crate::sinks::CheckSaid;

/// From the board. Of a check that is late nothing is told: what it said last says nothing of now.
pub(super) fn said(board: Arc<Board>) -> ChecksSaid {
    ChecksSaid::new(move |check| {
        let standing = board.get(check).filter(|standing| !standing.is_late(Instant::now()))?;
        let verdict = &standing.last.as_ref()?.verdict;
        Some(CheckSaid { state: verdict.state.as_str().to_string(), summary: verdict.summary.clone() })
    })
}
