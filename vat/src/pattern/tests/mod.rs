//! Promises 1, 5, 10 and 16 as far as the patterns go.

mod facet;
mod limit;
mod logging;
mod membrane;
mod revoke;
mod sealer;
