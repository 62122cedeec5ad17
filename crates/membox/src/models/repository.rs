//! Models that membox does not know by name: any repository of the Hugging Face hub, or a folder, in the form of
//! sentence-transformers or of transformers. What it says is read first, and its weights are fetched only if the engine
//! computes all of its parts.

use super::{CHECKSUMS_FILE, find, is_language, sha256};
use crate::config::Config;
use anyhow::{Context, Result, bail, ensure};
use membox_memory::encoder::{
    ChecksumSource, Checksums, Encoder, EncoderConfig, Inputs, Int8Check, Lane, MODULES_FILE, ModelDescription,
    ModelKind, PRECISION_FILE, PROMPTS_FILE, Precision, Purpose, Request, Scheduler, SchedulerConfig, WEIGHTS_FILE,
    WEIGHTS_INDEX_FILE, Wanted, weight_files,
};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a description of a model is, with its languages.
pub const CARD_FILE: &str = "README.md";
/// Folders within a repository whose files are looked at.
const MAX_DEPTH: usize = 2;

/// Texts by which int8 is held against f32 where a model comes here.
const SAMPLES: [&str; 8] = [
    "Where did we park the car on Sunday?",
    "Lena's train arrives at 12:40 on platform 3, and she brings the tomatoes.",
    "我们昨天在公园里见面了，他对青霉素过敏。",
    "Der Schlüssel steckt im blauen Blumentopf an der Haustür.",
    "La réunion a été reportée à jeudi, parce que le médecin était malade.",
    "会議は来週の月曜日に延期されました。",
    "def encode(texts): return model(tokenizer(texts))",
    "وصل القطار متأخرا ساعة كاملة بسبب الثلوج.",
];
/// The modules of a model whose masked-LM head gives sparse vectors, as sentence-transformers' SparseEncoder has them.
pub const SPLADE_MODULES: &str = include_str!("splade_modules.json");
/// The share of a text's tokens that a model may not know before the text is left out.
const MUCH_UNKNOWN: f32 = 0.5;
/// Least cosine of int8 to f32 with which all layers are computed in int8.
const LEAST_COSINE: f32 = 0.99;

/// Where a model comes from.
pub enum Repository {
    /// `hub:OWNER/NAME`.
    Hub(String),
    /// A folder.
    Folder(PathBuf),
}

/// How a model is installed.
pub struct Wishes<'a> {
    /// Its name here; the repository's when left out.
    pub name: Option<&'a str>,
    /// `NAME=TEXT` each: what comes before texts.
    pub prompts: &'a [String],
    /// Numbers kept of a vector.
    pub dimension: Option<usize>,
    /// Whether a model with a masked-LM head gives sparse vectors by it.
    pub splade: bool,
    /// Again, even if it is there.
    pub force: bool,
}

