//! The guides in `docs/`: what they tell people to apply is taken by an API server, what they tell them to run is there.

use std::path::Path;

use crate::world::World;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

/// The blocks of a language in a text, without the indent of a list that they may be in.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let parts = text.split(&fence).skip(1);
    parts
        .map(|part| {
            let block = part.split("```").next().unwrap_or_default();
            let indent = block.len() - block.trim_start_matches(' ').len();
            let lines = block
                .lines()
                .map(|line| line.get(indent..).unwrap_or_default());
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect()
}

#[test]
fn manifests_and_commands_of_the_guides_work() {
    let Some(world) = World::up("guides") else {
        return;
    };
    let kubectl = world.installation.kubectl();
    let commands = ["status", "explain", "diff", "migrate"];
    let (mut manifests, mut named) = (0, 0);
    for file in std::fs::read_dir(Path::new(DOCS)).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // Others are values of the chart, or parts of something.
        let whole = |block: &String| block.starts_with("apiVersion:");
        for manifest in blocks(&text, "yaml").into_iter().filter(whole) {
            let taken =
                kubectl.run_with_input(&["apply", "--dry-run=server", "-f", "-"], &manifest);
            assert!(taken.is_ok(), "{}: {taken:?}\n{manifest}", path.display());
            manifests += 1;
        }
        for words in text.split("kubectl sluice ").skip(1) {
            let command = words.split(|c: char| !c.is_ascii_lowercase()).next();
            assert!(
                command.is_some_and(|one| commands.contains(&one)),
                "{}: {command:?}",
                path.display()
            );
            named += 1;
        }
    }
    assert!(manifests >= 3 && named >= 8, "{manifests} {named}");
}
