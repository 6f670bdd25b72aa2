//! Writes the definitions of the API group into the chart (`make crds`).

mod render;

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(render::FOLDER);
    std::fs::create_dir_all(&folder)?;
    for (name, text) in render::files()? {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
