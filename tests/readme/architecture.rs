//! The pages for contributors list exactly the layers, files and tests that exist.

use std::collections::BTreeSet;

use crate::names::assert_tests_exist;
use crate::pages::{first_cells, page, root, table};

#[test]
fn the_architecture_page_has_the_layers_of_the_crate() {
    let root = page("src/lib.rs").text;
    let rows = root.lines().filter_map(|line| line.strip_prefix("//! "));
    let layers = rows.filter(|row| row.starts_with("| ")).map(|row| row.replace("[`", "`").replace("`]", "`")).skip(2);
    assert_eq!(page("ARCHITECTURE.md").rows("| layer | module | owns |"), layers.collect::<Vec<_>>());
}

/// The modules in a folder, except those that only tests use. A module that is a folder ends with a slash.
fn modules(folder: &str) -> BTreeSet<String> {
    let declared = page(&format!("{folder}/mod.rs")).text.replace("#[cfg(test)]\nmod ", "");
    let names = declared.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    names
        .map(|name| if root().join(folder).join(name).is_dir() { format!("{name}/") } else { format!("{name}.rs") })
        .collect()
}

#[test]
fn the_architecture_page_lists_every_file_of_the_folders_that_it_shows() {
    let page = page("ARCHITECTURE.md");
    for folder in ["src/daemon", "src/queue", "src/cause", "src/submission", "src/tencent"] {
        let (_, listing) = page.text.split_once(&format!("\nIn `{folder}`:\n")).unwrap();
        let listed = first_cells(&table(listing, "| file | what it has |"));
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), modules(folder), "{folder}");
        assert_eq!(listed.len(), modules(folder).len(), "{folder}: each once");
    }
}

#[test]
fn every_invariant_names_tests_that_exist() {
    let rows = page("ARCHITECTURE.md").rows("| | invariant | tests that hold it |");
    assert_eq!(rows.len(), 15);
    for row in rows {
        let tests = row.rsplit('|').nth(1).unwrap();
        assert_tests_exist(&tests.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    }
}

#[test]
fn the_tests_page_lists_every_file_with_fault_tests_and_every_long_form() {
    let rows = page("tests/README.md").rows("| file | faults | otherwise promised | long form |");
    let listed = first_cells(&rows);
    for name in &listed {
        let of_behavior = name.strip_suffix("`ᵇ");
        let folder = if of_behavior.is_some() { "tests/behavior" } else { "tests/faults" };
        let file = format!("{folder}/{}.rs", of_behavior.unwrap_or(name).replace("::", "/"));
        assert!(root().join(&file).exists() || root().join(file.replace(".rs", "/mod.rs")).exists(), "{file}");
    }
    let faults = page("tests/faults/main.rs").text;
    let modules = faults.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    for module in modules.filter(|module| *module != "support") {
        assert!(listed.iter().any(|name| name.split("::").next() == Some(module)), "{module} is not listed");
    }
    let forms = rows.iter().flat_map(|row| row.rsplit('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2));
    for form in forms {
        assert!(root().join("tests/soak").join(form).exists(), "there is no tests/soak/{form}");
    }
}
