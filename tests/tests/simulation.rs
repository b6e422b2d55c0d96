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
    agree(1..9).await;
}

/// Seeds that once found a fault: a view replaced by a retraction in its place while a later one stood, twice restored
/// backups, clocks that went back between two versions.
#[tokio::test(flavor = "multi_thread")]
async fn seeds_that_found_faults_end_in_agreement() {
    agree(132..133).await;
    agree(218..219).await;
}
