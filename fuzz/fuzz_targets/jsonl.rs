//! See fuzz/targets/src.
#![no_main]

downbeat_fuzz_targets::counting_allocator!();
libfuzzer_sys::fuzz_target!(|input: &[u8]| downbeat_fuzz_targets::jsonl(input));
