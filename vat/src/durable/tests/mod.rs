//! Promise 13, and what durable objects are made of.

mod basics;
mod output;
