//! The pages, and their parts.

use std::path::{Path, PathBuf};

/// A page of the documentation.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced block of code.
pub(crate) struct Block {
    /// The text after the fence: the language, and perhaps more.
    pub(crate) info: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The page with this path in the repository.
pub(crate) fn page(path: &str) -> Page {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page { path: path.to_owned(), text }
}

/// The pages for users and operators, which a package ships.
pub(crate) fn manual() -> Vec<Page> {
    let found = ["docs", "deploy"].into_iter().flat_map(pages_in);
    found.chain(["README.md".to_owned(), "SECURITY.md".to_owned()]).map(|path| page(&path)).collect()
}

/// All pages.
pub(crate) fn all() -> Vec<Page> {
    let others = ["", "tests", "tests/bench", "tests/bench/peers"].into_iter().flat_map(pages_in);
    let others = others.filter(|path| path != "README.md" && path != "SECURITY.md").map(|path| page(&path));
    manual().into_iter().chain(others).collect()
}

fn pages_in(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let pages = entries.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let relative = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut pages: Vec<String> = pages.map(relative).collect();
    pages.sort();
    pages
}

impl Page {
    /// The rows of the first table under this header, in order.
    pub(crate) fn rows(&self, header: &str) -> Vec<String> {
        table(&self.text, header)
    }

    /// The text from this heading to the next one of any level.
    pub(crate) fn section(&self, heading: &str) -> &str {
        let start = format!("\n{heading}\n");
        let (_, section) = self.text.split_once(&start).unwrap_or_else(|| panic!("{} has {heading}", self.path));
        section.split("\n#").next().unwrap_or_default()
    }

    /// The blocks of code, in order.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        self.parts().filter(|(_, code)| *code).map(|(part, _)| Block::of(part)).collect()
    }

    /// The blocks of this language.
    pub(crate) fn blocks_in(&self, language: &str) -> Vec<Block> {
        self.blocks().into_iter().filter(|block| block.info == language).collect()
    }

    /// The text without its blocks of code.
    pub(crate) fn prose(&self) -> String {
        self.parts().filter(|(_, code)| !*code).map(|(part, _)| part).collect()
    }

    /// The texts in backticks outside blocks, each on one line.
    pub(crate) fn quoted(&self) -> Vec<String> {
        let prose = self.prose();
        let quoted = prose.split('`').skip(1).step_by(2);
        quoted.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// Prose and code in turn; true for code.
    fn parts(&self) -> impl Iterator<Item = (&str, bool)> {
        self.text.split("```").zip([false, true].into_iter().cycle())
    }
}

impl Block {
    fn of(fenced: &str) -> Self {
        let (info, text) = fenced.split_once('\n').expect("a fence ends its line");
        Self { info: info.to_owned(), text: text.to_owned() }
    }
}

/// The rows of the first table under this header, in order.
pub(crate) fn table(text: &str, header: &str) -> Vec<String> {
    let (_, after) = text.split_once(header).unwrap_or_default();
    after.lines().skip(2).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// The first cells of rows, without their backticks. A cell with several names is split.
pub(crate) fn first_cells(rows: &[String]) -> Vec<String> {
    let cells = rows.iter().map(|row| row.split('|').nth(1).unwrap_or_default());
    cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim().trim_matches('`').to_owned()).collect()
}
