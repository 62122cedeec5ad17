//! Documents say what is true: their commands run as they stand there, and the README's figures are those of
//! `benches/results`.

use crate::common::{Server, data_with_model, membox};
use crate::links::links;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Commands that the test does not run, each with the reason.
const NOT_RUN: [(&str, &str); 6] = [
    ("make serve", "builds the binary that this test has, and serves until it is stopped"),
    ("make test", "runs this test"),
    ("membox models pull", "fetches gigabytes from a hub"),
    ("membox --compression-model llmlingua-2 serve", "needs those"),
    ("membox serve", "the test's own server stands for it"),
    ("models/keep-head/texts.py", "needs data sets that are not part of the project"),
];

/// Commands that want the data folder for themselves.
const NEEDS_NO_BOX: [&str; 4] = ["membox verify", "membox rebuild", "membox restore", "membox bench"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the project")
}

pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages of a folder and of those in it.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            pages.extend(markdown(&path));
        } else if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// The README and every page of `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    pages.extend(markdown(&root().join("docs")));
    pages
}

/// The commands of a page's `sh` blocks; one that goes on over several lines is one.
fn commands(page: &str) -> Vec<String> {
    let (mut found, mut in_block) = (Vec::new(), false);
    for line in page.lines() {
        match line.trim() {
            "```sh" => in_block = true,
            "```" => in_block = false,
            _ if in_block => found.push(line),
            _ => {}
        }
    }
    let (mut whole, mut open) = (Vec::new(), String::new());
    for line in found {
        open.push_str(line);
        open.push('\n');
        let has_open_quote = open.matches('\'').count() % 2 == 1;
        if !has_open_quote && !line.ends_with('\\') {
            whole.push(std::mem::take(&mut open));
        }
    }
    assert!(open.is_empty(), "a command does not end: {open}");
    whole
}

/// What the documents' examples take for granted: their files, in the folder in which they run.
fn prepare(folder: &Path) {
    let history = read(&root().join("examples/history.jsonl"));
    fs::write(folder.join("history.jsonl"), history).expect("a file");
    let sentence =
        |i: usize| format!("Lena said on day {i} that she keeps the spare key under the blue pot by the shed.\n");
    let text: String = (0..120).map(sentence).collect();
    for name in ["texts.txt", "transcript.txt", "my.txt"] {
        fs::write(folder.join(name), &text).expect("a file");
    }
}

fn run(command: &str, folder: &Path, url: &str) -> Output {
    let binaries = Path::new(crate::common::MEMBOX).parent().expect("a folder");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
    let here = folder.display().to_string();
    let command = command
        .replace("http://127.0.0.1:8420", url)
        .replace("/etc/membox", &here)
        .replace("/backups", &format!("{here}/backups"));
    let mut shell = Command::new("bash");
    shell.args(["-e", "-o", "pipefail", "-c", &command]).current_dir(folder);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MEMBOX_")) {
        shell.env_remove(name);
    }
    shell.env("PATH", path).env("MEMBOX_URL", url).output().expect("bash")
}

#[test]
fn every_command_of_the_documents_runs() {
    let mut ran = 0;
    for page in pages() {
        let text = read(&page);
        let commands = commands(&text);
        if commands.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let data = data_with_model(folder.path());
        prepare(folder.path());
        fs::create_dir_all(folder.path().join("backups")).expect("a folder");
        let load = folder.path().join("history.jsonl");
        let mut server = None;
        for command in commands {
            if NOT_RUN.iter().any(|(beginning, _)| command.starts_with(beginning)) {
                continue;
            }
            if NEEDS_NO_BOX.iter().any(|beginning| command.starts_with(beginning)) {
                if let Some(server) = server.take() {
                    Server::stop(server);
                }
            } else if server.is_none() {
                let load = load.display().to_string();
                server = Some(Server::start(&data, &["--load", &load]));
            }
            let url = server.as_ref().map_or("http://127.0.0.1:1", |server: &Server| server.url.as_str());
            let ended = run(&command, folder.path(), url);
            let said = String::from_utf8_lossy(&ended.stdout);
            let said_of_errors = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{}: {command}{said}{said_of_errors}", page.display());
            if command.starts_with("curl") {
                let answer: serde_json::Value = serde_json::from_str(said.trim()).expect("JSON");
                let is_problem = answer["status"].as_u64().is_some_and(|status| status >= 400);
                assert!(!is_problem, "{}: {command}{said}", page.display());
            }
            ran += 1;
        }
    }
    assert!(ran > 15, "{ran} commands only: are the blocks still marked `sh`?");
}

