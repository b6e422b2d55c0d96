//! From a loss of state to new epochs: own statements come back from peers, and two people confirm
//! how the node resumes.

mod confirm;
mod fork;
mod hand_back;
mod keep;

pub use confirm::{
    Approval, any_taken_back, asked, confirm_taken_back, record_restore, restore_due, start_epochs,
};
pub use fork::{followed, heal_fork};
pub use hand_back::{RecoveryCursor, statements_of};
pub use keep::{RecoverError, keep_recovered};
