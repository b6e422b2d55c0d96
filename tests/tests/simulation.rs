//! A fixed set of seeds; `cargo simulate` runs as many as one likes.

use entente_tests::simulation::{Simulation, run};

async fn agree(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let simulation = Simulation { seed, operations: 60 };
        if let Err(error) = run(&simulation).await {
            panic!("seed {seed}: {error:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_and_faults_end_in_agreement() {
    agree(1..4).await;
}

/// Seeds with restores after all kinds of narrowing, and with disks that are filled until writes
/// fail.
#[tokio::test(flavor = "multi_thread")]
async fn restores_and_failed_writes_end_in_agreement() {
    agree(6..7).await;
    agree(100..101).await;
    agree(107..108).await;
}
