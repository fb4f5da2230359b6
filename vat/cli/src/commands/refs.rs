//! `vat ref`

use std::fmt;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value as Json, json};
use vat::sturdy::SturdyRef;

use crate::ask;
use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::keyring::{Entry, Keyring, Overwrite, Petname, taken};
use crate::reference::RefArg;
use crate::ui::Ui;

/// Keep references under petnames: names of your own, written @home wherever a reference is named
///
/// They are reference files in `$XDG_STATE_HOME/vat/keyring.d`, for this user alone. A petname means
/// something to you only; to give somebody a reference, give a reference file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Keep a reference under a name
    Save {
        /// The name: letters, digits, `-`, `_` and `.`
        name: Petname,
        /// A reference file, `-` (the standard input), fd:N (an open descriptor) or @name
        reference: RefArg,
        /// Replace the reference that the name stands for
        #[arg(short, long)]
        force: bool,
    },
    /// List the petnames and where they lead
    List,
    /// Show what a petname stands for
    Show {
        /// The petname
        name: Petname,
        /// Print the reference itself, which is a secret, and nothing else
        #[arg(long)]
        reveal: bool,
    },
    /// Give a petname another name
    Rename {
        /// The petname
        old: Petname,
        /// The new one
        new: Petname,
        /// Replace the reference that the new name stands for
        #[arg(short, long)]
        force: bool,
    },
    /// Remove a petname and the reference that was kept under it
    Forget {
        /// The petname
        name: Petname,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let keyring = Keyring::of(environment)?;
    match &args.action {
        Action::Save {
            name,
            reference,
            force,
        } => {
            let sturdy = reference
                .read(environment)
                .map_err(|error| swapped(error, name, reference))?;
            save(&keyring, name, &sturdy, *force, ui)
        }
        Action::List => list(&keyring, ui),
        Action::Show { name, reveal } => show(&keyring, name, *reveal, ui),
        Action::Rename { old, new, force } => rename(&keyring, old, new, *force, ui),
        Action::Forget { name, yes } => forget(&keyring, name, *yes, ui),
    }
}

/// A file in the place of the name is most likely the wrong way round.
fn swapped(error: CommandError, name: &Petname, reference: &RefArg) -> CommandError {
    match (name.as_str(), reference) {
        (file, RefArg::File(path)) if file.ends_with(".cap") => {
            let path = crate::reference::shell_word(path);
            error.hint(format!(
                "the name comes first: `vat ref save {path} {file}`"
            ))
        }
        _ => error,
    }
}

fn save(
    keyring: &Keyring,
    name: &Petname,
    sturdy: &SturdyRef,
    force: bool,
    ui: &mut Ui,
) -> Result<(), CommandError> {
    let before = keyring.find(name)?;
    let overwrite = overwrite(before.as_ref(), Some(sturdy), force)?;
    keyring.save(name, sturdy, &overwrite)?;
    let entry = keyring.entry(name)?;
    let text = format!("{name} is {}", Lead(sturdy));
    ui.answer("ref_save", &json_of(&entry), &text)
}

/// What may be overwritten: a reference that is the same anyway, or one that the user gives up.
fn overwrite(
    before: Option<&Entry>,
    new: Option<&SturdyRef>,
    force: bool,
) -> Result<Overwrite, CommandError> {
    let Some(before) = before else {
        return Ok(Overwrite::Nothing);
    };
    if force {
        return Ok(Overwrite::Anything);
    }
    let Ok(known) = &before.reference else {
        return Err(taken(&before.name));
    };
    if new == Some(known) {
        return Ok(Overwrite::Only(known.clone()));
    }
    if !ask::is_somebody_there() {
        return Err(taken(&before.name));
    }
    let name = &before.name;
    let question = format!(
        "{name} stands for {}. Replace it, and lose it here?",
        Lead(known)
    );
    match ask::agrees(&question) {
        true => Ok(Overwrite::Only(known.clone())),
        false => Err(CommandError::new(
            Kind::Failed,
            format!("{name} stays what it was"),
        )),
    }
}

fn list(keyring: &Keyring, ui: &mut Ui) -> Result<(), CommandError> {
    let entries = keyring.entries()?;
    let data: Vec<_> = entries.iter().map(json_of).collect();
    let data = json!({ "references": data });
    if entries.is_empty() && !ui.is_json() {
        ui.note("no petnames; `vat ref save home file.cap` keeps one");
    }
    let table = table(&entries, ui.width());
    let shown: &dyn fmt::Display = if entries.is_empty() { &"" } else { &table };
    ui.answer("ref_list", &data, shown)
}

