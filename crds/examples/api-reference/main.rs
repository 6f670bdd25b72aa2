//! Writes the reference of the API group into the documentation (`make crds`).

mod reference;

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(reference::PATH);
    std::fs::write(path, reference::text()?)?;
    Ok(())
}
