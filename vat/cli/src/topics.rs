//! The topics of `vat help`.

use std::fmt::Write as _;

use vat::launch::manifest::Code;

use crate::command_error::Kind;

/// The names of the topics.
pub(crate) const NAMES: [&str; 5] = ["codes", "exit-codes", "json", "manifest", "references"];

/// The text of a topic.
pub(crate) fn text(name: &str) -> Option<String> {
    match name {
        "codes" => Some(codes()),
        "exit-codes" => Some(exit_codes()),
        "json" => Some(JSON.to_owned()),
        "manifest" => Some(MANIFEST.to_owned()),
        "references" => Some(REFERENCES.to_owned()),
        _ => None,
    }
}

fn codes() -> String {
    let mut text = "Findings about a manifest; `vat help <code>` explains one:\n\n".to_owned();
    for code in Code::ALL {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {code}  {}", code.title());
    }
    text
}

fn exit_codes() -> String {
    let mut text = "Exit codes:\n\n    0  done\n".to_owned();
    for kind in Kind::ALL {
        let _ = writeln!(text, "  {:>3}  {}", kind.exit_code(), kind.meaning());
    }
    text.push_str("\n`vat run` ends with the exit code of its program, where that has one.\n");
    text
}

const JSON: &str = "\
With --json, every line of the answer is one JSON object, the envelope:

  {\"vat\":\"v1\",\"kind\":\"version\",\"version\":\"0.1.0\"}

  vat   the version of the envelope. Within v1 fields are added, never removed or changed.
  kind  what the other fields mean; usually the name of the command

A command that fails answers with kind \"error\", unless its own answer says what is wrong (as
`vat check` does). It has one field more, `error`, with

  kind         the kind of failure, as a word
  exit         the exit code; see `vat help exit-codes`
  message      what happened
  hints        what to do next
  diagnostics  with a wrong manifest: code, severity, message, labels (with line and column), help

Progress and warnings are text on the standard error, in this mode too.
";

const MANIFEST: &str = "\
A manifest says what one program is, or several, what they need, what they give back, and who
fills their slots. It is a TOML file, by convention <name>.vat.toml. Paths in it start from its own
folder.

  manifest = 1

  [vat]
  name    = \"hello\"                # a-z, 0-9, - and _
  summary = \"Greets people\"

  [program]
  exec  = \"./hello\"                # a statically linked executable; or, while developing:
  # cargo = { package = \"hello\", bin = \"hello\" }       (or example = ...; folder = ...)
  # durable = true                 # a store for durable objects, in the ensemble's state directory
  # confinement = \"L3\"             # the least level it may run at; default \"L2\"

  [use.notes]                      # a slot: what the program needs
  type   = \"Directory\"             # Directory, File, LogSink, Clock, Network,
                                   # or package::Trait
  rights = [\"read\", \"write\"]       # default [\"read\"]
  [use.log]
  type     = \"LogSink\"
  optional = true                  # default false

  [expose.greeter]                 # what it gives back
  type   = \"hello::Greeter\"
  socket = \"greeter.sock\"          # optional: plain Cap'n Proto for local programs

  [run]
  listen = [\"127.0.0.1:7447\"]      # optional: where the launcher listens for it

  [run.grants]                     # who starts it by hand fills its slots here
  notes = { dir = \"./notes\" }      # also: rights = [...], create = true
  log   = \"launcher.log\"           # also: \"clock\", { ref = \"friend.cap\" },
                                   # { network = [\"any\"] }: may dial; or a list of hosts,
                                   # host:port, prefixes (10.0.0.0/8), unix:/path

  [supervisor]                     # all of it optional; these are the defaults
  strategy  = \"one_for_one\"
  restart   = \"permanent\"          # permanent, transient, temporary
  intensity = { restarts = 3, within = \"5s\" }
  backoff   = { initial = \"100ms\", factor = 4, max = \"30s\", jitter = 0.2, settled = \"10s\" }
  start     = { timeout = \"10s\" }
  stop      = { grace = \"5s\" }

Several programs are children. Each says what it needs and gives back, and what fills its slots:

  [children.ledger]                # in place of [program]; at most 256, started in this order
  exec   = \"./ledger\"            # or cargo; also confinement, and restart, start, stop for it alone
  use    = { dir = \"Directory\" }  # also dir = { type = ..., rights = [...], optional = true }
  expose = { ledger = \"shop::Ledger\" }
  [children.ledger.grants]
  dir = \"use.store\"              # a slot of [use], with all its rights

  [children.gateway]
  exec   = \"./gateway\"
  use    = { ledger = \"shop::Ledger\", dir = \"Directory\", log = \"LogSink\" }
  expose = { admin = \"shop::Admin\" }
  [children.gateway.grants]
  ledger = \"children.ledger.ledger\"                 # what a child further up exposes
  dir    = { from = \"use.store\", rights = [\"read\"] }
  log    = { from = \"use.log\", tag = \"gateway\" }   # its records carry the tag

  [expose.admin]                   # its type is the child's
  from = \"children.gateway.admin\"

  [supervisor]                     # with children also: one_for_all, rest_for_one
  strategy = \"rest_for_one\"

Nothing else reaches a program: no environment, arguments, working directory, files or network.
`vat check` finds what is wrong without starting anything.
";

const REFERENCES: &str = "\
A reference names one object in one vat, and whoever has it may use the object. It is a secret:
do not put it into arguments, environment variables, logs or manifests.

On the command line a reference is named by

  guestbook.cap   a reference file: one URI, mode 0600, yours; others' access is refused
  @home           a petname of yours, kept with `vat ref save home guestbook.cap`
  -               the standard input
  fd:N            the open descriptor N

Petnames mean something to you alone. They are reference files in $XDG_STATE_HOME/vat/keyring.d
(~/.local/state/vat/keyring.d; for root /var/lib/vat/keyring.d): `vat ref list` shows them, `vat ref
show home --reveal` prints the reference, `rename` and `forget` do as they say.

`vat` refuses a reference itself (vat://...) among its arguments, as every user of the machine can
read those.

A reference stays valid when its vat or the launcher is started again. To give less, attenuate; to
take it back, revoke. A reference that was revoked, has expired or never existed gets one and the
same answer.
";