fn table(entries: &[Entry], width: usize) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(width).unwrap_or(u16::MAX))
        .set_header(["NAME", "VAT", "ADDRESSES", "SAVED"]);
    for entry in entries {
        let (vat, addresses) = match &entry.reference {
            Ok(sturdy) => (shortened(sturdy), dash(addresses(sturdy).join(", "))),
            Err(error) => ("unusable".to_owned(), error.problem().to_string()),
        };
        table.add_row([entry.name.to_string(), vat, addresses, saved(entry)]);
    }
    table
}

fn show(keyring: &Keyring, name: &Petname, reveal: bool, ui: &mut Ui) -> Result<(), CommandError> {
    let entry = keyring.entry(name)?;
    let Ok(sturdy) = &entry.reference else {
        return Err(keyring.read(name).err().unwrap_or_else(|| taken(name)));
    };
    let mut data = json_of(&entry);
    if reveal {
        let uri = sturdy.to_uri_with_secret();
        if let Some(fields) = data.as_object_mut() {
            fields.insert("uri".to_owned(), Json::from(uri.as_str()));
        }
        return ui.answer("ref_show", &data, &uri.as_str());
    }
    let addresses = dash(addresses(sturdy).join(", "));
    let (vat, file, saved) = (sturdy.vat(), entry.path.display(), saved(&entry));
    let text = format!(
        "{name}\n  vat        {vat}\n  addresses  {addresses}\n  saved      {saved}\n  file       \
         {file}"
    );
    ui.answer("ref_show", &data, &text)
}

fn rename(
    keyring: &Keyring,
    old: &Petname,
    new: &Petname,
    force: bool,
    ui: &mut Ui,
) -> Result<(), CommandError> {
    let entry = keyring.entry(old)?;
    if old != new {
        let there = keyring.find(new)?;
        let overwrite = overwrite(there.as_ref(), entry.reference.as_ref().ok(), force)?;
        keyring.rename(old, new, &overwrite)?;
    }
    ui.answer(
        "ref_rename",
        &json_of(&keyring.entry(new)?),
        &format_args!("{old} is now {new}"),
    )
}

fn forget(keyring: &Keyring, name: &Petname, yes: bool, ui: &mut Ui) -> Result<(), CommandError> {
    let entry = keyring.entry(name)?;
    if !yes {
        let loss = loss(keyring, &entry)?;
        let word = name.as_str();
        if !ask::is_somebody_there() {
            let message = format!("nobody is here to be asked whether {name} is to go: {loss}");
            return Err(CommandError::new(Kind::Usage, message)
                .hint(format!("vat ref forget {word} --yes")));
        }
        if !ask::agrees(&format!("forget {name}? {loss}")) {
            return Err(CommandError::new(Kind::Failed, format!("{name} stays")));
        }
    }
    keyring.forget(name)?;
    ui.answer(
        "ref_forget",
        &json_of(&entry),
        &format_args!("{name} is forgotten; whoever else holds the reference can go on using it"),
    )
}

/// What is lost with a petname.
fn loss(keyring: &Keyring, entry: &Entry) -> Result<String, CommandError> {
    let Ok(sturdy) = &entry.reference else {
        return Ok("what is kept under it cannot be used.".to_owned());
    };
    let others = keyring.entries()?;
    let same = others.iter().find(|other| {
        other.name != entry.name && other.reference.as_ref().is_ok_and(|other| other == sturdy)
    });
    Ok(match same {
        Some(other) => format!("{} stands for the same reference, and stays.", other.name),
        None => format!(
            "It is {}. Unless it is kept in a file too, only somebody else who holds it can give \
             it to you again.",
            Lead(sturdy)
        ),
    })
}

fn json_of(entry: &Entry) -> Json {
    let mut data = json!({
        "name": entry.name.as_str(),
        "saved": entry.saved.to_string(),
        "file": entry.path,
    });
    let more = match &entry.reference {
        Ok(sturdy) => json!({
            "vat_id": sturdy.vat().to_string(),
            "addresses": addresses(sturdy),
        }),
        Err(error) => json!({ "problem": error.problem().to_string() }),
    };
    if let (Some(data), Json::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
    data
}

/// Where a reference leads, without its secret.
struct Lead<'a>(&'a SturdyRef);

impl fmt::Display for Lead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a reference to vat {}", shortened(self.0))?;
        match self.0.addresses().first() {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}

fn addresses(sturdy: &SturdyRef) -> Vec<String> {
    sturdy.addresses().iter().map(ToString::to_string).collect()
}

/// Enough of a vat's id to tell it from others.
fn shortened(sturdy: &SturdyRef) -> String {
    let id = sturdy.vat().to_string();
    format!("{}…", id.get(..8).unwrap_or(&id))
}

/// To the second, for people.
fn saved(entry: &Entry) -> String {
    let time = entry.saved.to_string();
    let (date, of_day) = (time.get(..10), time.get(11..19));
    match (date, of_day) {
        (Some(date), Some(of_day)) => format!("{date} {of_day} UTC"),
        _ => time,
    }
}

fn dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}
