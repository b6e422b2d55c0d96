//! `entente sample`: synthetic alerts.

use clap::Args;
use entente_node::sample::Samples;

use crate::output::{Answer, Outcome, say_json};

pub const EXAMPLES: &str = "Example:\n  \
                            entente sample --count 100 --seed 7 > sample.jsonl\n  \
                            entente alert import sample.jsonl --profile officer";

#[derive(Args)]
pub struct Sample {
    /// The number of alerts to write
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    count: usize,
    /// The seed; the same seed gives the same alerts
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

impl Sample {
    pub fn run(self) -> Outcome {
        for sample in Samples::new(self.seed).take(self.count) {
            say_json(&sample)?;
        }
        Ok(Answer::said())
    }
}
