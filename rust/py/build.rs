//! Stamps the extension with the version of the Python package that it is built for.

use std::path::Path;

const FILE: &str = "../../python/streamnorm/_version.py";

fn main() {
    println!("cargo:rerun-if-changed={FILE}");
    let text = std::fs::read_to_string(Path::new(FILE)).expect("_version.py is beside the crate");
    let line = text.lines().find(|line| line.starts_with("__version__"));
    let version = line.and_then(|line| line.split('"').nth(1)).expect("it names the version");
    println!("cargo:rustc-env=STREAMNORM_VERSION={version}");
}
