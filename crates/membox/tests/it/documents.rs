//! Documents say what is true: their commands run as they stand there, and the README's figures are those of `benches/results`.

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

/// The README and every page of `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("a page").path()).collect();
    pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
    pages.push(root().join("README.md"));
    pages.sort();
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
        let folder = tempfile::tempdir().expect("a folder");
        let data = data_with_model(folder.path());
        prepare(folder.path());
        fs::create_dir_all(folder.path().join("backups")).expect("a folder");
        let load = folder.path().join("history.jsonl");
        let mut server = None;
        for command in commands(&read(&page)) {
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

/// Rows of the README's table of figures: what, figures, and where they come from as `[file](path): rows that begin so; …`.
#[test]
fn the_figures_of_the_readme_are_those_that_were_measured() {
    let readme = read(&root().join("README.md"));
    let table: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| measured |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(table.len() >= 5, "the table of figures is gone");
    for row in table {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let (source, figures) = cells.split_last().expect("cells");
        let file = links(source).first().map_or_else(|| panic!("no source: {row}"), |link| link.file.to_owned());
        let text = read(&root().join(&file));
        let rows = source.rsplit_once("): ").map(|(_, rows)| rows).expect("rows");
        let mut measured = BTreeSet::new();
        for beginning in rows.split(';').map(str::trim) {
            let cells_of =
                |line: &str| line.split(['|', ' ']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
            let found: Vec<&str> = text.lines().filter(|line| cells_of(line).starts_with(beginning)).collect();
            assert!(!found.is_empty(), "{file} has no row {beginning:?}");
            found.iter().for_each(|line| measured.extend(numbers(line)));
        }
        for number in numbers(&figures[1..].join(" ")) {
            assert!(measured.contains(&number), "{number} of {row:?} is not in {file}: {measured:?}");
        }
    }
}
