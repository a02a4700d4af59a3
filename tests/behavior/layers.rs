//! Imports run downwards only, by the table in `src/lib.rs`, and no imports are circular.

mod imports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use imports::{Crate, Imports};

/// The modules of each layer, the lowest first. A module imports from lower layers alone.
const LAYERS: &[&[&str]] = &[
    &["clock", "escaping", "named_enum"],
    &["cause", "logging", "metrics"],
    &["submission"],
    &["config"],
    &["queue", "tencent", "pacing"],
    &["report"],
    &["daemon"],
    &["cli"],
];

/// This module is beside the layers: it imports from below the daemon, and only `cli` imports it.
const BESIDE: &str = "simulator";

fn of_this_crate() -> Imports {
    Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).imports()
}

fn module(file: &str) -> &str {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn may_import(from: &str, to: &str) -> bool {
    match (layer(from), layer(to)) {
        _ if from == to || from == "lib" => true,
        (Some(from), Some(to)) => to < from,
        (None, Some(to)) => from == BESIDE && Some(to) < layer("daemon"),
        (Some(_), None) => to == BESIDE && from == "cli",
        (None, None) => false,
    }
}

/// The imports that run upwards or sideways, described.
fn upward(imports: &Imports) -> Vec<String> {
    let edges = imports.iter().flat_map(|(from, targets)| targets.iter().map(move |(to, paths)| (from, to, paths)));
    let upward = edges.filter(|(from, to, _)| !may_import(module(from), module(to)));
    upward.map(|(from, to, paths)| describe_import(from, to, paths)).collect()
}

fn describe_import(from: &str, to: &str, paths: &BTreeSet<String>) -> String {
    format!("{from} imports {to} ({})", paths.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// The import cycles, each as its files; of cycles that share an import, the shortest.
fn cycles(imports: &Imports) -> BTreeSet<Vec<&str>> {
    let edges = imports.iter().flat_map(|(from, targets)| targets.keys().map(move |to| (from.as_str(), to.as_str())));
    let cycles = edges.filter_map(|(from, to)| shortest_path(imports, to, from)).map(|mut files| {
        let first = (0..files.len()).min_by_key(|at| files[*at]).unwrap_or_default();
        files.rotate_left(first);
        files
    });
    cycles.collect()
}

/// The shortest path of imports from one file to another.
fn shortest_path<'a>(imports: &'a Imports, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut reached = BTreeMap::from([(from, from)]);
    let mut next = VecDeque::from([from]);
    while let Some(file) = next.pop_front().filter(|file| *file != to) {
        for target in imports.get(file).into_iter().flatten().map(|(target, _)| target.as_str()) {
            if !reached.contains_key(target) {
                reached.insert(target, file);
                next.push_back(target);
            }
        }
    }
    let (mut file, _) = reached.get_key_value(to)?;
    let mut path = vec![*file];
    while *file != from {
        file = &reached[file];
        path.push(*file);
    }
    path.reverse();
    Some(path)
}

/// A cycle, described: what each file imports from the next one.
fn describe_cycle(imports: &Imports, cycle: &[&str]) -> String {
    let pairs = cycle.iter().zip(cycle.iter().cycle().skip(1));
    pairs.map(|(from, to)| describe_import(from, to, &imports[*from][*to])).collect::<Vec<_>>().join("; ")
}

#[test]
fn imports_run_downwards_only() {
    assert_eq!(upward(&of_this_crate()), Vec::<String>::new());
}

#[test]
fn every_module_has_a_layer() {
    let imports = of_this_crate();
    let files = imports.keys().chain(imports.values().flat_map(|targets| targets.keys()));
    let modules: BTreeSet<&str> = files.map(|file| module(file)).filter(|module| *module != "lib").collect();
    assert!(modules.len() > 9, "{modules:?}");
    let without_layer: Vec<_> =
        modules.into_iter().filter(|module| layer(module).is_none() && *module != BESIDE).collect();
    assert_eq!(without_layer, Vec::<&str>::new());
}

#[test]
fn no_imports_are_circular() {
    let imports = of_this_crate();
    let cycles: Vec<String> = cycles(&imports).iter().map(|cycle| describe_cycle(&imports, cycle)).collect();
    assert!(cycles.is_empty(), "{} cycles:\n{}", cycles.len(), cycles.join("\n"));
}

mod of_synthetic_crates {
    use super::*;

    fn imports(files: &[(&str, &str)]) -> Imports {
        let mut synthetic = Crate::default();
        synthetic.add("lib.rs", "");
        files.iter().for_each(|(name, text)| synthetic.add(name, text));
        synthetic.imports()
    }

    fn cycles_in(files: &[(&str, &str)]) -> Vec<String> {
        let imports = imports(files);
        cycles(&imports).iter().map(|cycle| describe_cycle(&imports, cycle)).collect()
    }

    #[test]
    fn an_import_from_a_higher_layer_or_from_the_same_one_is_found() {
        let files = [
            ("clock.rs", "use crate::queue::Queue;"),
            ("queue/mod.rs", "pub struct Queue; fn find() { crate::tencent::client::send(); crate::clock::now() }"),
            ("tencent/mod.rs", "pub mod client;"),
            ("tencent/client.rs", "pub fn send() {}"),
        ];
        let expected = [
            "clock.rs imports queue/mod.rs (crate::queue::Queue)",
            "queue/mod.rs imports tencent/client.rs (crate::tencent::client::send)",
        ];
        assert_eq!(upward(&imports(&files)), expected);
    }

    #[test]
    fn only_the_commands_import_the_module_beside_the_layers() {
        let import = |from: &str, to: &str| {
            upward(&imports(&[(from, &format!("use crate::{to};")), (&format!("{to}.rs"), "")])).is_empty()
        };
        assert!(import("cli.rs", "simulator") && import("simulator.rs", "tencent"));
        assert!(!import("daemon.rs", "simulator") && !import("simulator.rs", "daemon"));
    }

    #[test]
    fn a_cycle_is_reported_with_its_files_and_their_imports() {
        let files = [
            ("a/mod.rs", "mod b; mod c; mod d;"),
            ("a/b.rs", "use super::c::C; use super::d::D; pub struct B;"),
            ("a/c.rs", "pub struct C(super::d::D);"),
            ("a/d.rs", "use crate::a::{b::{self, B}, c as other}; pub struct D;"),
        ];
        let expected = [
            "a/b.rs imports a/c.rs (super::c::C); a/c.rs imports a/d.rs (super::d::D); \
             a/d.rs imports a/b.rs (crate::a::b, crate::a::b::B)",
            "a/b.rs imports a/d.rs (super::d::D); a/d.rs imports a/b.rs (crate::a::b, crate::a::b::B)",
            "a/c.rs imports a/d.rs (super::d::D); a/d.rs imports a/c.rs (crate::a::c)",
        ];
        assert_eq!(cycles_in(&files), expected);
    }

    #[test]
    fn a_parent_and_a_child_that_use_each_other_form_a_cycle_and_a_mere_re_export_does_not() {
        let child = ("a/b.rs", "use super::Limit; pub struct B(Limit);");
        for uses in ["pub use b::B; fn make() -> B {}", "use b::B;", "fn make() { b::new() }"] {
            let parent = format!("mod b; pub struct Limit; {uses}");
            assert_eq!(cycles_in(&[("a/mod.rs", &parent), child]).len(), 1, "{uses}");
        }
        for declares in ["pub use b::B;", "pub(crate) use self::b::B;", "pub mod b;"] {
            let parent = format!("mod b; pub struct Limit; {declares}");
            assert_eq!(cycles_in(&[("a/mod.rs", &parent), child]), Vec::<String>::new(), "{declares}");
        }
    }

    #[test]
    fn a_path_through_a_re_export_resolves_to_the_file_that_defines_the_item() {
        let files = [
            ("a/mod.rs", "mod b; mod c; pub use b::*; pub use c::C as Other;"),
            ("a/b.rs", "use super::Other; pub struct B;"),
            ("a/c.rs", "use crate::a::B; pub struct C;"),
        ];
        assert_eq!(cycles_in(&files), ["a/b.rs imports a/c.rs (super::Other); a/c.rs imports a/b.rs (crate::a::B)"]);
    }

    #[test]
    fn tests_comments_strings_and_other_crates_are_not_imports() {
        let b = "
            // use super::c::C;
            const TEXT: &str = \"use super::c::C;\";
            pub(in crate::a) struct B;
            fn count() { ::c::count(); c::count(); }
            #[cfg(test)] use super::c::C;
            #[cfg(test)] #[path = \"b_tests.rs\"] mod tests;
            #[cfg(test)] mod more { use super::super::c::C; }
        ";
        let files = [
            ("a/mod.rs", "mod b; mod c; #[cfg(test)] mod tests;"),
            ("a/b.rs", b),
            ("a/b_tests.rs", "use super::super::c::C;"),
            ("a/c.rs", "use super::b::B; pub struct C;"),
            ("a/tests.rs", "use super::c::C;"),
        ];
        let expected = BTreeMap::from([("a/c.rs".to_owned(), vec!["a/b.rs".to_owned()])]);
        let found = imports(&files).into_iter().map(|(from, targets)| (from, targets.into_keys().collect()));
        assert_eq!(found.collect::<BTreeMap<_, Vec<_>>>(), expected);
    }
}
