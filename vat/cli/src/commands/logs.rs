//! `vat logs`

use tokio::sync::mpsc;
use vat::power::{LogReader, LogReaderRef, LogRecord};
use vat::prelude::*;

use crate::command_error::CommandError;
use crate::environment::Environment;
use crate::operator::{self, Opened};
use crate::records::{self, Line};
use crate::remote::{self, Caller};
use crate::runtime::block_on;
use crate::ui::Ui;

/// Show the log
///
/// With --json, one envelope of kind `log` per record.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of what is running, or its manifest; without it, the only one that runs
    ensemble: Option<String>,

    /// How many of the last records
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 100)]
    count: u32,

    /// Go on with what comes; ends when the ensemble does, or with Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(args: &Args, environment: &Environment, ui: &mut Ui) -> Result<(), CommandError> {
    let ensemble = operator::find(args.ensemble.as_deref(), environment)?;
    block_on(async {
        let caller = Caller::new()?;
        let opened = ensemble.open(&caller).await?;
        let failed = |error: Error| remote::failed(&error, &ensemble.name);
        // Before the last records are asked for: nothing is lost between them and what comes.
        let mut following = match args.follow {
            true => Some(follow(&caller, &opened).map_err(failed)?),
            false => None,
        };
        let last = opened.supervisor.logs(args.count).await.map_err(failed)?;
        last.iter().try_for_each(|record| show(record, ui))?;
        let Some((incoming, _follow)) = &mut following else {
            return Ok(());
        };
        loop {
            let record = tokio::select! {
                record = incoming.recv() => record,
                () = opened.connection.gone() => None,
            };
            match record {
                Some(record) if last.contains(&record) => {}
                Some(record) => show(&record, ui)?,
                None => break,
            }
        }
        ui.note(&format!("{} has ended", ensemble.name));
        Ok(())
    })
}

fn show(record: &LogRecord, ui: &mut Ui) -> Result<(), CommandError> {
    ui.answer("log", &records::json(record), &Line(record))
}

type Following = (mpsc::UnboundedReceiver<LogRecord>, vat::power::FollowRef);

/// Asks for every record from now on.
fn follow(caller: &Caller, opened: &Opened) -> Result<Following> {
    let (outgoing, incoming) = mpsc::unbounded_channel();
    let reader = caller
        .vat()
        .turn(|turn| Ok(LogReaderRef::new(turn, Reader(outgoing))))?;
    Ok((incoming, opened.supervisor.follow_logs(reader)))
}

/// Passes records on to whoever prints them.
#[derive(vat::Object)]
#[object(external)]
struct Reader(mpsc::UnboundedSender<LogRecord>);

impl LogReader for Reader {
    fn record(&mut self, _turn: &Turn, record: LogRecord) -> Result<()> {
        self.0
            .send(record)
            .map_err(|_| Error::disconnected("nobody reads any more"))
    }
}
