//! Links and names of files in the documents lead somewhere, and lines of Rust are short.

use crate::documents::{read, root};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A link to a file of the project: the file, or nothing for the page itself, and the heading.
#[derive(Debug, PartialEq, Eq)]
pub struct Link<'a> {
    pub file: &'a str,
    pub anchor: Option<&'a str>,
}

/// The links of a text to files of the project, and to its own headings.
pub fn links(text: &str) -> Vec<Link<'_>> {
    let targets = text.match_indices("](").filter_map(|(i, _)| text[i + 2..].split(')').next());
    let targets = targets.filter(|target| !target.is_empty() && !target.contains("://"));
    targets
        .map(|target| match target.split_once('#') {
            Some((file, anchor)) => Link { file, anchor: Some(anchor) },
            None => Link { file: target, anchor: None },
        })
        .collect()
}

/// The anchors of a page: those that GitHub gives to its headings, and those that it has by itself.
fn anchors(page: &str) -> BTreeSet<String> {
    let own = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut anchors: BTreeSet<String> = own.map(str::to_owned).collect();
    let (mut times, mut in_block) = (HashMap::<String, usize>::new(), false);
    for line in page.lines() {
        in_block ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#');
        if in_block || text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        let kept = text.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let before = times.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// The files under a folder, but for hidden ones and those that are no part of the project.
fn files(folder: &Path) -> Vec<PathBuf> {
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.') && !["target", "data"].contains(&name.as_ref())
    };
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(is_ours).flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn pages() -> Vec<PathBuf> {
    let pages: Vec<PathBuf> =
        files(&root()).into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "md")).collect();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_of_it() {
    let mut dead = Vec::new();
    for page in pages() {
        for link in links(&read(&page)) {
            let beside = page.parent().expect("a folder").join(link.file);
            let target = if link.file.is_empty() { &page } else { &beside };
            let leads = target.exists() && link.anchor.is_none_or(|anchor| anchors(&read(target)).contains(anchor));
            if !leads {
                dead.push(format!("{}: {link:?}", page.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

/// Comments and strings too, which rustfmt leaves as long as they are.
#[test]
fn no_line_of_rust_is_longer_than_120_characters() {
    let mut long = Vec::new();
    for file in files(&root()).into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        let text = read(&file);
        let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > 120);
        long.extend(lines.map(|(i, _)| format!("{}:{}", file.display(), i + 1)));
    }
    assert!(long.is_empty(), "{long:#?}");
}

/// What changed once may be gone since.
const OF_THE_PAST: [&str; 1] = ["CHANGELOG.md"];

#[test]
fn every_source_that_the_documents_name_is_there() {
    let files = files(&root());
    let mut missing = Vec::new();
    for page in pages().into_iter().filter(|page| !OF_THE_PAST.iter().any(|name| page.ends_with(name))) {
        let text = read(&page);
        let names = text.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs"));
        for name in names.filter(|name| !name.contains(['{', '*', ' ']) && !name.starts_with('.')) {
            if !files.iter().any(|file| file.ends_with(name)) {
                missing.push(format!("{}: {name}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn anchors_are_those_of_github() {
    let found = anchors("# The `x` of y, 2\n## Z\n```\n# no heading\n```\n## Z\n#no\n<a id=\"w\"></a>**W**");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["the-x-of-y-2", "w", "z", "z-1"]);
    let all = links("[a](b.md#c) [d](#e) [f](https://g#h) [i](j/k.rs)");
    let link = |file, anchor| Link { file, anchor };
    assert_eq!(all, [link("b.md", Some("c")), link("", Some("e")), link("j/k.rs", None)]);
}
