//! `vat call`

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value as Json, json};
use vat::dynamic::{
    Answer, CallError, Given, Limits, LookupError, Plan, PlanError, PlanProblem, RefSource, Step,
    shown,
};
use vat::launch::manifest::{HumanDuration, parse_duration};
use vat::net::driver::Connection;
use vat::schema::Interface;
use vat::{ErrorKind, Ref};

use crate::chain::{self, Arguments, Then};
use crate::command_error::{CommandError, Kind};
use crate::environment::Environment;
use crate::reference::RefArg;
use crate::remote::{self, Caller, Described};
use crate::runtime::block_on;
use crate::ui::Ui;

/// Call a method of the object that a reference names
///
/// The object is asked for its interface; `vat describe` shows it. The result is printed as JSON.
/// While its vat is being started again the call waits up to 5 s; once it was sent, nothing is
/// repeated: if the connection is lost then, the call may have run, and the exit code is 6.
///
///   vat call guestbook.cap sign name=Ann text=hello
///   vat call guestbook.cap page '{"from": 0, "count": 10}'
///   vat call home.cap subdir name=logs --then open name=today --then size
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// A reference file, @name (a petname), `-` (the standard input) or fd:N (an open descriptor)
    reference: RefArg,

    /// The method
    method: String,

    /// key=value words, or one JSON object; a reference is named by its file or @name
    #[arg(value_name = "KEY=VALUE")]
    arguments: Vec<String>,

    #[command(flatten)]
    then: Then,

    /// How long to wait for the answer, as in 500ms or 2m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,

    /// Say how many round trips it took
    #[arg(short, long)]
    verbose: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// What is known of a call whose answer did not come.
const MAY_HAVE_RUN: &str = "the call may have run";

/// What a chain of calls came to.
struct Done {
    answer: Answer,
    calls: usize,
    round_trips: u64,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let steps = chain::steps(&args.method, &args.arguments, &args.then)?;
    let steps: Vec<Step> = steps.into_iter().map(step).collect();
    let sturdy = args.reference.read(environment)?;
    let sent = Cell::new(false);
    let done = block_on(async {
        let work = async {
            let caller = Caller::new()?;
            let object = caller.open(&sturdy, &args.reference.to_string()).await?;
            let plan = plan(&caller, &object, &steps, environment).await?;
            sent.set(true);
            send(plan, &object, &steps).await
        };
        let done = tokio::time::timeout(args.timeout, work).await;
        done.unwrap_or_else(|_| Err(too_late(args.timeout, sent.get())))
    })?;
    let Done {
        answer,
        calls,
        round_trips,
    } = done;
    let data = json!({ "result": answer.value, "calls": calls, "round_trips": round_trips });
    ui.answer("call", &data, &text(&answer.value))?;
    if args.verbose {
        let (calls, trips) = (
            counted(calls as u64, "call"),
            counted(round_trips, "round trip"),
        );
        ui.note(&format!("{calls}, {trips}"));
    }
    if !answer.references.is_empty() {
        ui.note("the reference in the answer ended with this command; use --then to call it");
    }
    Ok(())
}

fn step(step: chain::Step) -> Step {
    Step {
        fields: step.fields,
        method: step.method,
        arguments: match step.arguments {
            Arguments::Words(words) => Given::Words(words),
            Arguments::Object(object) => Given::Json(Json::Object(object)),
        },
    }
}

fn too_late(limit: Duration, sent: bool) -> CommandError {
    let so = if sent {
        MAY_HAVE_RUN
    } else {
        "nothing was called"
    };
    let message = format!("no answer within {}; {so}", HumanDuration(limit));
    CommandError::new(Kind::TimedOut, message).hint("`--timeout 2m` waits longer")
}

