//! Which file of a crate imports from which, read from the source text. Tests are left out.
//!
//! A path through a re-export resolves to the file that defines the item. A file that only re-exports an item of its own
//! child, and doesn't use it, doesn't import it. Method calls aren't tracked: the caller has the type, which was imported
//! somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path in the source, such as `super::error::QueueError`.
type Segments = Vec<String>;

/// Keywords that are followed by the name that they declare.
const DECLARING: [&str; 8] = ["struct", "enum", "union", "trait", "type", "fn", "const", "static"];

/// A name that a `use` brings into a file; `*` for all names.
struct Imported {
    name: String,
    path: Segments,
    is_public: bool,
}

/// What a file declares, imports and uses.
#[derive(Default)]
struct Source {
    declared: BTreeSet<String>,
    imported: Vec<Imported>,
    paths: Vec<Segments>,
    words: BTreeSet<String>,
}

/// The files of a crate, by their modules: `["queue", "claim"]` is `queue/claim.rs`.
#[derive(Default)]
pub(super) struct Crate {
    files: BTreeMap<Segments, (String, Source)>,
}

/// What each file imports from each other file.
pub(super) type Imports = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

impl Crate {
    /// Reads the crate in a folder.
    pub(super) fn read(source: &Path) -> Self {
        let mut files = Self::default();
        let mut folders = vec![source.to_owned()];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let name = path.strip_prefix(source).unwrap().to_str().unwrap().to_owned();
                    files.add(&name, &std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        files
    }

    /// Adds a file by its path below the crate's folder, unless it contains tests.
    pub(super) fn add(&mut self, name: &str, text: &str) {
        let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let module: Segments = path.split('/').filter(|part| *part != "lib").map(str::to_owned).collect();
        let is_test = |part: &String| part == "tests" || part.ends_with("_tests") || part.ends_with("_model");
        if !module.iter().any(is_test) {
            let mut source = Source::default();
            source.scan(TokenStream::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}")));
            self.files.insert(module, (name.to_owned(), source));
        }
    }

    /// The imports between the files.
    pub(super) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, (file, source)) in &self.files {
            let used = source.imported.iter().filter(|imported| !self.only_re_exports(module, source, imported));
            let used = used.map(|imported| &imported.path);
            for path in used.chain(&source.paths) {
                if let Some(target) = self.resolve(module, path, 0).filter(|target| *target != module) {
                    let of_file = imports.entry(file.clone()).or_default();
                    of_file.entry(self.files[target].0.clone()).or_default().insert(path.join("::"));
                }
            }
        }
        imports
    }

    /// Whether a file only re-exports an item of its module's child, without using it.
    fn only_re_exports(&self, module: &[String], source: &Source, imported: &Imported) -> bool {
        let child = imported.path.iter().find(|segment| *segment != "self").cloned();
        let is_of_child = self.files.contains_key(&[module, child.as_slice()].concat());
        imported.is_public && is_of_child && !source.words.contains(&imported.name)
    }

    /// The module that defines the item of a path in this module; `None` if it is outside this crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<&Segments> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.find(&[], rest, depth),
            "self" => self.find(module, rest, depth),
            "super" => {
                let above = module.iter().take(module.len().checked_sub(1)?);
                let above: Segments = above.cloned().collect();
                match rest.first().is_some_and(|next| next == "super") {
                    true => self.resolve(&above, rest, depth),
                    false => self.find(&above, rest, depth),
                }
            }
            _ => {
                let is_child = self.files.contains_key(&[module, std::slice::from_ref(first)].concat());
                let is_imported = self.files[module].1.imported.iter().any(|imported| imported.name == *first);
                (is_child || is_imported).then(|| self.find(module, path, depth))?
            }
        }
    }

    /// The module that defines the item of a path below this module.
    fn find(&self, module: &[String], path: &[String], depth: usize) -> Option<&Segments> {
        const MAX_DEPTH: usize = 16;
        let (module, (_, source)) = self.files.get_key_value(module)?;
        let Some((first, rest)) = path.split_first().filter(|_| depth < MAX_DEPTH) else { return Some(module) };
        let child = [module.as_slice(), std::slice::from_ref(first)].concat();
        if self.files.contains_key(&child) {
            return self.find(&child, rest, depth + 1);
        }
        if source.declared.contains(first) {
            return Some(module);
        }
        let named = source.imported.iter().filter(|imported| imported.name == *first);
        let named = named.map(|imported| [imported.path.as_slice(), rest].concat());
        let globs = source.imported.iter().filter(|imported| imported.name == "*");
        let globbed = globs.map(|imported| [imported.path.as_slice(), path].concat());
        let resolved = named.chain(globbed).find_map(|path| self.resolve(module, &path, depth + 1));
        resolved.or(Some(module))
    }
}

