#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_tests::fuzz::wire(data));
