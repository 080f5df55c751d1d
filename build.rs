//! Writes a placeholder page where none was built, so that the Rust side compiles without Node.

use std::fs;
use std::path::Path;

const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><title>ProxMenux Monitor</title>\
<p>The page was not built into this binary: run <code>make build</code>.</p></html>\n";

#[expect(clippy::disallowed_methods, reason = "a build product, not state")]
fn main() -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=web/dist");
    let dist = Path::new("web/dist");
    if !dist.join("index.html").exists() {
        fs::create_dir_all(dist)?;
        fs::write(dist.join("index.html"), PLACEHOLDER)?;
    }
    Ok(())
}
