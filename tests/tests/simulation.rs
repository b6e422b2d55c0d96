//! Kept lists of operations, each for a fault that it would find, and a few seeds; `cargo simulate`
//! runs as many as one likes.

use std::fs;
use std::path::Path;

use entente_tests::simulation::{generate, parse, print, run};

/// Operations of a seed.
const OPERATIONS: usize = 60;

async fn agree(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let operations = generate(seed, OPERATIONS);
        if let Err(error) = run(&operations).await {
            panic!("seed {seed}: {error:#}\n{}", print(&operations));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_and_faults_end_in_agreement() {
    agree(1..4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_operations_end_in_agreement() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/simulation");
    let mut kept: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    kept.sort();
    assert!(kept.len() >= 5, "{kept:?}");
    for path in kept {
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("# "), "{} does not say what it is for", path.display());
        let operations = parse(&text).expect("operations");
        if let Err(error) = run(&operations).await {
            panic!("{}: {error:#}", path.display());
        }
    }
}