#[test]
fn the_commands_that_the_documents_name_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = membox(&data_with_model(folder.path())).arg("--help").output().expect("help");
    let help = String::from_utf8(help.stdout).expect("text");
    let known: BTreeSet<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    for page in pages() {
        for (i, _) in read(&page).match_indices("`membox ") {
            let text = read(&page);
            let named = text[i + "`membox ".len()..].split(['`', ' ']).find(|word| !word.starts_with("--"));
            let named = named.unwrap_or_default();
            let is_command = named.bytes().all(|byte| byte.is_ascii_lowercase());
            assert!(!is_command || known.contains(named), "{}: there is no `membox {named}`", page.display());
        }
    }
}

#[test]
fn every_page_is_in_the_book() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let listed: BTreeSet<PathBuf> =
        links(&summary).into_iter().filter(|link| !link.file.is_empty()).map(|link| docs.join(link.file)).collect();
    for page in markdown(&docs).into_iter().filter(|page| !page.ends_with("SUMMARY.md")) {
        assert!(listed.contains(&page), "{} is not in docs/SUMMARY.md", page.display());
    }
}

/// Numbers as they are written: `1 000` and `1000` are one.
fn numbers(text: &str) -> BTreeSet<String> {
    let characters: Vec<char> = text.chars().collect();
    let mut joined = String::new();
    for (i, &c) in characters.iter().enumerate() {
        let digit = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(char::is_ascii_digit);
        let is_separator = c == ' ' && digit(i.checked_sub(1)) && (1..=3).all(|n| digit(Some(i + n)));
        if !is_separator || digit(Some(i + 4)) {
            joined.push(c);
        }
    }
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    joined
        .split(|c| !is_part(c))
        .map(|number| number.trim_matches('.').to_owned())
        .filter(|number| !number.is_empty())
        .collect()
}

/// The one row of a results page that begins so, blanks and bars aside.
fn result_row<'a>(page: &'a str, beginning: &str) -> &'a str {
    let cells_of = |line: &str| line.split(['|', ' ']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let found: Vec<&str> = rows.filter(|line| cells_of(line).starts_with(beginning)).collect();
    assert_eq!(found.len(), 1, "rows that begin with {beginning:?}: {found:?}");
    found[0]
}

fn is_of_the_table(line: &str) -> bool {
    line.starts_with('|') && line.contains("](benches/results/")
}

/// A row of the README's table of figures: what, membox's figures, those of others parted by `;`, and where they come
/// from: a link to the page, and
/// the beginning of the row of each, in their order and parted by `;`, too.
#[test]
fn the_figures_of_the_readme_are_those_that_were_measured() {
    let readme = read(&root().join("README.md"));
    let table: Vec<&str> = readme.lines().filter(|line| is_of_the_table(line)).collect();
    assert!(table.len() >= 5, "the table of figures is gone");
    for row in table {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[_, own, others, source] = cells.as_slice() else { panic!("four cells are wanted: {row}") };
        let file = links(source).first().map(|link| link.file).unwrap_or_else(|| panic!("no source: {row}"));
        let page = read(&root().join(file));
        let beginnings: Vec<&str> =
            source.rsplit_once("): ").map(|(_, rows)| rows.split(';').map(str::trim).collect()).expect("rows");
        let figures: Vec<&str> =
            [own].into_iter().chain(others.split(';').map(str::trim)).filter(|text| !text.is_empty()).collect();
        assert_eq!(figures.len(), beginnings.len(), "each figure has its row in {file}: {row}");
        for (figure, beginning) in figures.into_iter().zip(beginnings) {
            let measured = numbers(result_row(&page, beginning));
            assert!(!numbers(figure).is_empty(), "{figure:?} of {row:?} has no number");
            for number in numbers(figure) {
                assert!(measured.contains(&number), "{number} of {figure:?} is not in {file}: {measured:?}");
            }
        }
    }
}

/// Measured figures of a text, by their units. Blocks of commands and settings are passed over.
fn measured(text: &str) -> Vec<String> {
    const UNITS: [&str; 8] = ["ms", "µs", "s", "MB", "GB", "%", "×", "texts/s"];
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !is_of_the_table(line) {
            let is_border = |c: char| c.is_ascii_punctuation() && c != '%';
            let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(is_border)).collect();
            for (i, word) in words.iter().enumerate() {
                let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                let after_number = i > 0 && words[i - 1].ends_with(|c: char| c.is_ascii_digit());
                if UNITS.contains(&unit) && (after_number || unit.len() < word.len()) {
                    found.push(line.to_owned());
                }
            }
        }
    }
    found
}

/// So that none of them differs from `benches/results` unseen.
#[test]
fn the_readme_has_measured_figures_in_its_table_alone() {
    assert_eq!(
        measured("It takes 0.5 ms.\n```\n7 GB\n```\nand 98% of 4 texts"),
        ["It takes 0.5 ms.", "and 98% of 4 texts"]
    );
    assert_eq!(measured(&read(&root().join("README.md"))), [""; 0]);
}
