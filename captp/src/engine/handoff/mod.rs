//! Three-party handoff: references given from vat to vat to vat.
//!
//! [`crate::connection::handoff`] has the states of each side. References that are given in a call
//! may be passed on before they are accepted; in a Return or Resolve they are not: the peer may have
//! calls on their way to what resolves, which have to take the way of the embargo.

mod exporter;
mod gifter;
mod recipient;

pub(super) use exporter::ended;
