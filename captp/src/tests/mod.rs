//! Protocol scripts: they see private state and deliver one message at a time.

mod net;

mod basics;
mod bounds;
mod embargoes;
mod exceptions;
mod handoff;
mod handoff_hostile;
mod hello;
mod hints;
mod hostile;
mod layout;
mod promises;
mod random;
mod rare;
mod streaming;
mod tail_calls;
