//! Notes of which commit this is a build, and by which compiler: what a report says about itself must not depend on
//! where the program stands when it runs.

use std::path::Path;

#[path = "src/checkout.rs"]
mod checkout;

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the manifest is");
    let root = Path::new(&here).parent().expect("the package lies in the workspace");
    for path in checkout::watched(root) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let compiler = std::env::var("RUSTC").ok().and_then(|rustc| checkout::output(&rustc, &["--version"]));
    println!("cargo::rustc-env=DOWNBEAT_BUILD_COMMIT={}", checkout::commit(root));
    println!(
        "cargo::rustc-env=DOWNBEAT_BUILD_COMPILER={}",
        compiler.as_deref().unwrap_or("unknown compiler")
    );
}
