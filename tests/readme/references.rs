//! Links have targets, and the packages ship what the pages for operators link to.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::pages::{Page, all, manual, page, root};

/// A link to a file of the repository: the file, and the heading in it.
struct Link {
    file: String,
    heading: Option<String>,
}

/// The links of a page, except those to other sites.
fn links(page: &Page) -> Vec<Link> {
    let prose = page.prose();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let own = targets.filter(|target| !target.contains("://"));
    let link = |target: &str| {
        let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
        let from = Path::new(&page.path).parent().unwrap();
        let file = if file.is_empty() { page.path.clone() } else { resolved(&from.join(file)) };
        Link { file, heading: heading.map(str::to_owned) }
    };
    own.map(link).collect()
}

/// A path without its `..`.
fn resolved(path: &Path) -> String {
    let mut resolved = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            assert!(resolved.pop(), "{} leaves the repository", path.display());
        } else {
            resolved.push(component);
        }
    }
    resolved.to_str().unwrap().to_owned()
}

/// The anchors of the headings.
fn anchors(page: &Page) -> BTreeSet<String> {
    let prose = page.prose();
    let headings = prose.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for from in all() {
        for link in links(&from) {
            assert!(root().join(&link.file).exists(), "{} links to {}", from.path, link.file);
            if let Some(heading) = link.heading {
                assert!(
                    anchors(&page(&link.file)).contains(&heading),
                    "{} links to {}#{heading}",
                    from.path,
                    link.file
                );
            }
        }
    }
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = page("README.md");
    let mut linked: BTreeSet<String> = links(&readme).into_iter().map(|link| link.file).collect();
    linked.insert(readme.path);
    for page in all() {
        assert!(linked.contains(&page.path), "{} is linked from nowhere", page.path);
    }
}

/// Files that concern only the source, and are in no package.
const OF_THE_SOURCE: [&str; 7] =
    ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "migrations", "src/", "tests/"];

/// Both packages keep the paths of the repository, so that the links work there too.
#[test]
fn each_package_ships_the_pages_and_what_they_link_to() {
    let linked: BTreeSet<String> = manual().iter().flat_map(links).map(|link| link.file).collect();
    let shipped = linked.iter().filter(|file| !OF_THE_SOURCE.iter().any(|source| file.starts_with(source)));
    let pages = manual().into_iter().map(|page| page.path);
    let deb = page("Cargo.toml").text;
    let el9 = page("deploy/build-el9").text;
    for file in pages.chain(shipped.cloned()) {
        let path = Path::new(&file);
        let directory = path.parent().unwrap().to_str().unwrap();
        let slash = if directory.is_empty() { "" } else { "/" };
        let extension = path.extension().unwrap_or_default().to_str().unwrap();
        let by_glob = [format!("{directory}{slash}*.{extension}"), format!("{directory}{slash}*"), file.clone()];
        let asset = |name: &String| format!("[\"{name}\", \"usr/share/doc/certcommit/{directory}{slash}\", \"644\"]");
        assert!(by_glob.iter().any(|name| deb.contains(&asset(name))), "the .deb lacks {file}");
        let words: BTreeSet<&str> = el9.split_whitespace().map(|word| word.trim_end_matches(';')).collect();
        assert!(by_glob.iter().any(|name| words.contains(name.as_str())), "the .rpm lacks {file}");
    }
}