impl Repository {
    /// `hub:OWNER/NAME`, or a path with a separator in it; `None` for a name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("hub:") {
            Some(id) => Some(Self::Hub(id.to_owned())),
            None if text.contains(std::path::MAIN_SEPARATOR) && Path::new(text).is_dir() => {
                Some(Self::Folder(text.into()))
            }
            None => None,
        }
    }

    fn name(&self) -> Result<String> {
        match self {
            Self::Hub(id) => Ok(id.rsplit('/').next().unwrap_or_default().to_owned()),
            Self::Folder(path) => {
                let path = path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?;
                Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            }
        }
    }

    /// The files that there are, and their bytes.
    fn files(&self) -> Result<Vec<(String, u64)>> {
        match self {
            Self::Hub(id) => hub_files(id),
            Self::Folder(path) => {
                let mut files = Vec::new();
                walk(path, "", MAX_DEPTH, &mut files)?;
                Ok(files)
            }
        }
    }

    fn fetch(&self, files: &[(String, u64)], target: &Path) -> Result<()> {
        for (name, _) in files {
            if let Some(folder) = target.join(name).parent() {
                fs::create_dir_all(folder)?;
            }
        }
        match self {
            Self::Hub(id) => hub_download(id, files, target),
            Self::Folder(path) => {
                for (name, _) in files {
                    let from = path.join(name);
                    fs::copy(&from, target.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(feature = "hub")]
fn hub_files(id: &str) -> Result<Vec<(String, u64)>> {
    crate::hub::files(id)
}

#[cfg(feature = "hub")]
fn hub_download(id: &str, files: &[(String, u64)], target: &Path) -> Result<()> {
    crate::hub::download(id, files.iter().map(|(name, bytes)| (name.as_str(), *bytes)), target)
}

#[cfg(not(feature = "hub"))]
fn hub_files(_: &str) -> Result<Vec<(String, u64)>> {
    bail!("this membox was built without the Hugging Face hub (feature `hub`)")
}

#[cfg(not(feature = "hub"))]
fn hub_download(_: &str, _: &[(String, u64)], _: &Path) -> Result<()> {
    bail!("this membox was built without the Hugging Face hub (feature `hub`)")
}

fn walk(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<(String, u64)>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // Of a link, what it leads to: the hub's cache is made of them.
        let found = fs::metadata(entry.path())?;
        if found.is_dir() && depth > 1 {
            walk(&entry.path(), &format!("{name}/"), depth - 1, files)?;
        } else if found.is_file() {
            files.push((name, found.len()));
        }
    }
    Ok(())
}

/// Installs a model from a repository.
pub fn pull(config: &Config, repository: &Repository, wishes: &Wishes) -> Result<()> {
    let name = match wishes.name {
        Some(name) => name.to_owned(),
        None => repository.name()?,
    };
    ensure!(
        !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']),
        "{name:?} is no name of a model: give one by --as"
    );
    if find(&name).is_ok() {
        bail!("{name:?} is a model that membox knows: pull it by its name, or give another name by --as");
    }
    let folder = config.models_dir().join(&name);
    if !wishes.force && folder.join(CHECKSUMS_FILE).exists() {
        println!("{name} is installed in {}; --force installs it anew", folder.display());
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let incoming = folder.join("incoming");
    let _ = fs::remove_dir_all(&incoming);
    fs::create_dir_all(&incoming).with_context(|| format!("cannot create {}", incoming.display()))?;
    let installed = fetch(repository, wishes, &incoming).and_then(|mut files| {
        let description = check(&incoming, &mut files)?;
        install(&files, &incoming, &folder)?;
        Ok(description)
    });
    let _ = fs::remove_dir_all(&incoming);
    match installed {
        Ok(description) => {
            println!("{name} is installed in {}: {}", folder.display(), summary(&description));
            match description.kind() {
                ModelKind::Embedding => println!("`membox serve --model {name}` runs it"),
                _ => println!("models = [{name:?}] in membox.toml has it beside an embedding model"),
            }
            Ok(())
        }
        Err(error) => {
            // Not one that is there from before.
            let _ = fs::remove_dir(&folder);
            Err(error.context(format!("{name} is not installed")))
        }
    }
}

/// Fetches the files of a model, what it says first; gives their names.
fn fetch(repository: &Repository, wishes: &Wishes, target: &Path) -> Result<Vec<String>> {
    let there = repository.files()?;
    let size = |name: &str| there.iter().find(|(found, _)| found == name).map(|(_, bytes)| *bytes);
    for needed in ["config.json", "tokenizer.json"] {
        ensure!(size(needed).is_some(), "it has no {needed}");
    }
    let mut files: Vec<(String, u64)> = Vec::new();
    let mut get = |names: Vec<String>| -> Result<()> {
        let new = names.into_iter().filter_map(|name| Some((size(&name)?, name))).map(|(bytes, name)| (name, bytes));
        let new: Vec<(String, u64)> = new.collect();
        repository.fetch(&new, target)?;
        files.extend(new);
        Ok(())
    };
    let small = ["config.json", "tokenizer.json", CARD_FILE].into_iter().chain(ModelDescription::files());
    get(small.map(str::to_owned).collect())?;
    let modules = match fs::read(target.join(MODULES_FILE)) {
        Ok(modules) => ModelDescription::module_files(&modules).map_err(anyhow::Error::msg)?,
        Err(_) => Vec::new(),
    };
    let (weights_of_modules, said): (Vec<String>, Vec<String>) =
        modules.into_iter().partition(|name| name.ends_with(".safetensors"));
    get(said)?;
    let written = write_wishes(wishes, target)?;
    let description = ModelDescription::read(target)?;
    println!("{}", summary(&description));
    let weights = if size(WEIGHTS_FILE).is_some() {
        vec![WEIGHTS_FILE.to_owned()]
    } else if size(WEIGHTS_INDEX_FILE).is_some() {
        get(vec![WEIGHTS_INDEX_FILE.to_owned()])?;
        let index = fs::read(target.join(WEIGHTS_INDEX_FILE))?;
        weight_files(&index).map_err(anyhow::Error::msg)?.into_iter().collect()
    } else {
        bail!("it has no {WEIGHTS_FILE}: weights are read from safetensors alone")
    };
    get(weights.into_iter().chain(weights_of_modules).collect())?;
    let mut names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    for name in written {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Writes what was asked for to where sentence-transformers has it; gives the names of the files.
fn write_wishes(wishes: &Wishes, target: &Path) -> Result<Vec<&'static str>> {
    let mut written = Vec::new();
    if wishes.splade {
        let path = target.join(MODULES_FILE);
        ensure!(!path.exists(), "--pooling is for repositories without {MODULES_FILE}, and it has one");
        fs::write(&path, SPLADE_MODULES)?;
        written.push(MODULES_FILE);
    }
    if wishes.prompts.is_empty() && wishes.dimension.is_none() {
        return Ok(written);
    }
    written.push(PROMPTS_FILE);
    let path = target.join(PROMPTS_FILE);
    let mut config: Value = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("{PROMPTS_FILE} is not JSON"))?,
        Err(_) => json!({}),
    };
    ensure!(config.is_object(), "{PROMPTS_FILE} is no object");
    for prompt in wishes.prompts {
        let (name, text) = prompt.split_once('=').context("--prompt is NAME=TEXT, such as query=\"query: \"")?;
        if !config["prompts"].is_object() {
            config["prompts"] = json!({});
        }
        config["prompts"][name] = json!(text);
    }
    if let Some(dimension) = wishes.dimension {
        config["truncate_dim"] = json!(dimension);
    }
    fs::write(&path, format!("{config:#}\n"))?;
    Ok(written)
}

/// Loads what was fetched and embeds some texts, in both precisions. Layers that int8 spoils are written down.
fn check(folder: &Path, files: &mut Vec<String>) -> Result<ModelDescription> {
    let scheduler = Arc::new(Scheduler::start(SchedulerConfig::default()).context("the threads of the engine")?);
    let checksums = Checksums { source: ChecksumSource::Nobody, ..Checksums::default() };
    let config = EncoderConfig { precision: Precision::F32, checksums, ..EncoderConfig::default() };
    let encoder = Encoder::load("incoming", folder, config, &scheduler)?;
    let texts = encoder.prompts().put_before(Purpose::Document, SAMPLES.map(str::to_owned).to_vec());
    let wanted = match encoder.kind() {
        ModelKind::Sparse => Wanted::sparse(),
        ModelKind::Embedding | ModelKind::CrossEncoder => Wanted::vectors(false),
    };
    let (inputs, max_tokens) = (Inputs::Texts(texts.clone()), encoder.max_tokens());
    let answer = encoder.encode(Request { inputs, max_tokens, wanted, lane: Lane::Bulk })?;
    drop(encoder);
    let mut numbers = answer.vectors.iter().copied().chain(answer.sparse.iter().flatten().map(|one| one.weight));
    ensure!(numbers.all(f32::is_finite), "its vectors are no numbers");
    // What a model does not know says nothing of what it is used for.
    let known = texts.iter().zip(&answer.unknown).filter(|(_, unknown)| **unknown <= MUCH_UNKNOWN);
    let known: Vec<String> = known.map(|(text, _)| text.clone()).collect();
    let texts = if known.is_empty() { texts } else { known };
    let found = Int8Check::of(folder, &texts, LEAST_COSINE)?;
    println!("int8 is as f32 to a cosine of {:.4} at least, of {} texts", found.least, texts.len());
    if !found.layers.f32_layers.is_empty() {
        let list: Vec<String> = found.layers.f32_layers.iter().map(usize::to_string).collect();
        println!(
            "that is little, so some layers are computed in f32: {}. With them it is {:.4}",
            list.join(" "),
            found.least_with_them
        );
        fs::write(folder.join(PRECISION_FILE), format!("{:#}\n", json!(found.layers)))?;
        files.push(PRECISION_FILE.to_owned());
    }
    Ok(ModelDescription::read(folder)?)
}

/// Gives the files their names, whole on the disk, and their checksums last.
fn install(files: &[String], incoming: &Path, folder: &Path) -> Result<()> {
    let mut sums = String::new();
    for name in files {
        sums += &format!("{}  {name}\n", sha256(&incoming.join(name))?);
    }
    fs::write(incoming.join(CHECKSUMS_FILE), sums)?;
    // Of a model that was here before, files that the new one does not have would be read with it.
    for old in fs::read_dir(folder)? {
        let old = old?.path();
        if old != incoming {
            if old.is_dir() { fs::remove_dir_all(&old)? } else { fs::remove_file(&old)? }
        }
    }
    for name in files.iter().map(String::as_str).chain([CHECKSUMS_FILE]) {
        let target = folder.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        File::open(incoming.join(name))?.sync_all()?;
        #[expect(clippy::disallowed_methods, reason = "the folders are fsynced once, after all of them")]
        fs::rename(incoming.join(name), &target)?;
        if let Some(parent) = target.parent().filter(|parent| *parent != folder) {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(File::open(folder)?.sync_all()?)
}

/// What a model is, in a line.
pub fn summary(description: &ModelDescription) -> String {
    let ModelDescription { architecture, pooling, dimension, max_tokens, prompts, precision, .. } = description;
    let gives = match description.kind() {
        ModelKind::Embedding => format!("{dimension} dimensions, {pooling} pooling"),
        ModelKind::CrossEncoder => "a cross-encoder".to_owned(),
        ModelKind::Sparse => format!("sparse vectors of {dimension} dimensions"),
    };
    let mut line = format!(
        "{}, {} layers, {gives}, {max_tokens} tokens of {}",
        architecture.model_type, architecture.num_hidden_layers, architecture.max_sequence
    );
    if !prompts.by_name.is_empty() {
        let names: Vec<&str> = prompts.by_name.keys().map(String::as_str).collect();
        line += &format!(", prompts {}", names.join(" "));
    }
    if !precision.f32_layers.is_empty() {
        let layers: Vec<String> = precision.f32_layers.iter().map(usize::to_string).collect();
        line += &format!(", f32 in layers {} where int8 spoils them", layers.join(" "));
    }
    line
}

/// The languages that the front matter of a model's README names.
pub fn languages(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join(CARD_FILE)).unwrap_or_default();
    let Some((front, _)) = text.strip_prefix("---").and_then(|rest| rest.split_once("\n---")) else {
        return Vec::new();
    };
    // YAML, of which only these two forms occur: `language: en`, and a list of them.
    let mut lines = front.lines().skip_while(|line| !line.starts_with("language:"));
    let Some(first) = lines.next().map(|line| line["language:".len()..].trim()) else { return Vec::new() };
    let listed = lines.map_while(|line| line.trim_start().strip_prefix("- ")).map(str::to_owned);
    let inline = first.trim_matches(['[', ']']).split(',').map(str::to_owned);
    let plain = |language: String| language.trim().trim_matches(['"', '\'']).to_owned();
    inline.chain(listed).map(plain).filter(|language| is_language(language)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_those_of_the_cards_front_matter() {
        let of = |text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join(CARD_FILE), text).expect("a file");
            languages(folder.path()).join(" ")
        };
        assert_eq!(of("---\nlicense: mit\nlanguage:\n- en\n- zh\ntags:\n- x\n---\nlanguage: de"), "en zh");
        assert_eq!(of("---\nlanguage: en\n---\n"), "en");
        assert_eq!(of("---\nlanguage: [\"en\", 'de']\n---\n"), "en de");
        assert_eq!(of("# A model\nlanguage: en\n"), "");
        assert_eq!(of("---\nlanguage:\n  - multilingual\n  - \u{1b}[31m\n---\n"), "multilingual");
    }

    #[test]
    fn a_repository_is_of_the_hub_or_a_folder_and_else_a_name() {
        assert!(matches!(Repository::parse("hub:a/b"), Some(Repository::Hub(id)) if id == "a/b"));
        assert!(matches!(Repository::parse("./"), Some(Repository::Folder(_))));
        assert!(Repository::parse("all-MiniLM-L6-v2").is_none());
        assert!(Repository::parse("sentence-transformers/all-MiniLM-L6-v2").is_none());
    }
}
