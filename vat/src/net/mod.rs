//! Streams that carry Cap'n Proto: descriptors beside frames, TLS, the driver.
