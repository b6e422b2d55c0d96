//! A person confirms the time that the clock shows, after it leapt and while no peer agrees with
//! it.

use super::AdminError;
use crate::id::{CLOCK_TOLERANCE_S, Timestamp};
use crate::node::{SharedNode, believe_clock, clock_doubt};
use crate::roles::Actor;

/// Believes the clock if it shows the time that a person read elsewhere; returns false when it was
/// not in doubt.
///
/// # Errors
/// When it shows another time, or the store failed.
pub async fn confirm_clock(
    node: &SharedNode,
    read: Timestamp,
    actor: &Actor,
) -> Result<bool, AdminError> {
    let shown = node.clock.shown();
    if read.since(shown).abs() > CLOCK_TOLERANCE_S {
        return Err(AdminError::ClockDiffers { shown, read });
    }
    let Some(doubt) = clock_doubt(node) else { return Ok(false) };
    believe_clock(node, &doubt, &actor.name, Some(read)).await?;
    Ok(true)
}
