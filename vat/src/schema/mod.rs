//! Interface descriptions: the model, the printed `.capnp` text, the universal describe message.