/// Checks the chain by the object's description; the references among the arguments are enlivened.
async fn plan(
    caller: &Caller,
    object: &Described,
    steps: &[Step],
    environment: &Environment,
) -> Result<Plan, CommandError> {
    let mut named = Named {
        placeholder: object.enlivened.reference.clone(),
        names: BTreeMap::new(),
    };
    let plan = |named: &mut Named| {
        Plan::new(&object.types, steps, named, Limits::default())
            .map_err(|error| wrong(&error, steps))
    };
    // Everything is checked before anybody is dialled.
    let first = plan(&mut named)?;
    if named.names.is_empty() {
        return Ok(first);
    }
    for (name, reference) in &mut named.names {
        let sturdy = ref_arg(name).read(environment)?;
        let enlivened = caller.enliven_patiently(&sturdy).await;
        let enlivened = enlivened.map_err(|error| remote::not_enlivened(name, &error))?;
        *reference = Some(enlivened.reference);
    }
    plan(&mut named)
}

/// References that arguments name; until they are enlivened, another one stands for each.
struct Named {
    placeholder: Ref,
    names: BTreeMap<String, Option<Ref>>,
}

impl RefSource<Ref> for Named {
    fn reference(&mut self, name: &str, _: Option<&Interface>) -> Result<Ref, String> {
        let known = self.names.entry(name.to_owned()).or_default();
        Ok(known.clone().unwrap_or_else(|| self.placeholder.clone()))
    }
}

fn ref_arg(name: &str) -> RefArg {
    let Ok(arg) = name.parse();
    arg
}

/// What was typed does not fit what the object is. Nothing was called.
fn wrong(error: &PlanError, steps: &[Step]) -> CommandError {
    let kind = match &*error.problem {
        PlanProblem::Lookup(LookupError::NoSuchMethod { .. } | LookupError::NoSuchField { .. }) => {
            Kind::NotFound
        }
        _ => Kind::Usage,
    };
    let what = if steps.len() > 1 {
        name(steps, error.step)
    } else {
        String::new()
    };
    let what = if what.is_empty() {
        what
    } else {
        format!("{what}: ")
    };
    CommandError::new(kind, format!("{what}{error}"))
        .hint("nothing was called; `vat describe` shows the methods and their parameters")
}

/// Sends all calls at once; gives the last answer.
async fn send(plan: Plan, object: &Described, steps: &[Step]) -> Result<Done, CommandError> {
    let round_trips = || {
        let connection = object.enlivened.connection.as_ref();
        connection.map_or(0, Connection::round_trips)
    };
    let before = round_trips();
    let answers = plan.send(&object.enlivened.reference);
    let calls = answers.len();
    let mut last = None;
    for (number, answered) in answers.into_iter().enumerate() {
        let answer = answered
            .await
            .map_err(|error| failed(&error, &name(steps, number)))?;
        last = Some(answer);
    }
    let answer = last.ok_or_else(|| CommandError::new(Kind::Failed, "nothing was called"))?;
    Ok(Done {
        answer,
        calls,
        round_trips: round_trips().saturating_sub(before),
    })
}

fn name(steps: &[Step], number: usize) -> String {
    steps
        .get(number)
        .map(|step| shown(&step.method))
        .unwrap_or_default()
}

fn failed(error: &CallError, method: &str) -> CommandError {
    match error {
        CallError::Failed(error) if error.kind() == ErrorKind::Disconnected => {
            let mut message = format!("{method}: {error}");
            if !message.contains(MAY_HAVE_RUN) {
                message = format!("{message}; {MAY_HAVE_RUN}");
            }
            CommandError::new(Kind::Unreachable, message)
                .hint("look whether it did before you repeat it: nothing is repeated by itself")
        }
        CallError::Failed(error) => remote::failed(error, method),
        error => CommandError::new(
            Kind::Failed,
            format!("{method}: it ran, but its answer cannot be read: {error}"),
        ),
    }
}

/// Lists and objects over several lines.
fn text(value: &Json) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write!(text, "{value:#}");
    text
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}