impl Source {
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let (mut at, mut is_public) = (0, false);
        while let Some(token) = tokens.get(at) {
            at += 1;
            let after = &tokens[at..];
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' && is_for_tests(after) => at += item(after),
                // The rest of a path that starts outside this crate, as `::metrics::counter` does.
                TokenTree::Punct(_) if colons(&tokens[at - 1..]) => at += 1 + length(&path(&after[1..])),
                TokenTree::Ident(ident) if ident == "pub" => {
                    // The path of a `pub(in path)` is not an import.
                    at += usize::from(matches!(after.first(), Some(TokenTree::Group(_))));
                    is_public = true;
                    continue;
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    let tree = after.split(is_semicolon).next().unwrap_or_default();
                    self.import(&[], tree, is_public);
                    at += tree.len();
                }
                // The declaration of a child is not an import.
                TokenTree::Ident(ident) if ident == "mod" => at += 1,
                TokenTree::Ident(ident) if ident == "macro_rules" => self.declare(after.get(1)),
                TokenTree::Ident(ident) if DECLARING.iter().any(|word| ident == word) => self.declare(after.first()),
                TokenTree::Ident(_) => {
                    let path = path(&tokens[at - 1..]);
                    at += length(&path) - 1;
                    self.words.extend(path.first().cloned());
                    if path.len() > 1 {
                        self.paths.push(path);
                    }
                }
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            is_public = false;
        }
    }

    fn declare(&mut self, name: Option<&TokenTree>) {
        self.declared.extend(name.map(ToString::to_string));
    }

    /// Records the imports of a `use` tree below a path.
    fn import(&mut self, above: &[String], tree: &[TokenTree], is_public: bool) {
        let prefix = path(tree);
        let rest = &tree[(prefix.len() * 3).min(tree.len())..];
        let path = [above, &prefix].concat();
        match rest {
            [TokenTree::Group(group)] => {
                let within: Vec<TokenTree> = group.stream().into_iter().collect();
                within
                    .split(is_comma)
                    .filter(|tree| !tree.is_empty())
                    .for_each(|tree| self.import(&path, tree, is_public));
            }
            [TokenTree::Punct(_)] => self.imported.push(Imported { name: "*".to_owned(), path, is_public }),
            _ => {
                let alias =
                    tree.len().checked_sub(2).filter(|at| matches!(&tree[*at], TokenTree::Ident(word) if word == "as"));
                let path =
                    path.strip_suffix(&["self".to_owned()]).filter(|path| !path.is_empty()).unwrap_or(&path).to_vec();
                let name =
                    alias.map(|at| tree[at + 1].to_string()).or_else(|| path.last().cloned()).unwrap_or_default();
                self.imported.push(Imported { name, path, is_public });
            }
        }
    }
}

/// The path that these tokens start with.
fn path(tokens: &[TokenTree]) -> Segments {
    let mut segments = Vec::new();
    let mut rest = tokens;
    while let Some((TokenTree::Ident(ident), after)) = rest.split_first() {
        segments.push(ident.to_string());
        if !colons(after) {
            break;
        }
        rest = &after[2..];
    }
    segments
}

/// How many tokens a path has.
fn length(path: &[String]) -> usize {
    (path.len() * 3).saturating_sub(2)
}

fn colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(one), TokenTree::Punct(two), ..] if one.as_char() == ':' && two.as_char() == ':')
}

fn is_semicolon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

/// Whether these tokens, which follow a `#`, are `[cfg(test)]`.
fn is_for_tests(tokens: &[TokenTree]) -> bool {
    matches!(tokens.first(), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// How many tokens an item has.
fn item(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| {
        is_semicolon(token) || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
    };
    tokens.iter().position(is_end).map_or(tokens.len(), |end| end + 1)
}
