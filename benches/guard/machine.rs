//! What decides which instructions are executed, besides the source: what the compiler may use, and what code that
//! looks at the processor finds there.
//!
//! Under valgrind the processor is valgrind's: AVX2 at most, whatever the real one has.

/// One line: `compiled for …; runs with …`.
pub(crate) fn look() -> String {
    let compiled = if COMPILED.is_empty() { "the plain target".to_owned() } else { COMPILED.join(" ") };
    format!("{} compiled for {compiled}, runs with {}", std::env::consts::ARCH, found())
}

/// What the compiler was allowed beyond the baseline of the target.
const COMPILED: &[&str] = &[
    #[cfg(target_feature = "sse4.2")]
    "sse4.2",
    #[cfg(target_feature = "avx2")]
    "avx2",
    #[cfg(target_feature = "bmi2")]
    "bmi2",
    #[cfg(target_feature = "avx512f")]
    "avx512f",
];

#[cfg(target_arch = "x86_64")]
fn found() -> String {
    let features = [
        ("sse4.1", std::is_x86_feature_detected!("sse4.1")),
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("bmi2", std::is_x86_feature_detected!("bmi2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512vl", std::is_x86_feature_detected!("avx512vl")),
    ];
    let found: Vec<&str> = features.into_iter().filter_map(|(name, found)| found.then_some(name)).collect();
    found.join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn found() -> String {
    "features that were not asked for".to_owned()
}
