//! Brokers: the objects behind granted powers.
