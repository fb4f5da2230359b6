//! Protocol scripts: they see private state and deliver one message at a time.

pub(crate) mod net;

mod arriving;
mod bad_input;
mod basics;
mod bounds;
mod cancellation;
mod deadlines;
mod early;
mod echoes;
mod embargoes;
mod endings;
mod exceptions;
mod handoff;
mod handoff_abuse;
mod handoff_claims;
mod handoff_hostile;
mod hello;
mod hints;
mod hostile;
mod idle;
mod import_fds;
mod in_a_row;
mod layout;
mod limits;
mod limits_messages;
mod limits_tables;
mod promises;
mod random;
mod rare;
mod reasons;
mod redirected;
mod room;
mod shared;
mod streaming;
mod tail_calls;
mod waiting_fds;
